"""`triptych train music` for performances, as they were played, and the pianist that learns them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from triptych.cli.loading import load_shards
from triptych.cli.output import say
from triptych.cli.training.settings import Changes, Run, Tables
from triptych.errors import UserError
from triptych.shape.bounds import in_range
from triptych.shape.settings import settings_from

if TYPE_CHECKING:
    from triptych.train.run.package import Outcome


@dataclass(frozen=True)
class MusicKind:
    """The setting of [data] that chooses between chorales and performances."""

    kind: Literal["chorale", "performance"] | None = None


@dataclass(frozen=True)
class PerformanceUse(MusicKind):
    """The settings of [data] for performances, beside those of `PerformanceAugmentation`.

    length: of the crops in tokens. held_out: the number of pieces to measure on; all of them if None.
    """

    task: Literal["compose", "accompany"] | None = None
    length: int | None = None
    held_out: int | None = None

    def __post_init__(self) -> None:
        in_range("data.held_out", 1 if self.held_out is None else self.held_out, 1, 2**31)


@dataclass(frozen=True)
class KeyboardChanges:
    """The settings of `input` in [model] that may change with --from: a model without the keyboard is given it."""

    keyboard: tuple[int, int, int] | None = None

    def __post_init__(self) -> None:
        from triptych.music.performances.codec import KEYBOARD

        if self.keyboard not in (None, KEYBOARD):
            raise UserError(f"expected model.input.keyboard to be {list(KEYBOARD)}, got {list(self.keyboard)}")


@dataclass(frozen=True)
class PianistChanges(Changes):
    """The settings of [model] that may change with --from."""

    pattern: Any = None
    input: KeyboardChanges = field(default_factory=KeyboardChanges)


def is_performance(data: Path, tables: Tables) -> bool:
    """Whether [data] or the folder itself makes this music for a pianist."""
    from triptych.music.performances.shards import INDEX

    prepared, kind = (data / INDEX).is_file(), settings_from(MusicKind, "data", tables["data"]).kind
    if prepared and kind == "chorale":
        raise UserError(f"expected chorales for data.kind={kind}, got {data}, which is prepared for performances")
    return prepared or kind == "performance"


def train(run: Run, data: Path) -> Outcome:
    """Train a new pianist, or go on from one with another dropout or pattern, or with the keyboard."""
    from triptych.music.performances.data import PerformanceAugmentation
    from triptych.music.performances.pianist import Pianist
    from triptych.train.run.ownership import NOTES

    use, augmentation = run.use(PerformanceUse), run.use(PerformanceAugmentation)
    task = use.task
    if run.start_from is not None:
        changes = run.changes(PianistChanges)
        pianist = run.load(Pianist)
        pianist = pianist if changes.dropout is None else pianist.with_dropout(changes.dropout)
        pianist = pianist if changes.pattern is None else pianist.with_pattern(changes.pattern)
        pianist = pianist if changes.input.keyboard is None else pianist.with_keyboard()
        run.check_task(task, pianist.task)
        task = pianist.task
    shards = load_shards(data, run.out.path / NOTES, melody=task == "accompany", again=run.resume)
    if run.start_from is None:
        pianist = Pianist.new(shards, task=task or "compose", **run.new())
    say(f"training on {len(shards.of_split('train')):,} pieces, {len(shards.of_split('valid')):,} held out")
    crops: dict[str, Any] = {} if use.length is None else {"length": use.length}
    return pianist.fit(shards, augmentation=augmentation, limit=use.held_out, **crops, **run.fit())
