"""`triptych paint`, `complete` and `upscale`: pictures in and out, as PNG."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from triptych.cli import options
from triptych.cli.loading import load, read_for
from triptych.cli.output import answer, progress, say
from triptych.errors import UserError

if TYPE_CHECKING:
    from triptych.image.codec import Pixels
    from triptych.image.data import Mask
    from triptych.image.painter import Painter

Label = Annotated[str | None, typer.Option(metavar="CLASS", help="One of the model's classes: coat.")]
Folder = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="DIR",
        help="Folder of the pictures, as PNG; earlier ones there are replaced. FILE.png with --count 1.",
    ),
]
Count = Annotated[int, typer.Option(min=1, max=512, metavar="N", help="How many, all different.")]
Side = Literal["top", "bottom", "left", "right"]
SHEET = "all.png"
NAMES = r"([1-9]\d*|all)\.png"  # that pictures in a folder are given
STEPS_OF_BAR = 28
IN_A_ROW = 8


@options.grouped
def paint(
    *,
    out: Folder,
    label: Label = None,
    count: Count = 16,
    model: options.Model = "fashion",
    draw: options.Draw,
    machine: options.Machine,
) -> None:
    """Paint pictures from nothing: 1.png, 2.png, ... and all on one sheet, all.png."""
    from triptych.image.painter import Painter

    earlier = _replaced(out, count)
    painter = load(Painter, model, machine)
    painter.check("paint", label)
    how = {"label": label, **draw.arguments(painter.trained)}
    frames = min(STEPS_OF_BAR, painter.codec.tokens)
    with _folder_of(out), progress() as bar:
        stream = painter.stream(count, frames=frames, **how)
        (made,) = deque(bar.track(stream, total=frames, description="painting"), maxlen=1)
        files, shown = _write(made, out, earlier)
    result = {"model": model, "label": label, "seed": draw.seed, "pictures": count}
    answer({**result, "out": files, "sheet": shown}, [shown], as_json=machine.json)


@options.grouped
def complete(
    *,
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="The damaged picture: PNG, JPEG or WebP.")],
    out: Folder,
    mask: Annotated[
        Path | None, typer.Option(metavar="MASK.png", help="As large as the picture: its white part is filled.")
    ] = None,
    keep: Annotated[
        Side | None,
        typer.Option(help="Or: the half to keep. Without both, the transparent part is filled, else the bottom half."),
    ] = None,
    label: Label = None,
    count: Count = 4,
    model: options.Model = "fashion-complete",
    draw: options.Draw,
    machine: options.Machine,
) -> None:
    """Find what is missing of a picture, several times; every other pixel stays as it is. all.png shows the picture
    with its hole, then all that was found.
    """
    from triptych.image.data import SHADE
    from triptych.image.painter import Painter

    if mask is not None and keep is not None:
        raise UserError("expected --mask or --keep, got both; leave one out")
    earlier = _replaced(out, count, picture, mask)
    painter = load(Painter, model, machine)
    painter.check("complete", label)
    how = {"label": label, **draw.arguments(painter.trained)}
    given, hidden = _damaged(painter, picture, mask, keep)
    hole = given.copy()
    hole[hidden] = SHADE
    with _folder_of(out):
        made = painter.complete(given, hidden, count=count, **how)
        files, shown = _write(made, out, earlier, before=[hole])
    result = {"model": model, "picture": str(picture), "hidden": int(hidden.sum()), "label": label, "seed": draw.seed}
    answer({**result, "out": files, "sheet": shown}, [shown], as_json=machine.json)


@options.grouped
def upscale(
    *,
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="The small picture: PNG, JPEG or WebP.")],
    out: Annotated[
        Path,
        typer.Option(
            dir_okay=False,
            metavar="FILE.png",
            help="The large one; FILE-1.png, FILE-2.png, ... of several. FILE-given.png shows what was given.",
        ),
    ],
    label: Label = None,
    count: Count = 1,
    model: options.Model = "emoji-upscale",
    draw: options.Draw,
    machine: options.Machine,
) -> None:
    """Enlarge a small picture: details are invented to fit it. Another seed, other details. The given
    picture is saved beside the result, each pixel of it a square.
    """
    from triptych.image.files.pictures import check_png, write_picture
    from triptych.image.painter import Painter

    check_png(out)
    if out.exists() and picture.exists() and out.samefile(picture):
        raise UserError(f"expected another name than that of the small picture, got {str(out)!r}; change --out")
    names = [out] if count == 1 else [out.with_stem(f"{out.stem}-{number}") for number in range(1, count + 1)]
    beside = out.with_stem(f"{out.stem}-given")
    pattern = re.escape(out.stem) + r"(-([1-9]\d*|given))?" + re.escape(out.suffix)
    earlier = _earlier(out.parent, pattern, picture)
    painter = load(Painter, model, machine)
    painter.check("upscale", label)
    sampling = draw.sampling(painter.trained)
    height, width, _ = painter.codec.shape
    factor = painter.codec.factor
    small, _ = read_for(picture, painter, (height // factor, width // factor))
    made = painter.upscale(small, count=count, label=label, sampling=sampling, seed=draw.seed)
    for name, large in zip(names, made, strict=True):
        write_picture(name, large)
    write_picture(beside, small.repeat(factor, 0).repeat(factor, 1))
    _remove(earlier, [*names, beside])
    files = [str(name) for name in names]
    result = {"model": model, "picture": str(picture), "out": str(out), "label": label, "seed": draw.seed}
    shape = {"height": height, "width": width, "temperature": sampling.temperature}
    answer({**result, **shape, "files": files, "given": str(beside)}, [*files, str(beside)], as_json=machine.json)


def _is_file(out: Path) -> bool:
    """Whether --out names one picture, and no folder."""
    return out.suffix.lower() == ".png" and not out.is_dir()


def _replaced(out: Path, count: int, *given: Path | None) -> list[Path]:
    """The earlier pictures that new ones in `out`, a folder or one file, will replace; see `_earlier`."""
    if not _is_file(out):
        return _earlier(out, NAMES, *given)
    if count > 1:
        raise UserError(f"expected --out DIR for {count} pictures, got the file {str(out)!r}; or ask for --count 1")
    return _earlier(out.parent, re.escape(out.name), *given)


@contextmanager
def _folder_of(out: Path) -> Iterator[None]:
    """Make the folder of the pictures before any work is done; if that is interrupted, what is empty of it goes."""
    folder = out.parent if _is_file(out) else out
    made = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # it is not empty
            for each in made:
                each.rmdir()
        raise


def _earlier(folder: Path, pattern: str, *given: Path | None) -> list[Path]:
    """Pictures that this program wrote into a folder before under names of that pattern, which new ones will replace.
    Raises UserError where anything else has such a name, or what is `given` to make the new ones of.
    """
    from triptych.shape.marks import is_marked

    there = sorted(path for path in folder.iterdir() if re.fullmatch(pattern, path.name)) if folder.is_dir() else []
    for path in there:
        if any(name is not None and name.exists() and path.samefile(name) for name in given if path.exists()):
            raise UserError(f"expected new pictures beside {str(path)!r}, got --out that replaces it; change --out")
        if not is_marked(path):
            raise UserError(
                f"expected no other file under a name for new pictures, got {str(path)!r}, which is none that was "
                "written here; change --out, or move it"
            )
    return there


def _remove(earlier: list[Path], written: list[Path]) -> None:
    """Remove the earlier pictures that none has taken the place of, so that old and new are not mixed."""
    if earlier:
        say(f"{len(earlier):,} earlier picture{'s' * (len(earlier) != 1)} in {str(earlier[0].parent)!r} replaced")
    for path in earlier:
        if path not in written:
            path.unlink()


def _damaged(painter: Painter, path: Path, mask: Path | None, keep: Side | None) -> tuple[Pixels, Mask]:
    """The picture of a file in the model's size, and what of it is to be found."""
    from triptych.image.data import half
    from triptych.image.files.decoding import ON_WHITE
    from triptych.image.files.masks import brought, read_mask, read_transparent
    from triptych.image.files.pictures import read_resized

    height, width, channels = painter.codec.shape
    picture, whole, words = read_resized(path, (height, width), channels=channels)
    words = [f"{path}: {word}" for word in words]
    if mask is not None:
        hidden, more = brought(read_mask(mask, whole), (height, width), repr(str(mask)))
        words += [f"{mask}: {word}" for word in more]
    elif keep is None and (clear := read_transparent(path, whole)) is not None:
        hidden, more = brought(clear, (height, width), repr(str(path)))
        words = [word for word in words if ON_WHITE not in word]
        more.append(f"the transparent part is filled: {int(hidden.sum()):,} of {hidden.size:,} pixels")
        words += [f"{path}: {word}" for word in more]
    else:
        hidden = ~half(height, width, keep or "top")
        if keep is None:
            words.append(f"note: {path} has no transparent part, so its bottom half is filled; else --mask or --keep")
    for word in words:  # not before all could be read
        say(word)
    return picture, hidden


def _write(made: Pixels, out: Path, earlier: list[Path], before: list[Pixels] | None = None) -> tuple[list[str], str]:
    """Write pictures as 1.png, 2.png, ..., and all of them on a sheet, in the place of earlier ones: the names of the
    first, and of the sheet. Or the one picture as a file.
    """
    from triptych.image.files.pictures import write_picture
    from triptych.image.sheet import sheet

    if _is_file(out):
        write_picture(out, made[0])
        return [str(out)], str(out)
    names = [str(out / f"{number}.png") for number in range(1, len(made) + 1)]
    for name, picture in zip(names, made, strict=True):
        write_picture(name, picture)
    shown = [*(before or []), *made]
    write_picture(out / SHEET, sheet(shown, min(len(shown), IN_A_ROW)))
    _remove(earlier, [out / SHEET, *map(Path, names)])
    return names, str(out / SHEET)
