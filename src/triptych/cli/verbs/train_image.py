"""`triptych train image`: what its settings of [data] mean, where its pictures come from, and what is told of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.cli.loading import load_pictures, named
from triptych.cli.output import say
from triptych.errors import UserError

if TYPE_CHECKING:
    from triptych.image.files.pictures import Pictures
    from triptych.image.painter import Painter
    from triptych.train.recipe import Recipe
    from triptych.train.run.folder import RunFolder
    from triptych.train.run.package import Outcome

# What [data] may say of pictures, and what holds without it.
SETTINGS: dict[str, Any] = {
    "task": None,
    "factor": 4,
    "size": None,
    "channels": None,
    "mirror": False,
    "shift": 0,
    "hue": 0.0,
    "held_out": 2000,
}
SHOWN = 40  # classes whose counts are told, of many the largest


def train_painter(
    data: Sequence[Path],
    tables: Mapping[str, Mapping[str, Any]],
    run: Recipe,
    where: Mapping[str, Any],
    *,
    start_from: str | None,
    out: Path | RunFolder,
    resume: bool,
    dropout: float | None = None,
    word_dropout: float | None = None,
) -> Outcome:
    """Train a new painter, or go on from `start_from`, whose size and channels the pictures are given then, and which
    is given the classes of theirs that it has not.
    """
    from triptych.image.augmentation import Augmentation
    from triptych.image.painter import Painter

    use = _checked(tables["data"])
    size, channels = use["size"], use["channels"]
    painter = None
    if start_from is not None:
        painter = Painter.load(named(start_from), dtype="float32", **where).with_dropout(dropout, word_dropout)
        if use["task"] not in (None, painter.task):
            raise UserError(f"expected data.task {painter.task}, that of {start_from}, got {use['task']!r}")
        size, channels = size or painter.codec.shape[:2], channels or painter.codec.channels
    pictures, held_out = _read(data, size, channels)
    if painter is None:
        settled: dict[str, Any] = {"task": use["task"] or "paint", "factor": use["factor"], **tables["model"]}
        painter = Painter.new(pictures, seed=run.seed, **where, **settled)
    elif pictures.labels is not None:
        painter = _with_new_classes(painter, pictures, run.seed)
    held_out = held_out.evenly(use["held_out"])
    _tell_classes(pictures, held_out)
    say(f"training on {len(pictures):,} pictures, {len(held_out):,} held out")
    return painter.fit(
        pictures,
        held_out=held_out,
        recipe=run,
        out=out,
        resume=resume,
        augmentation=Augmentation(use["mirror"], use["shift"], use["hue"]),
        card=tables["card"],
    )


def _read(data: Sequence[Path], size: tuple[int, int] | None, channels: int | None) -> tuple[Pictures, Pictures]:
    """The pictures to train on and those held out, of all sets; none of them in both."""
    known: set[str] = set()
    pictures = load_pictures(data, "train", channels=channels, size=size, known=known)
    height, width, channels = pictures.pictures.shape[1:]
    held_out = load_pictures(data, "valid", channels=channels, size=(height, width), known=known)
    new = pictures.without([held_out])
    if len(new) < len(pictures):
        say(f"{len(pictures) - len(new):,} pictures are left out: in this size they are like some that are held out")
    if not len(new):
        raise UserError("expected other pictures to train on than those held out, got the same; give other data")
    return new, held_out


def _with_new_classes(painter: Painter, pictures: Pictures, seed: int) -> Painter:
    """The painter with the classes of the pictures that it has not, which are told."""
    with_them = painter.with_classes(pictures.names, seed=seed)
    new = with_them.codec.labels[len(painter.codec.labels) :]
    if new:
        say(f"{len(new):,} new classes beside the {len(painter.codec.labels):,} of the model: {_listed(new)}")
    return with_them


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")


def _tell_classes(pictures: Pictures, held_out: Pictures) -> None:
    """Say which classes there are and how many pictures each has."""
    if pictures.labels is None:
        say("without classes: the pictures are in no folders of classes, or have no labels")
        return
    counts, beside = pictures.counts(), held_out.counts()
    there = [name for name, count in counts.items() if count or beside.get(name)]
    some = sorted(there, key=lambda name: -counts[name])[:SHOWN] if len(there) > SHOWN else there
    told = [f"{name} {counts[name]:,} ({beside.get(name, 0):,} held out)" for name in some]
    rest = sum(counts.values()) - sum(counts[name] for name in some)
    if len(there) > SHOWN:
        told.append(f"and {len(there) - SHOWN:,} more with {rest:,} together")
    say(f"{len(there):,} class{'es' * (len(there) != 1)}: {', '.join(told)}")


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of [data] with what holds without them, checked; what the painter checks itself it says itself."""
    use = {**SETTINGS, **settings}
    if "factor" in settings and use["task"] != "upscale":
        raise UserError("expected data.task=upscale with data.factor, got another task; leave data.factor out")
    size = use["size"]
    if size is not None:
        if not isinstance(size, list) or len(size) != 2 or any(type(edge) is not int for edge in size):
            raise UserError(f"expected data.size to be [height, width], got {size!r}")
        use["size"] = tuple(size)
    if use["channels"] is not None and type(use["channels"]) is not int:
        raise UserError(f"expected data.channels to be 1 or 3, got {use['channels']!r}")
    if type(use["mirror"]) is not bool:
        raise UserError(f"expected data.mirror to be true or false, got {use['mirror']!r}")
    if type(use["shift"]) is not int:
        raise UserError(f"expected data.shift to be a number of pixels, got {use['shift']!r}")
    if type(use["hue"]) not in (int, float):
        raise UserError(f"expected data.hue to be an angle in degrees, got {use['hue']!r}")
    if type(use["held_out"]) is not int or use["held_out"] < 1:
        raise UserError(f"expected data.held_out to be a number of pictures from 1, got {use['held_out']!r}")
    return use
