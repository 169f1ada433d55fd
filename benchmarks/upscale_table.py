"""How good are enlarged pictures? A model's samples beside the bicubic filter, in figures and on a page.

    python benchmarks/upscale_table.py --model emoji-upscale --data F.npz ... [--split test] [--out page.png]

PSNR and SSIM against the truth, of single samples and of the pixelwise mean of all: the mean over pictures. A sample
that is sharp in the wrong place has a lower PSNR than a blur, so these figures favour the mean and the filters; the
consistency, the PSNR of what is made small again against what was given, does not (72.21 dB: the very same). The page
shows --pictures of them, spread over the split: what was given, bicubic, three samples and the truth, each pixel a
square. Needs: the `eval` extra.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from triptych.cli.loading import load_pictures
from triptych.cli.output import answer, say
from triptych.errors import UserError
from triptych.generation.sampling import Sampling
from triptych.image.codec import Pixels
from triptych.image.data import matched, shrunk
from triptych.image.files.pictures import write_picture
from triptych.image.painter import Painter
from triptych.image.score import bicubic, enlargement

GAP, HEAD, MARGIN, PANELS = 6, 22, 16, 2  # screen pixels between pictures, of titles, around all; panels side by side
SHOWN = 3  # samples
WHITE = 255


def rows_of(truth: Pixels, small: Pixels, samples: Pixels) -> Iterator[dict[str, Any]]:
    """The table."""
    factor = truth.shape[1] // small.shape[1]
    nearest, figures = (enlargement(truth, made, small) for made in (enlarged(small, factor)[None], samples))
    mean = np.round(samples.astype(np.float64).mean(0)).astype(np.uint8)
    smooth, middle = (enlargement(truth, made[None], small) for made in (bicubic(small, factor), mean))
    table = {"nearest neighbour": nearest, "bicubic": smooth, "one sample": figures}
    for name, row in {**table, f"mean of {len(samples)} samples": middle}.items():
        yield {"name": name, **{key: getattr(row, key) for key in ("psnr", "ssim", "consistency")}}


def say_how_far(done: int, samples: int) -> None:
    say(f"sample {done} of {samples}")


def enlarged(pictures: Pixels, factor: int) -> Pixels:
    """Each pixel as a square."""
    return pictures.repeat(factor, -3).repeat(factor, -2)


def page(columns: dict[str, Pixels], zoom: int) -> Pixels:
    """Pictures [N, height, width, channels] by the title of their column, row by row in two panels: RGB."""
    first = next(iter(columns.values()))
    count, height, width = first.shape[:3]
    cell = height * zoom + GAP, width * zoom + GAP
    rows = -(-count // PANELS)
    across = len(columns) * cell[1] + MARGIN
    whole = np.full((HEAD + MARGIN + rows * cell[0] + MARGIN, PANELS * across + MARGIN, 3), WHITE, np.uint8)
    for column, pictures in enumerate(columns.values()):
        for number, picture in enumerate(enlarged(pictures, zoom)):
            panel, row = divmod(number, rows)
            top, left = HEAD + MARGIN + row * cell[0], MARGIN + panel * across + column * cell[1]
            whole[top : top + height * zoom, left : left + width * zoom] = picture  # grey goes to all three channels
    image = Image.fromarray(whole)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(max(10, min(16, width * zoom // 8)))
    for panel in range(min(PANELS, -(-count // rows))):
        for column, title in enumerate(columns):
            draw.text((MARGIN + panel * across + column * cell[1], MARGIN), title, fill=(0, 0, 0), font=font)
    return np.array(image)


def shown(truth: Pixels, small: Pixels, samples: Pixels, zoom: int) -> Pixels:
    """The page of these pictures."""
    factor = truth.shape[1] // small.shape[1]
    size = f"{small.shape[1]}x{small.shape[2]}"
    columns = {f"input {size}": enlarged(small, factor), "bicubic": bicubic(small, factor)}
    columns |= {f"sample {number}": sample for number, sample in enumerate(samples[:SHOWN], 1)}
    return page({**columns, "truth": truth}, zoom)


def table(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Markdown."""
    yield "| | PSNR, dB | SSIM | consistency, dB |"
    yield "|---|---|---|---|"
    for row in rows:
        yield f"| {row['name']} | {row['psnr']:.2f} | {row['ssim']:.4f} | {row['consistency']:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="one that upscales")
    parser.add_argument("--data", required=True, nargs="+", type=Path, help="pictures as large as those it makes")
    parser.add_argument("--split", default="test", choices=("train", "valid", "test"))
    parser.add_argument("--limit", type=int, help="so many pictures of the split, evenly from all")
    parser.add_argument("--out", type=Path, help="a PNG of some of them")
    parser.add_argument("--pictures", type=int, default=32, help="on the page")
    parser.add_argument("--zoom", type=int, default=4, help="screen pixels along the edge of a pixel")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--temperature", type=float, help="else that of the model's card")
    parser.add_argument("--top-k", type=int, default=0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.samples < 1 or options.pictures < 1:
        raise UserError("expected at least one sample and picture; see --help")
    painter = Painter.load(options.model, device="cpu")
    codec = painter.codec
    if painter.task != "upscale":
        raise UserError(f"expected a model that upscales, got one of the task {painter.task}; give another")
    pictures = load_pictures(options.data, options.split, channels=codec.channels, size=codec.shape[:2])
    truth = matched(pictures, codec).evenly(options.limit or len(pictures.pictures)).pictures
    small = shrunk(truth, codec.factor)
    temperature = painter.usual.temperature if options.temperature is None else options.temperature
    sampling = Sampling(temperature, options.top_k, options.top_p)
    samples = painter.tries(small, options.samples, sampling=sampling, seed=options.seed, progress=say_how_far)
    rows = list(rows_of(truth, small, samples))
    if options.out is not None:
        some = np.linspace(0, len(truth) - 1, min(options.pictures, len(truth))).round().astype(int)
        write_picture(options.out, shown(truth[some], small[some], samples[:, some], options.zoom))
    report = {
        "model": options.model,
        "split": options.split,
        "pictures": len(truth),
        "samples": options.samples,
        "factor": codec.factor,
        "temperature": temperature,
        "rows": rows,
    }
    heading = f"{options.split}: {len(truth):,} pictures, from {small.shape[1]}x{small.shape[2]} by {codec.factor}"
    answer(report, [heading, *table(rows)], as_json=options.json)


if __name__ == "__main__":
    main()
