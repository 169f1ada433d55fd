"""The number of updates of a run: so many epochs, or as many as fit into its hours, evaluation and saving included."""

from __future__ import annotations

import math

import torch

from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.train.optimizer import measure_optimizers
from triptych.train.precision import choose_dtype, cost_of_bfloat16, fast_dtype, measure_step
from triptych.train.processes import Processes
from triptych.train.recipe import Recipe
from triptych.train.run.state import Progress

PLANS = 100  # of a run by the clock: it is planned again after each such part of its time
EARLY = 0.1  # of its time, after which the first evaluation is made, to know what one costs
RECENT = 200  # updates, over which the mean time of one is taken


def begin(
    model: Transformer, largest: Batch, per_epoch: int, recipe: Recipe, processes: Processes
) -> tuple[Progress, str]:
    """Choose the number formats and the number of updates by measurement: the progress of a new run, and a note.

    The first process decides for all: updates that differ by rounding would let their weights drift apart.
    """
    cost = processes.from_main(cost_of_bfloat16(largest.target.device))
    fast = fast_dtype(cost)
    dtype, seconds = _dtype(model, largest, recipe, processes, cost)
    updates = updates_of_epochs(recipe, per_epoch)
    if recipe.hours is not None:
        one = measure_step(model, largest, dtype, recipe.label_smoothing or 0.0) * recipe.accumulate
        one += measure_optimizers(model, recipe, fast)
        updates = min(updates, max(1, round(recipe.hours * 3600 / one)))
    progress = Progress(
        updates=int(processes.from_main(updates)),
        updates_per_epoch=per_epoch,
        dtype=str(dtype)[6:],
        orthogonal=str(fast)[6:],
    )
    about = "about " if recipe.hours is not None else ""
    note = f"{about}{progress.updates} updates, {per_epoch} an epoch; training in {progress.dtype} ({seconds})"
    return progress, note


def updates_of_epochs(recipe: Recipe, per_epoch: int) -> float:
    """The updates of all epochs of a recipe; infinite where it names no number."""
    return math.inf if recipe.epochs is None else max(1, round(recipe.epochs * per_epoch))


def evaluation_interval(recipe: Recipe, per_epoch: int) -> int:
    """Updates from one evaluation to the next."""
    return max(1, round(per_epoch / recipe.evaluations))


def count_update(progress: Progress, seconds: float) -> None:
    """Take the time of one more update into the mean of the last ones."""
    progress.step_seconds += (seconds - progress.step_seconds) / min(max(1, progress.update), RECENT)


def asks(recipe: Recipe, progress: Progress, planned: float) -> tuple[bool, bool]:
    """Whether a run by the clock, last planned after so many seconds, is to be planned again, and whether it is to be
    evaluated for the first time.
    """
    if recipe.hours is None:
        return False, False
    budget = recipe.hours * 3600
    return progress.seconds - planned >= budget / PLANS, (
        not progress.evaluation_seconds and progress.seconds >= EARLY * budget
    )


def replanned(recipe: Recipe, progress: Progress) -> int:
    """The number of updates that use up the hours of a run, as estimated now: the time that is left after
    the last evaluation and saving, over that of an update with its share of the others.
    """
    assert recipe.hours is not None
    last = progress.evaluation_seconds * (2 if recipe.average_last > 1 else 1) + progress.saving_seconds
    left = recipe.hours * 3600 - progress.seconds - last
    each = (progress.evaluation_seconds + progress.saving_seconds) / evaluation_interval(
        recipe, progress.updates_per_epoch
    )
    share = 1 + progress.saving_seconds / (60 * recipe.save_every)
    more = max(0, int(left / max(1e-9, progress.step_seconds * share + each)))
    return int(min(updates_of_epochs(recipe, progress.updates_per_epoch), progress.update + more))


def _dtype(
    model: Transformer, batch: Batch, recipe: Recipe, processes: Processes, cost: float
) -> tuple[torch.dtype, str]:
    if recipe.dtype != "auto":
        return getattr(torch, recipe.dtype), "as asked"
    dtype, seconds = choose_dtype(model, batch, recipe.label_smoothing or 0.0, cost)
    chosen = torch.bfloat16 if processes.from_main(float(dtype == torch.bfloat16)) else torch.float32
    return chosen, ", ".join(f"{name} {1000 * value:.0f} ms a batch" for name, value in seconds.items())
