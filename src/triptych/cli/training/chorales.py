"""`triptych train music` for chorales, and the composer that learns them, from trained ones too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from triptych.cli.loading import load_chorales, named
from triptych.cli.output import say
from triptych.cli.training.performances import MusicKind
from triptych.cli.training.settings import Run
from triptych.errors import UserError
from triptych.fields import Checked, Share, Size

if TYPE_CHECKING:
    import torch

    from triptych.model.transformer import Transformer
    from triptych.music.chorales.codec import Grid
    from triptych.music.chorales.composer import Composer
    from triptych.music.chorales.data import Distillation
    from triptych.train.recipe import Recipe
    from triptych.train.run.package import Outcome
    from triptych.train.run.state import State

SHARE = 0.75  # of the soft targets, unless [data] has another


@dataclass(frozen=True)
class ChoraleUse(MusicKind):
    """The settings of [data] for chorales, beside those of `Augmentation`.

    length: of the crops in tokens. order: of the voices within a moment.
    """

    task: Literal["compose", "infill"] | None = None
    length: Annotated[int, "a number of tokens"] = 1024
    order: Annotated[tuple[str, ...], 'a list of voices, ["bass", "soprano", ...]'] | None = None


@dataclass(frozen=True)
class Teaching(Checked):
    """The settings of [data] about trained composers to learn from.

    teachers: their names. composed: the number of pieces that the first of them makes. share: of the soft targets.
    """

    CALLED = "data.{name}"

    teachers: Annotated[tuple[str, ...], 'a list of models, ["chorales"]'] = ()
    composed: Annotated[int, Size(0, 100_000)] = 0
    share: Share | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, unset in (("share", None), ("composed", 0)):
            if getattr(self, name) != unset and not self.teachers:
                asked = f"data.{name}={getattr(self, name)}"
                raise UserError(f"expected data.teachers with {asked}, got none; name a composer, or leave it out")


def train(run: Run, data: Path) -> Outcome:
    """Train a new composer, or go on from one."""
    from triptych.music.chorales.augmentation import Augmentation
    from triptych.music.chorales.composer import Composer

    use, augmentation, teaching = run.use(ChoraleUse), run.use(Augmentation), run.use(Teaching)
    if run.start_from is not None:
        composer = _changed(run, use)
    else:
        order: dict[str, Any] = {} if use.order is None else {"order": use.order}
        composer = Composer.new(task=use.task or "compose", **order, **run.new())
    grids: Sequence[Grid] = load_chorales(data, "train")
    held_out = load_chorales(data, "valid")
    distillation = None
    if teaching.teachers:  # soft targets are of the training pieces alone
        grids, distillation = _taught(run, teaching, grids, composer)
    say(f"training on {len(grids):,} pieces, {len(held_out):,} held out")
    return composer.fit(
        grids, held_out=held_out, distillation=distillation, length=use.length, augmentation=augmentation, **run.fit()
    )


def _changed(run: Run, use: ChoraleUse) -> Composer:
    """The composer to go on from, with the changes that [model] and [data] ask for."""
    from triptych.music.chorales.composer import Composer

    dropout, pattern, layers, word_dropout, metre = run.changes(
        "dropout", "pattern", "encoder_layers", "input.word_dropout", "positions.metre"
    )
    if layers is not None and use.task != "infill":
        raise UserError("expected data.task=infill with model.encoder_layers and --from, got another task; set it")
    composer = run.load(Composer)
    if use.task == "infill" and (composer.task != use.task or layers is not None):
        deep = composer.config.decoder_layers if layers is None else layers
        composer = composer.with_encoder(deep, seed=run.recipe.seed)
    composer = composer.with_dropout(dropout, word_dropout)
    composer = composer if pattern is None else composer.with_pattern(pattern)
    composer = composer if metre is None else composer.with_metre(metre)
    composer = composer if use.order in (None, composer.codec.order) else composer.with_order(use.order)
    run.check_task(use.task, composer.task)
    return composer


def _taught(
    run: Run, teaching: Teaching, grids: Sequence[Grid], pupil: Composer
) -> tuple[Sequence[Grid], Distillation | None]:
    """The training pieces, with composed ones or without, and the teachers' soft targets of them."""
    from triptych.model.heads.base import SMOOTHED
    from triptych.music.chorales.composer import Composer
    from triptych.music.chorales.distillation import distilled, distilled_to_infill
    from triptych.shape.store import locate, read_card

    loaded = {name: Composer.load(named(name), **run.machine.place) for name in dict.fromkeys(teaching.teachers)}
    digests = {name: str(read_card(locate(named(name)))["sha256"]["weights.safetensors"]) for name in loaded}
    run.out.keep("teachers", digests)
    teachers, composed = [loaded[name] for name in teaching.teachers], teaching.composed
    models, task, codec = [teacher.module() for teacher in teachers], pupil.task, pupil.codec

    def how() -> dict[str, Any]:
        dtype = dtype_of_teachers(models[0], run.recipe, run.out.state)
        part = SHARE if teaching.share is None else teaching.share
        return {"share": part, "codec": codec, "dtype": dtype, "progress": _asked}

    for teacher in teachers:
        if teacher.codec.order != codec.order:
            raise UserError(
                f"expected teachers with the voices in the order {', '.join(codec.order)}, got "
                f"{', '.join(teacher.codec.order)}; probabilities of a voice depend on those before it"
            )
    if run.recipe.label_smoothing and (task != "infill" or any(teacher.task == "infill" for teacher in teachers)):
        raise UserError(SMOOTHED)
    if any(teacher.task == "infill" for teacher in teachers):
        if task != "infill" or composed:
            raise UserError(
                "expected data.task=infill and data.composed=0 with a teacher that fills in, got "
                f"{task} and {composed}; leave that teacher or data.composed out"
            )
        return grids, distilled_to_infill(models, grids, seed=run.recipe.seed, **how())
    if task == "infill" and not composed:
        raise UserError(
            "expected data.composed from 1 with composing teachers for the task infill, got 0; say how many"
        )
    if composed:
        say(f"composing {composed:,} pieces")
    made = teachers[0].composed(composed, seed=run.recipe.seed)
    if task == "infill":
        return [*grids, *grids, *made], None  # the data twice, so that it is not outnumbered
    return grids, distilled(models, grids, made, **how())


def dtype_of_teachers(teacher: Transformer, run: Recipe, resumed: State | None) -> torch.dtype:
    """In which the teachers' products are computed: that of the recipe, of "auto" the faster one. A run that is
    resumed keeps what it found: its soft targets have to be the same.
    """
    import torch

    from triptych.train.precision import cost_of_bfloat16, fast_dtype

    if run.dtype != "auto":
        name: str = run.dtype
    elif resumed is not None:
        name = resumed.progress.orthogonal
    else:
        return fast_dtype(cost_of_bfloat16(teacher.device))
    found: torch.dtype = getattr(torch, name)
    return found


def _asked(done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        say(f"asked the teachers about {done:,} of {total:,} pieces")
