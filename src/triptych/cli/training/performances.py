"""`triptych train music` for performances, as they were played, and the pianist that learns them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from triptych.cli.loading import load_shards
from triptych.cli.output import say
from triptych.cli.training.settings import Run, Tables, made
from triptych.errors import UserError
from triptych.fields import Checked, Size

if TYPE_CHECKING:
    from triptych.train.run.package import Outcome


@dataclass(frozen=True)
class MusicKind(Checked):
    """The setting of [data] that chooses between chorales and performances."""

    CALLED = "data.{name}"

    kind: Literal["chorale", "performance"] | None = None


@dataclass(frozen=True)
class PerformanceUse(MusicKind):
    """The settings of [data] for performances, beside those of `PerformanceAugmentation`.

    length: of the crops in tokens. held_out: the number of pieces to measure on; all of them if None.
    """

    task: Literal["compose", "accompany"] | None = None
    length: int | None = None
    held_out: Annotated[int, Size(1)] | None = None


def is_performance(data: Path, tables: Tables) -> bool:
    """Whether [data] or the folder itself makes this music for a pianist."""
    from triptych.music.performances.shards import INDEX

    prepared, kind = (data / INDEX).is_file(), made(MusicKind, tables["data"]).kind
    if prepared and kind == "chorale":
        raise UserError(f"expected chorales for data.kind={kind}, got {data}, which is prepared for performances")
    return prepared or kind == "performance"


def train(run: Run, data: Path) -> Outcome:
    """Train a new pianist, or go on from one with another dropout or pattern, or with the keyboard."""
    from triptych.music.performances.codec import KEYBOARD
    from triptych.music.performances.data import PerformanceAugmentation
    from triptych.music.performances.pianist import Pianist
    from triptych.train.run.ownership import NOTES

    use, augmentation = run.use(PerformanceUse), run.use(PerformanceAugmentation)
    task = use.task
    if run.start_from is not None:
        dropout, pattern, keyboard = run.changes("dropout", "pattern", "input.keyboard")
        if keyboard not in (None, list(KEYBOARD)):
            raise UserError(f"expected model.input.keyboard to be {list(KEYBOARD)}, got {keyboard}; leave it out")
        pianist = run.load(Pianist).with_dropout(dropout)
        pianist = pianist if pattern is None else pianist.with_pattern(pattern)
        pianist = pianist if keyboard is None else pianist.with_keyboard()
        run.check_task(task, pianist.task)
        task = pianist.task
    shards = load_shards(data, run.out.path / NOTES, melody=task == "accompany", again=run.resume)
    if run.start_from is None:
        pianist = Pianist.new(shards, task=task or "compose", **run.new())
    say(f"training on {len(shards.of_split('train')):,} pieces, {len(shards.of_split('valid')):,} held out")
    crops: dict[str, Any] = {} if use.length is None else {"length": use.length}
    return pianist.fit(shards, augmentation=augmentation, limit=use.held_out, **crops, **run.fit())
