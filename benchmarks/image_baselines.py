"""What a painter's bits per dimension are worth: counting, file formats and a gated PixelCNN on the same pictures.

    python benchmarks/image_baselines.py --data PATH [--split test] [--model fashion ...] [--hours H] [--runs DIR]

Fitted on the training split, measured on the split asked for, each with the half width of its 95 % interval over the
pictures: how often each intensity occurs, by channel; the same at each place; PNG and lossless WebP, each picture a
file of its own with all that such a file needs; and the models.

The PixelCNN is that of van den Oord et al. 2016, "Conditional Image Generation with PixelCNN Decoders": a vertical and
a horizontal stack of masked convolutions, gated, with residual connections in the horizontal one, the class added
before each gate, a 256-way softmax for each subpixel; red before green before blue of one pixel. It has as many weights
as the first painter (or --weights) and is trained for --hours with AdamW, in bfloat16 where the processor multiplies
it, with a cosine over these hours and a moving average of its weights, of which the best on the validation split is
measured. It is kept in --runs every few minutes and at the end: the same command goes on where it was stopped.
--hours 0 leaves it out.
"""

from __future__ import annotations

import argparse
import io
import json
import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional

from triptych.cli.output import answer, say
from triptych.errors import UserError
from triptych.image.codec import LEVELS, Pixels
from triptych.image.files.pictures import Pictures, read_pictures
from triptych.image.painter import Painter
from triptych.image.score import Likelihood
from triptych.model.condition import LABEL_DROP
from triptych.shape.files import write_file
from triptych.train.memory import keep_freed_memory
from triptych.train.optimizer import optimizer_tensors, restore_optimizers
from triptych.train.precision import cost_of_bfloat16, fast_dtype

KERNEL = 5  # edge of the PixelCNN's convolutions; of the first 7, as in the paper
FIRST = 7
CHOSEN_ON = 500  # validation pictures
WARM_UP, AVERAGE, CLIP = 200, 0.999, 1.0
SAVE_EVERY = 300.0  # seconds

Row = dict[str, Any]


def measured(name: str, nats: NDArray[np.float64], shape: tuple[int, ...], **more: object) -> Row:
    """A row of the table, from the nats of each picture."""
    nothing = np.zeros(shape)
    counts = np.full(len(nats), math.prod(shape))
    found = Likelihood(nats, counts, nothing, nothing.astype(np.int64))
    return {"name": name, "bits_per_dim": found.bits_per_dim, "interval": found.interval, **more}


# -- counting and files ------------------------------------------------------------------------------------------------


def histograms(train: Pixels, pictures: Pixels) -> Iterator[Row]:
    """Intensities as often as in training; each is counted once more than it was seen."""
    channels = np.arange(train.shape[3])
    counts = np.ones((train.shape[3], LEVELS))
    np.add.at(counts, (np.broadcast_to(channels, train.shape).reshape(-1), train.reshape(-1)), 1)
    nats = -np.log(counts / counts.sum(1, keepdims=True))[channels, pictures]
    yield measured("histogram", nats.sum((1, 2, 3)), train.shape[1:], weights=counts.size)
    flat, places = train.reshape(len(train), -1), np.arange(math.prod(train.shape[1:]))
    here = np.ones((len(places), LEVELS))
    for picture in flat:
        here[places, picture] += 1
    nats = -np.log(here / here.sum(1, keepdims=True))[places, pictures.reshape(len(pictures), -1)]
    yield measured("histogram of each place", nats.sum(1), train.shape[1:], weights=here.size)


def files(pictures: Pixels) -> Iterator[Row]:
    """The sizes of files."""
    settings: dict[str, dict[str, Any]] = {
        "PNG": {"optimize": True},
        "WebP": {"lossless": True, "quality": 100, "method": 6},
    }
    for kind, given in settings.items():
        nats = []
        for picture in pictures:
            data = io.BytesIO()
            Image.fromarray(picture[..., 0] if picture.shape[2] == 1 else picture).save(data, kind, **given)
            nats.append(8 * len(data.getvalue()) * math.log(2))
        yield measured(kind, np.array(nats), pictures.shape[1:])


# -- the gated PixelCNN ------------------------------------------------------------------------------------------------


