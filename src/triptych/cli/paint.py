"""`triptych paint`, `complete` and `upscale`: pictures in and out, as PNG."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from triptych.cli import options
from triptych.cli.loading import load_painter, read_for
from triptych.cli.output import answer, progress
from triptych.errors import UserError

if TYPE_CHECKING:
    from triptych.image.codec import Pixels
    from triptych.image.data import Mask
    from triptych.image.painter import Painter

Label = Annotated[
    str | None,
    typer.Option(
        "--label", metavar="CLASS", help="One of the model's classes: coat.", rich_help_panel=options.GENERATION
    ),
]
Folder = Annotated[Path, typer.Option("--out", file_okay=False, metavar="DIR", help="Folder of the pictures, as PNG.")]
Count = Annotated[int, typer.Option("--count", min=1, max=512, metavar="N", help="How many, all different.")]
Side = Literal["top", "bottom", "left", "right"]
SHEET = "all.png"
STEPS_OF_BAR = 28
IN_A_ROW = 8


def paint(
    out: Folder,
    label: Label = None,
    count: Count = 16,
    model: options.Model = "fashion",
    seed: options.Seed = 0,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Paint pictures from nothing: 1.png, 2.png, ... and all on one sheet, all.png."""
    sampling = options.sampling(temperature, top_k, top_p)
    painter = load_painter(model, device, threads, dtype.value)
    painter.check("paint", label)
    frames = min(STEPS_OF_BAR, painter.codec.tokens)
    out.mkdir(parents=True, exist_ok=True)  # before any work is done
    with progress() as bar:
        stream = painter.stream(count, label=label, sampling=sampling, seed=seed, frames=frames)
        (made,) = deque(bar.track(stream, total=frames, description="painting"), maxlen=1)
    files = _write(made, out)
    told = {"model": model, "label": label, "seed": seed, "pictures": count}
    answer({**told, "out": files, "sheet": str(out / SHEET)}, [str(out / SHEET)], as_json=json)


def complete(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="PNG, JPEG, WebP, ...; the damaged picture.")],
    out: Folder,
    mask: Annotated[
        Path | None,
        typer.Option("--mask", metavar="MASK.png", help="As large as the picture: what is white is found anew."),
    ] = None,
    keep: Annotated[Side | None, typer.Option("--keep", help="Or: the half to keep; without both, the top.")] = None,
    label: Label = None,
    count: Count = 4,
    model: options.Model = "fashion-complete",
    seed: options.Seed = 0,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Find what is missing of a picture, several times; every other pixel stays as it is. all.png shows the picture
    with its hole, then all that was found.
    """
    from triptych.image.data import SHADE

    if mask is not None and keep is not None:
        raise UserError("expected --mask or --keep, got both; leave one out")
    sampling = options.sampling(temperature, top_k, top_p)
    painter = load_painter(model, device, threads, dtype.value)
    painter.check("complete", label)
    given, hidden = _damaged(painter, picture, mask, keep or "top")
    out.mkdir(parents=True, exist_ok=True)
    made = painter.complete(given, hidden, count=count, label=label, sampling=sampling, seed=seed)
    shown = given.copy()
    shown[hidden] = SHADE
    files = _write(made, out, before=[shown])
    told = {"model": model, "picture": str(picture), "hidden": int(hidden.sum()), "label": label, "seed": seed}
    answer({**told, "out": files, "sheet": str(out / SHEET)}, [str(out / SHEET)], as_json=json)


def upscale(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="The small picture: PNG, JPEG, WebP, ...")],
    out: Annotated[Path, typer.Option("--out", dir_okay=False, metavar="FILE.png", help="The large one.")],
    model: options.Model = "emoji-upscale",
    seed: options.Seed = 0,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Enlarge a small picture: details are invented to fit it. Another seed, other details."""
    from triptych.image.files import check_png, write_picture

    check_png(out)
    painter = load_painter(model, device, threads, dtype.value)
    painter.check("upscale")
    sampling = options.sampling(temperature, top_k, top_p, usual=painter.usual.temperature)
    height, width, _ = painter.codec.shape
    factor = painter.codec.factor
    small, _ = read_for(picture, painter, (height // factor, width // factor))
    (made,) = painter.upscale(small, sampling=sampling, seed=seed)
    write_picture(out, made)
    told = {"model": model, "picture": str(picture), "out": str(out), "height": height, "width": width, "seed": seed}
    told["temperature"] = sampling.temperature
    answer(told, [str(out)], as_json=json)


def _damaged(painter: Painter, path: Path, mask: Path | None, keep: Side) -> tuple[Pixels, Mask]:
    """The picture of a file in the model's size, and what of it is to be found."""
    from triptych.image.data import half
    from triptych.image.files import covering, read_mask

    height, width, _ = painter.codec.shape
    picture, (high, wide) = read_for(path, painter)
    if mask is None:
        return picture, ~half(height, width, keep)
    return picture, covering(read_mask(mask, high, wide), (height, width))


def _write(made: Pixels, out: Path, before: list[Pixels] | None = None) -> list[str]:
    """Write pictures as 1.png, 2.png, ..., and all of them on a sheet; the names of the first."""
    from triptych.image.files import write_picture
    from triptych.image.sheet import sheet

    names = [str(out / f"{number}.png") for number in range(1, len(made) + 1)]
    for name, picture in zip(names, made, strict=True):
        write_picture(name, picture)
    shown = [*(before or []), *made]
    write_picture(out / SHEET, sheet(shown, min(len(shown), IN_A_ROW)))
    return names
