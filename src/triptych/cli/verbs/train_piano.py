"""`triptych train music` for performances: what its settings of [data] mean, and where its notes come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.cli.loading import load_shards, named
from triptych.cli.output import say
from triptych.errors import UserError

if TYPE_CHECKING:
    from triptych.train.recipe import Recipe
    from triptych.train.run.folder import RunFolder
    from triptych.train.run.package import Outcome

KINDS = ("chorale", "performance")
# What [data] may say of performances, and its type.
SETTINGS: dict[str, type] = {
    "kind": str,
    "task": str,
    "length": int,
    "stretch": float,
    "semitones": int,
    "unlabelled": float,
    "held_out": int,
}
TYPES = {str: "a word", int: "a whole number", float: "a number"}


def is_performance(data: Path, settings: Mapping[str, Any]) -> bool:
    """Whether [data] or the folder itself says that this is music for a pianist."""
    from triptych.music.performances.shards import INDEX

    prepared = (data / INDEX).is_file()
    kind = settings.get("kind", KINDS[prepared])
    if kind not in KINDS:
        raise UserError(f"expected data.kind to be {' or '.join(KINDS)}, got {kind!r}")
    if prepared and kind != KINDS[1]:
        raise UserError(f"expected chorales for data.kind={kind}, got {data}, which is prepared for performances")
    return bool(kind == KINDS[1])


def train_pianist(
    data: Path,
    tables: Mapping[str, Mapping[str, Any]],
    run: Recipe,
    where: Mapping[str, Any],
    *,
    start_from: str | None,
    out: RunFolder,
    resume: bool,
    dropout: float | None = None,
    pattern: Any = None,
    input: Any = None,
) -> Outcome:
    """Train a new pianist, or go on from `start_from` with another dropout or pattern, or with the keyboard."""
    from triptych.music.performances.codec import KEYBOARD
    from triptych.music.performances.data import PerformanceAugmentation
    from triptych.music.performances.pianist import Pianist
    from triptych.train.run.ownership import NOTES

    use = _checked(tables["data"])
    task, held_out = use.pop("task", None), use.pop("held_out", None)
    crops = {"length": use.pop("length")} if "length" in use else {}
    augmentation = PerformanceAugmentation(**use)
    if input is not None and input != {"keyboard": list(KEYBOARD)}:
        raise UserError(f"expected of model.input only {{ keyboard = {list(KEYBOARD)} }} with --from, got {input!r}")
    if start_from is not None:
        pianist = Pianist.load(named(start_from), dtype="float32", **where)
        pianist = pianist if dropout is None else pianist.with_dropout(dropout)
        pianist = pianist if pattern is None else pianist.with_pattern(pattern)
        pianist = pianist if input is None else pianist.with_keyboard()
        if task not in (None, pianist.task):
            raise UserError(f"expected data.task {pianist.task}, that of {start_from}, got {task!r}; leave it out")
        task = pianist.task
    shards = load_shards(data, out.path / NOTES, melody=task == "accompany", again=resume)
    if start_from is None:
        pianist = Pianist.new(shards, task=task or "compose", seed=run.seed, **where, **tables["model"])
    say(f"training on {len(shards.of_split('train')):,} pieces, {len(shards.of_split('valid')):,} held out")
    return pianist.fit(
        shards,
        recipe=run,
        out=out,
        resume=resume,
        augmentation=augmentation,
        limit=held_out,
        card=tables["card"],
        **crops,
    )


def _checked(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of [data] but for `kind`, each of its type."""
    for name, value in settings.items():
        wanted = (int, float) if SETTINGS[name] is float else (SETTINGS[name],)
        if isinstance(value, bool) or not isinstance(value, wanted):
            raise UserError(f"expected data.{name} to be {TYPES[SETTINGS[name]]}, got {value!r}")
    if (task := settings.get("task", "compose")) not in ("compose", "accompany"):
        raise UserError(f"expected data.task to be compose or accompany, got {task!r}")
    if settings.get("held_out", 1) < 1:
        raise UserError(f"expected data.held_out from 1 piece, got {settings['held_out']}; leave it out for all")
    return {name: value for name, value in settings.items() if name != "kind"}
