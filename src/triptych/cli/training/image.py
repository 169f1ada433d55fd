"""`triptych train image`: pictures, and the painter that learns them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from triptych.cli.loading import load_pictures
from triptych.cli.output import say
from triptych.cli.training.settings import Run
from triptych.errors import UserError
from triptych.fields import Checked, Size

if TYPE_CHECKING:
    from triptych.image.files.pictures import Pictures
    from triptych.image.painter import Painter
    from triptych.train.run.package import Outcome

MAX_SHOWN = 40  # classes whose counts are printed, of many the largest


@dataclass(frozen=True)
class PictureUse(Checked):
    """The settings of [data] for pictures, beside those of `Augmentation`.

    factor: of task "upscale" alone. size, channels: of all pictures; those of most of them if None. held_out: so many
    pictures of the validation split at most.
    """

    CALLED = "data.{name}"

    task: Literal["paint", "complete", "upscale"] | None = None
    factor: int | None = None
    size: Annotated[tuple[int, int], "[height, width]"] | None = None
    channels: Annotated[int, "1 or 3"] | None = None
    held_out: Annotated[int, Size(1)] = 2000

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.factor is not None and self.task != "upscale":
            raise UserError("expected data.task=upscale with data.factor, got another task; leave data.factor out")


def train(run: Run, paths: Sequence[Path]) -> Outcome:
    """Train a new painter, or go on from one: the pictures are given its size and channels, and it the classes of
    theirs that it has not.
    """
    from triptych.image.augmentation import Augmentation
    from triptych.image.painter import Painter

    use, augmentation = run.use(PictureUse), run.use(Augmentation)
    size, channels = use.size, use.channels
    painter = None
    if run.start_from is not None:
        dropout, word_dropout = run.changes("dropout", "input.word_dropout")
        painter = run.load(Painter).with_dropout(dropout, word_dropout)
        run.check_task(use.task, painter.task)
        size, channels = size or painter.codec.shape[:2], channels or painter.codec.channels
    pictures, held_out = _read(paths, size, channels)
    if painter is None:
        task: dict[str, Any] = {"task": use.task or "paint", **({} if use.factor is None else {"factor": use.factor})}
        painter = Painter.new(pictures, **{**task, **run.new()})
    elif pictures.labels is not None:
        painter = _with_new_classes(painter, pictures, run.recipe.seed)
    held_out = held_out.evenly(use.held_out)
    _say_classes(pictures, held_out)
    say(f"training on {len(pictures):,} pictures, {len(held_out):,} held out")
    return painter.fit(pictures, held_out=held_out, augmentation=augmentation, **run.fit())


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
    """The painter with the classes of the pictures that it has not, which are printed."""
    with_them = painter.with_classes(pictures.names, seed=seed)
    new = with_them.codec.labels[len(painter.codec.labels) :]
    if new:
        say(f"{len(new):,} new classes beside the {len(painter.codec.labels):,} of the model: {_listed(new)}")
    return with_them


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_SHOWN]) + (f" and {len(names) - MAX_SHOWN:,} more" if len(names) > MAX_SHOWN else "")


def _say_classes(pictures: Pictures, held_out: Pictures) -> None:
    """Say which classes there are and how many pictures each has."""
    if pictures.labels is None:
        say("without classes: the pictures are in no folders of classes, or have no labels")
        return
    counts, beside = pictures.counts(), held_out.counts()
    there = [name for name, count in counts.items() if count or beside.get(name)]
    some = sorted(there, key=lambda name: -counts[name])[:MAX_SHOWN] if len(there) > MAX_SHOWN else there
    listed = [f"{name} {counts[name]:,} ({beside.get(name, 0):,} held out)" for name in some]
    rest = sum(counts.values()) - sum(counts[name] for name in some)
    if len(there) > MAX_SHOWN:
        listed.append(f"and {len(there) - MAX_SHOWN:,} more with {rest:,} together")
    say(f"{len(there):,} class{'es' * (len(there) != 1)}: {', '.join(listed)}")