class Masked(nn.Conv2d):
    """A convolution of which each group of outputs (a channel of the picture) sees, at its own pixel, the groups before
    it, and (`own`) itself. Above and to the left it sees everything; the padding sees to it that there is nothing else.
    """

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], groups: int, *, own: bool) -> None:
        super().__init__(inputs, outputs, size)
        self.mask: Tensor
        mask = torch.ones_like(self.weight)
        before = torch.arange(inputs) * groups // inputs
        mine = (torch.arange(outputs) * groups // outputs)[:, None]
        mask[:, :, -1, -1] = (before <= mine if own else before < mine).float()
        self.register_buffer("mask", mask)

    def forward(self, values: Tensor) -> Tensor:
        rows, columns = self.kernel_size
        padded = functional.pad(values, (columns - 1, 0, rows - 1, 0))
        return functional.conv2d(padded, self.weight * self.mask, self.bias)


class Layer(nn.Module):
    """Both stacks, one layer further (figure 2 of the paper)."""

    def __init__(self, inputs: int, width: int, channels: int, classes: int, *, first: bool) -> None:
        super().__init__()
        size = FIRST if first else KERNEL
        self.reach, self.first, self.channels = size // 2, first, channels
        # The vertical stack is about the rows above alone: the first layer leaves out the row itself.
        self.vertical = nn.Conv2d(inputs, 2 * width, (self.reach if first else self.reach + 1, size))
        self.across = nn.Conv2d(2 * width, 2 * width, 1)
        self.horizontal = Masked(inputs, 2 * width, (1, self.reach + 1), channels, own=not first)
        self.out = Masked(width, width, (1, 1), channels, own=True)
        self.classes = nn.Embedding(classes, 4 * width) if classes else None
        if self.classes is not None:
            nn.init.zeros_(self.classes.weight)

    def forward(self, above: Tensor, beside: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        height = above.size(2)
        padded = functional.pad(above, (self.reach, self.reach, self.reach, 0))
        vertical = self.vertical(padded)[:, :, :height]
        horizontal = self.horizontal(beside) + self.across(vertical)
        if self.classes is not None and label is not None:
            of_class = self.classes(label.clamp(min=0)) * (label >= 0)[:, None]
            one, two = of_class[:, :, None, None].to(vertical.dtype).chunk(2, 1)
            vertical, horizontal = vertical + one, horizontal + two
        gated = self.out(self._gate(horizontal))
        return self._gate(vertical), gated if self.first else beside + gated

    def _gate(self, values: Tensor) -> Tensor:
        """The tanh of one half times sigmoid of the other, of each channel's group."""
        batch, features, height, width = values.shape
        parts = values.view(batch, self.channels, 2, features // self.channels // 2, height, width)
        return (parts[:, :, 0].tanh() * parts[:, :, 1].sigmoid()).flatten(1, 2)


class PixelCNN(nn.Module):
    """Logits [B, C, LEVELS, H, W] of pictures [B, C, H, W]; `width` features, a multiple of the C channels."""

    def __init__(self, channels: int, classes: int, width: int, layers: int) -> None:
        super().__init__()
        self.channels = channels
        sizes = [channels, *[width] * (layers - 1)]
        self.layers = nn.ModuleList(
            Layer(size, width, channels, classes, first=not number) for number, size in enumerate(sizes)
        )
        self.inner = Masked(width, width, (1, 1), channels, own=True)
        self.outer = Masked(width, channels * LEVELS, (1, 1), channels, own=True)

    def forward(self, pictures: Tensor, label: Tensor | None) -> Tensor:
        above = beside = pictures
        for layer in self.layers:
            above, beside = layer(above, beside, label)
        out = self.outer(functional.relu(self.inner(functional.relu(beside))))
        batch, _, height, width = out.shape
        return out.view(batch, self.channels, LEVELS, height, width)

    def nll(self, pictures: Tensor, label: Tensor | None) -> Tensor:
        """Nats of every subpixel of uint8 [B, H, W, C]: float32 [B, C, H, W]."""
        ids = pictures.permute(0, 3, 1, 2)
        values = (ids.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        return functional.cross_entropy(self(values, label).transpose(1, 2).float(), ids.long(), reduction="none")

    @property
    def weights(self) -> int:
        """Numbers that are learned; a mask's zeros are not."""
        hidden = sum(int((part.mask == 0).sum()) for part in self.modules() if isinstance(part, Masked))
        return sum(each.numel() for each in self.parameters()) - hidden


def like_a_painter(weights: int, channels: int, classes: int, layers: int) -> PixelCNN:
    """A PixelCNN of about so many weights."""

    def made(width: int) -> PixelCNN:
        return PixelCNN(channels, classes, width * channels, layers)

    width = 1
    while made(width).weights < weights:
        width += 1
    under, over = made(max(1, width - 1)), made(width)
    return min(under, over, key=lambda model: abs(model.weights - weights))


@torch.no_grad()
def check_causality(model: PixelCNN, size: int = 6) -> None:
    """Change each subpixel of a small picture by itself: what comes before it must not move, and all after it must."""
    double = PixelCNN(model.channels, 0, 16 * model.channels, len(model.layers)).double().eval()
    count = size * size * model.channels
    base = torch.rand(1, size, size, model.channels, dtype=torch.float64) * 2 - 1  # in the order of generation
    changed = base.repeat(count, 1, 1, 1)
    changed.view(count, count).diagonal().add_(0.5)
    both = double(torch.cat((base, changed)).permute(0, 3, 1, 2), None)
    moved = (both[1:] - both[:1]).abs().amax(2).permute(0, 2, 3, 1).reshape(count, count)  # [changed, looked at]
    before = moved.tril()
    assert float(before.max()) < 1e-12, f"the PixelCNN sees what is to come: {float(before.max())}"
    if size <= FIRST // 2 + (len(model.layers) - 1) * (KERNEL // 2):  # so far it looks
        after = moved[torch.ones_like(moved, dtype=torch.bool).triu(1)]
        assert float(after.min()) > 0, "the PixelCNN does not see all that came before"


@dataclass
class Stand:
    """Where the training of a PixelCNN is: `seconds` of its hours, `best` bits/dim of the validation split."""

    update: int = 0
    epoch: int = 0
    row: int = 0
    seconds: float = 0.0
    best: float = math.inf


class Training:
    """The PixelCNN of one folder: its weights, their average, the best of these, the optimizer."""

    def __init__(self, model: PixelCNN, folder: Path, options: argparse.Namespace) -> None:
        self.model, self.folder, self.options = model, folder, options
        self.optimizer = torch.optim.AdamW(
            model.parameters(), options.rate, (0.9, 0.98), weight_decay=options.weight_decay, fused=True
        )
        self.stand = Stand()
        self.average = {name: value.detach().clone() for name, value in model.named_parameters()}
        self.best = {name: value.clone() for name, value in self.average.items()}
        self.stopped = False
        self.coarse = fast_dtype(cost_of_bfloat16(torch.device("cpu"))) == torch.bfloat16
        if self.file.exists():
            self._load()

    @property
    def file(self) -> Path:
        return self.folder / "pixelcnn.safetensors"

    def train(self, pictures: Pictures, valid: Pictures) -> bool:
        """Train to the end of the hours: whether it came so far."""
        total = self.options.hours * 3600
        previous = signal.signal(signal.SIGINT, self._stop)
        saved, shown = time.monotonic(), time.monotonic()
        mean = math.nan
        try:
            while self.stand.seconds < total and not self.stopped:
                loss = self._update(pictures, total)
                mean = loss if math.isnan(mean) else 0.98 * mean + 0.02 * loss
                if time.monotonic() - shown > 20:
                    shown, done = time.monotonic(), self.stand.seconds / total
                    say(f"PixelCNN: update {self.stand.update:,}, {done:.0%} of its time, training {mean:.4f} bits/dim")
                if time.monotonic() - saved > SAVE_EVERY or self.stand.seconds >= total:
                    self._choose(valid)
                    self.save()
                    saved = time.monotonic()
        finally:
            signal.signal(signal.SIGINT, previous)
        self.save()
        return not self.stopped

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self.stopped = True

    def _update(self, pictures: Pictures, total: float) -> float:
        """One step of the optimizer; returns its loss in bits/dim."""
        stand, start = self.stand, time.perf_counter()
        order = np.random.default_rng([self.options.seed, stand.epoch]).permutation(len(pictures))
        rows = order[stand.row : stand.row + self.options.batch]
        torch.manual_seed(self.options.seed * 1_000_003 + stand.update)
        label = labels_of(pictures, rows)
        if label is not None:
            label = label.masked_fill(torch.rand(len(label)) < LABEL_DROP, -1)
        self.model.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=self.coarse):
            loss = self.model.nll(torch.from_numpy(pictures.pictures[rows]), label).mean()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        if not bool(loss.isfinite() & norm.isfinite()):
            raise UserError(f"expected the PixelCNN to learn, got a loss of {float(loss)} at update {stand.update}")
        warm, done = min(1.0, (stand.update + 1) / WARM_UP), min(1.0, stand.seconds / total)
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.rate * warm * 0.5 * (1 + math.cos(math.pi * done))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        stand.update += 1
        decay = min(AVERAGE, (1 + stand.update) / (10 + stand.update))
        own = [value.detach() for value in self.model.parameters()]
        torch._foreach_lerp_(list(self.average.values()), own, 1 - decay)
        stand.row += len(rows)
        if stand.row >= len(order):
            stand.epoch, stand.row = stand.epoch + 1, 0
        stand.seconds += time.perf_counter() - start
        return float(loss.detach()) / math.log(2)

    def _choose(self, valid: Pictures) -> None:
        """Keep the average if it is the best so far."""
        score = bits(evaluated(self._with(self.average), valid), valid.pictures.shape[1:])
        say(f"PixelCNN: update {self.stand.update:,}, validation {score:.4f} bits/dim")
        if score < self.stand.best:
            self.stand.best = score
            self.best = {name: value.clone() for name, value in self.average.items()}

    def _with(self, weights: Mapping[str, Tensor]) -> PixelCNN:
        """A model with such weights."""
        width = self.model.inner.in_channels
        first: Any = self.model.layers[0]
        classes = 0 if first.classes is None else first.classes.num_embeddings
        model = PixelCNN(self.model.channels, classes, width, len(self.model.layers))
        model.load_state_dict(dict(weights), strict=False)  # the masks are its own
        return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def chosen(self) -> PixelCNN:
        """The model with the best average."""
        return self._with(self.best)

    def save(self) -> None:
        parts: dict[str, dict[str, Tensor]] = {
            "model": {**dict(self.model.named_parameters())},
            "average": self.average,
            "best": self.best,
        }
        tensors = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
        tensors |= {
            f"optimizer.{name}": value for name, value in optimizer_tensors(self.model, [self.optimizer]).items()
        }
        meta = {"stand": json.dumps(asdict(self.stand))}
        write_file(self.file, save({name: value.detach().contiguous() for name, value in tensors.items()}, meta))

    def _load(self) -> None:
        with safe_open(self.file, framework="pt") as file:
            self.stand = Stand(**json.loads((file.metadata() or {})["stand"]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)

        def part(prefix: str) -> dict[str, Tensor]:
            return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

        self.model.load_state_dict(part("model."), strict=False)
        self.average, self.best = part("average."), part("best.")
        self.average = {name: self.average[name] for name, _ in self.model.named_parameters()}
        restore_optimizers(self.model, [self.optimizer], part("optimizer."))
        say(f"PixelCNN: goes on at update {self.stand.update:,} after {self.stand.seconds / 3600:.2f} hours")


def labels_of(pictures: Pictures, rows: NDArray[np.int64] | slice) -> Tensor | None:
    return None if pictures.labels is None else torch.from_numpy(pictures.labels[rows])


@torch.no_grad()
def evaluated(model: PixelCNN, pictures: Pictures, rows: int = 32) -> NDArray[np.float64]:
    """Nats of each picture, in float32."""
    model.eval()
    found = []
    for first in range(0, len(pictures), rows):
        some = slice(first, first + rows)
        nll = model.nll(torch.from_numpy(pictures.pictures[some]), labels_of(pictures, some))
        found.append(nll.double().sum((1, 2, 3)).numpy())
    return np.concatenate(found)


def bits(nats: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    return float(measured("", nats, shape)["bits_per_dim"])


def pixelcnn(weights: int, train: Pictures, pictures: Pictures, read: Read, options: argparse.Namespace) -> Row | None:
    """Train it, or go on with it, and measure it; None if it was stopped."""
    torch.manual_seed(options.seed)
    model = like_a_painter(weights, train.pictures.shape[3], len(train.names), options.layers)
    check_causality(model)
    size = "x".join(str(edge) for edge in train.pictures.shape[1:])
    kept = f"pixelcnn-{size}-{model.weights}-{options.layers}layers-seed{options.seed}-{options.hours:g}h"
    say(f"PixelCNN: {model.inner.in_channels} features, {model.weights:,} weights, kept in {options.runs / kept}")
    training = Training(model.to(memory_format=torch.channels_last), options.runs / kept, options)  # type: ignore[call-overload]
    if not training.train(train, some_of(read("valid"), CHOSEN_ON)):
        say("stopped; the same command goes on with it")
        return None
    nats = evaluated(training.chosen(), pictures)
    stand = training.stand
    more = {"weights": model.weights, "hours": stand.seconds / 3600, "pictures_seen": stand.update * options.batch}
    return measured("gated PixelCNN", nats, train.pictures.shape[1:], **more)


# -- all of it ---------------------------------------------------------------------------------------------------------

Read = Callable[[str], Pictures]


def some_of(pictures: Pictures, count: int | None) -> Pictures:
    labels = None if pictures.labels is None else pictures.labels[:count]
    return replace(pictures, pictures=pictures.pictures[:count], labels=labels)


def painted(name: str, painter: Painter, pictures: Pictures) -> Row:
    found = painter.evaluate(pictures).to_dict()
    row = {"name": name, "bits_per_dim": found["bits_per_dim"], "interval": found["interval"]}
    training = painter.card.get("training")
    hours = {"hours": training["hours"]} if isinstance(training, dict) and "hours" in training else {}
    return {**row, "weights": weights_of(painter), **hours}


def weights_of(painter: Painter) -> int:
    return sum(each.numel() for each in painter.module().parameters())


def table(rows: list[Row]) -> Iterator[str]:
    """Markdown."""
    yield "| | bits/dim | 95 % | weights | hours |"
    yield "|---|---|---|---|---|"
    for row in sorted(rows, key=lambda row: -row["bits_per_dim"]):
        weights = f"{row['weights']:,}" if "weights" in row else ""
        hours = f"{row['hours']:.2f}" if "hours" in row else ""
        yield f"| {row['name']} | {row['bits_per_dim']:.4f} | ± {row['interval']:.4f} | {weights} | {hours} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="pictures, as `triptych train image` reads them")
    parser.add_argument("--split", default="test", choices=("train", "valid", "test"))
    parser.add_argument("--model", nargs="*", default=[], help="models that paint")
    parser.add_argument("--hours", type=float, default=0.0, help="of training the PixelCNN")
    parser.add_argument("--weights", type=int, help="of the PixelCNN, instead of the first model's")
    parser.add_argument("--layers", type=int, default=10, help="of the PixelCNN")
    parser.add_argument("--batch", type=int, default=16, help="pictures in an update of the PixelCNN")
    parser.add_argument("--rate", type=float, default=2e-3, help="highest learning rate of the PixelCNN")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=int, help="the first N pictures of the split only")
    parser.add_argument("--runs", type=Path, default=Path("runs/image-baselines"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    painters = {name: Painter.load(name, device="cpu") for name in options.model}
    if any(painter.task != "paint" for painter in painters.values()):
        raise UserError("expected models that paint, got one of another task; give others")
    first = next(iter(painters.values()), None)
    like: dict[str, Any] = {}
    if first is not None:
        like = {"channels": first.codec.channels, "size": first.codec.shape[:2]}

    def read(split: str) -> Pictures:
        return read_pictures(options.data, split, **like)[0]

    train, pictures = read("train"), some_of(read(options.split), options.limit)
    rows = [*histograms(train.pictures, pictures.pictures), *files(pictures.pictures)]
    rows += [painted(name, painter, pictures) for name, painter in painters.items()]
    if options.hours:
        weights = options.weights or (weights_of(first) if first is not None else 2_000_000)
        found = pixelcnn(weights, train, pictures, read, options)
        rows += [] if found is None else [found]
    report = {"split": options.split, "pictures": len(pictures), "rows": rows}
    answer(report, [f"{options.split}: {len(pictures):,} pictures", *table(rows)], as_json=options.json)


if __name__ == "__main__":
    main()
