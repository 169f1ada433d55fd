"""Likelihood of pictures in bits a dimension, and the quality of enlarged pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.image.codec import Pixels
from triptych.image.data import Mask, PictureModel, shrunk
from triptych.image.files.pictures import Pictures
from triptych.image.files.resizing import image_of

if TYPE_CHECKING:
    from triptych.model.transformer import Transformer

Progress = Callable[[int, int], None]  # called with the number done and the total
TOGETHER = 32_768  # subpixels of pictures that are measured side by side
WINDOW, MIN_WINDOW = 7, 3  # pixels: of SSIM, as its authors and scikit-image have it, and of small pictures
CONFIDENCE = 1.96  # standard errors to both sides, of 95 %


@dataclass(frozen=True, eq=False)
class Likelihood:
    """Bits of pictures, by picture and by place.

    nats [N]: those of each picture; counts [N]: its subpixels that count. bits [height, width, channels]: the sum over
    all pictures; times, of the same shape: how often a subpixel counted. labelled: how many pictures were measured with
    a class.
    """

    nats: NDArray[np.float64]
    counts: NDArray[np.int64]
    bits: NDArray[np.float64]
    times: NDArray[np.int64]
    labelled: int = 0

    @property
    def bits_per_dim(self) -> float:
        """The mean over all subpixels that count."""
        return float(self.nats.sum() / max(1, self.counts.sum()) / math.log(2))

    @property
    def interval(self) -> float:
        """Half of the width of its 95 % confidence interval, over the choice of the pictures."""
        if len(self.nats) < 2:
            return math.nan
        apart = self.nats / math.log(2) - self.bits_per_dim * self.counts
        error = math.sqrt(float((apart**2).sum()) * len(apart) / (len(apart) - 1))
        return CONFIDENCE * error / max(1, int(self.counts.sum()))

    @property
    def per_channel(self) -> list[float]:
        """Bits a subpixel of each channel."""
        each = self.bits.sum((0, 1)) / np.maximum(1, self.times.sum((0, 1)))
        return [float(bits) for bits in each]

    @property
    def heat(self) -> NDArray[np.float64]:
        """Where the bits go: those of every pixel [height, width], all channels together, a picture."""
        return np.asarray((self.bits / np.maximum(1, self.times)).sum(2))

    def to_dict(self) -> dict[str, Any]:
        """Plain figures: `bits_per_dim`, `interval`, `nats` (a picture), `pictures`, `labelled`, `subpixels`,
        `per_channel`.
        """
        return {
            "bits_per_dim": self.bits_per_dim,
            "interval": self.interval,
            "nats": float(self.nats.mean()),
            "pictures": len(self.nats),
            "labelled": self.labelled,
            "subpixels": int(self.counts.sum()),
            "per_channel": self.per_channel,
        }


def likelihood(
    model: Transformer,
    reads: PictureModel,
    pictures: Pictures,
    *,
    hidden: Mask | None = None,
    progress: Progress | None = None,
) -> Likelihood:
    """Negative log-likelihood of all subpixels, each picture with its label; or of those `hidden` [N, height, width].

    The padding of a picture does not count: it is known.
    """
    from torch import no_grad

    codec, count = reads.codec, len(pictures)
    if hidden is not None and hidden.shape != pictures.pictures.shape[:3]:
        raise UserError(f"expected masks {list(pictures.pictures.shape[:3])}, got {list(hidden.shape)}; one a picture")
    device = model.eval().device
    nats, counts = np.zeros(count), np.zeros(count, np.int64)
    bits, times = np.zeros(codec.tokens), np.zeros(codec.tokens, np.int64)
    rows = max(1, TOGETHER // codec.tokens)
    for first in range(0, count, rows):
        some = slice(first, min(first + rows, count))
        mask = None if hidden is None else hidden[some]
        batch = reads.batch(pictures.only(some), mask)
        with no_grad():
            found = model.nll(batch.to(device)).double().cpu().numpy()
        counted = np.broadcast_to(codec.inside, found.shape)
        if mask is not None:
            counted = codec.encode(mask[..., None].repeat(codec.channels, 3).astype(np.uint8)).astype(bool)
        found = found * counted
        nats[some], counts[some] = found.sum(1), counted.sum(1)
        bits += found.sum(0) / math.log(2)
        times += counted.sum(0)
        if progress is not None:
            progress(some.stop, count)
    labelled = 0 if pictures.labels is None or not codec.labels else int((pictures.labels >= 0).sum())
    return Likelihood(nats, counts, codec.in_place(bits), codec.in_place(times), labelled)


@dataclass(frozen=True)
class Enlargement:
    """Quality of enlarged pictures, each figure a mean over the pictures.

    psnr (dB), ssim (scikit-image, means of windows of 7 x 7): of single samples, the mean over these too. mean_psnr,
    mean_ssim: of the pixelwise mean of the samples. consistency (dB): of the samples made small again by the box
    filter, against the small pictures. bicubic_psnr, bicubic_ssim: of bicubic enlargement.
    """

    psnr: float
    ssim: float
    mean_psnr: float
    mean_ssim: float
    consistency: float
    bicubic_psnr: float
    bicubic_ssim: float


def enlargement(truth: Pixels, samples: Pixels, small: Pixels) -> Enlargement:
    """Compare enlarged pictures, samples [S, N, height, width, channels] of small [N, ...], with the truth [N, height,
    width, channels].
    """
    factor = truth.shape[1] // small.shape[1]
    mean = np.round(samples.mean(0, dtype=np.float64)).astype(np.uint8)
    psnr, ssim = np.mean([similarity(truth, sample) for sample in samples], axis=0)
    consistency = np.mean([_psnr(small, shrunk(sample, factor)) for sample in samples])
    means, bicubics = similarity(truth, mean), similarity(truth, bicubic(small, factor))
    return Enlargement(float(psnr), float(ssim), *means, float(consistency), *bicubics)


def similarity(truth: Pixels, made: Pixels) -> tuple[float, float]:
    """PSNR in dB and SSIM of pictures [N, height, width, channels], each the mean over them; of pictures of less than 3
    pixels, and without scikit-image, there is no SSIM (NaN).
    """
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        return _psnr(truth, made), math.nan
    edge = min(truth.shape[1:3])
    if edge < MIN_WINDOW:
        return _psnr(truth, made), math.nan
    settings = {"channel_axis": 2, "win_size": min(WINDOW, edge - 1 + edge % 2)}
    pairs = zip(truth, made, strict=True)
    each = [structural_similarity(one, two, **settings) for one, two in pairs]
    return _psnr(truth, made), float(np.mean(each))


def _psnr(truth: Pixels, made: Pixels) -> float:
    """The mean over pictures of the peak signal-to-noise ratio in dB; an error below 1/16 of a step counts as that."""
    error = ((truth.astype(np.float64) - made) ** 2).mean((1, 2, 3))
    return float((10 * np.log10(255**2 / np.maximum(error, 1 / 256))).mean())


def bicubic(small: Pixels, factor: int) -> Pixels:
    """Pictures [N, ...] enlarged by Pillow's bicubic filter, to compare with the model."""
    from PIL import Image

    size = small.shape[2] * factor, small.shape[1] * factor
    large = [np.array(image_of(picture).resize(size, Image.Resampling.BICUBIC)) for picture in small]
    return np.stack(large).reshape(len(small), size[1], size[0], -1)


def missing(figures: Mapping[str, Any], edge: int) -> Iterator[str]:
    """Why figures are no numbers, if any are not. edge: the shorter one of the pictures, in pixels."""
    if not math.isfinite(figures.get("interval", 0.0)):
        yield "there is no interval: it takes two pictures or more"
    if not math.isfinite(figures.get("ssim", 0.0)):
        small, package = f"pictures of {MIN_WINDOW} pixels or more", 'scikit-image; pip install "triptych[eval]"'
        yield f"there is no SSIM: it takes {small if edge < MIN_WINDOW else package}"


def worded(figures: Mapping[str, Any]) -> list[str]:
    """Lines for a person."""
    channels = ", ".join(f"{value:.3f}" for value in figures["per_channel"])
    interval = f" +- {figures['interval']:.4f} (95 %)" if math.isfinite(figures["interval"]) else ""
    lines = [
        f"bits/dim  {figures['bits_per_dim']:.4f}{interval} over {figures['subpixels']:,} subpixels of "
        f"{figures['pictures']:,} pictures",
        f"nats      {figures['nats']:.1f} a picture",
        f"channels  {channels}",
    ]
    if "psnr" in figures:
        for name, title in (("", "a sample"), ("mean_", "the mean of the samples"), ("bicubic_", "bicubic")):
            psnr, ssim = figures[f"{name}psnr"], figures[f"{name}ssim"]
            alike = f"{ssim:.4f}" if math.isfinite(ssim) else "none"
            lines.append(f"enlarged  {title}: PSNR {psnr:.2f} dB, SSIM {alike}")
        lines.append(f"          consistency of the samples: {figures['consistency']:.1f} dB")
    return lines
