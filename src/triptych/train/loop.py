"""The one training loop: token batches in, checkpoints out; the panels differ in their data only."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from triptych.errors import DivergedError, UserError
from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.model.weights import tensors_of
from triptych.shape.store import read_model
from triptych.train.averaging import MovingAverage, Weights, mean, swapped
from triptych.train.memory import keep_freed_memory
from triptych.train.optimizer import lr_scale, optimizers
from triptych.train.plan import asks, begin, count_update, evaluation_interval, replanned
from triptych.train.processes import Processes
from triptych.train.recipe import Recipe
from triptych.train.run.folder import RunFolder, claimed, is_of_update
from triptych.train.run.package import Outcome, Package
from triptych.train.run.report import Report
from triptych.train.run.resume import check_same, restore, tensors_of_run
from triptych.train.run.state import Progress, State, check_recipe
from triptych.train.signals import noted_signals
from triptych.train.update import update

LOG_EVERY = 20
ALONE = Package({}, {})
UNSAVED = 60.0  # seconds of work, which are saved before an evaluation
NO_HELD_OUT = "expected held-out data, got no token; give a held-out file with at least one example"


class Data(Protocol):
    """Training data. Epoch n is the same batches whenever it is asked for, so that a run can resume in its middle."""

    def epoch(self, number: int) -> Sequence[Batch]:
        """Batches of epoch `number`, counted from 0."""
        ...


Measure = Callable[[Transformer], Mapping[str, float]]


def fit(
    model: Transformer,
    data: Data,
    held_out: Sequence[Batch],
    recipe: Recipe,
    out: str | Path | RunFolder,
    *,
    package: Package = ALONE,
    measure: Measure | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> Outcome:
    """Train `model` and leave in `out` its checkpoints, its log and its resume state.

    Args:
        model: on the device to train on. Its weights are the last update's afterwards.
        data: the training batches by epoch.
        held_out: batches for the held-out loss (nats a token).
        recipe: see `Recipe`.
        out: the run's folder: new, empty, or with `resume` that of a run; or one that is claimed already.
            `read_model(out)` reads the best checkpoint.
        package: the codec's files and the card of each checkpoint, and what a resumed run must find again.
        measure: figures of the model on held-out data, of which "score" (higher is better) chooses the best checkpoint;
            without it the held-out loss does.
        resume: continue where the run in `out` stopped. The result equals that of an uninterrupted run, bit by bit.
        quiet: print nothing on standard error.

    Raises:
        UserError: `out` holds other things than a run, or a run and `resume` is not set, or the reverse, or another
            process trains there; a resumed run has another recipe, model, vocabulary or other data; a file of it is
            damaged.
        DivergedError: the loss, or the held-out loss, is not finite.

    SIGINT and SIGTERM end the run after the present update, with its state saved.
    """
    keep_freed_memory()
    recipe = recipe.settled(0.0)
    with claimed(out, resume=resume) as folder:
        folder.keep("examples", package.examples)
        folder.keep_settings(package.settings)
        run = _Run(model, data, held_out, recipe, folder, package, measure)
        run.prepare()
        place = folder.path if run.processes.is_main else None
        with Report(place, run.progress.update, run.progress.updates, run.log, quiet) as report:
            return run.train(report)


@dataclass
class _Run:
    """The moving parts of one call of `fit`."""

    model: Transformer
    data: Data
    held_out: Sequence[Batch]
    recipe: Recipe
    folder: RunFolder
    package: Package
    measure: Measure | None

    def __post_init__(self) -> None:
        self.device = self.model.device
        self.processes = Processes.join()
        self.processes.broadcast_parameters(self.model)
        self.optimizers: list[torch.optim.Optimizer] = []
        self.average = MovingAverage(self.model, self.recipe.ema) if self.recipe.ema else None
        self.progress = Progress()
        self.note = ""
        self.log: Mapping[str, Any] = {}
        # Of time.perf_counter: when the run's time was last counted, and when it was last saved; and how much of that
        # time had gone by when it was last planned.
        self._ticked = self._saved = time.perf_counter()
        self._planned = 0.0
        self._is_saved = True

    # -- beginning --------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Take up the state of the run, or plan a new one."""
        if not any(len(batch) for batch in self.held_out):
            raise UserError(NO_HELD_OUT)
        first = self.data.epoch(0)
        if not len(first):
            raise UserError("expected training data, got an epoch without a batch; give more or longer examples")
        per_epoch = math.ceil(len(first) / self.recipe.accumulate)
        if self.folder.state is not None:
            self._restore(self.folder.state, per_epoch)
            return
        largest = max(first, key=lambda batch: batch.target.numel()).to(self.device)
        self.progress, self.note = begin(self.model, largest, per_epoch, self.recipe, self.processes)
        self.optimizers = optimizers(self.model, self.recipe, getattr(torch, self.progress.orthogonal))

    def _restore(self, state: State, per_epoch: int) -> None:
        check_recipe(state.recipe, self.recipe.to_dict())
        self.progress, self.log = state.progress, state.log
        check_same(self.folder.path, state.progress, self.model, self.package, per_epoch)
        self.folder.check_inputs()
        self.optimizers = optimizers(self.model, self.recipe, getattr(torch, self.progress.orthogonal))
        restore(self.folder.path, state.tensors, self.model, self.optimizers, self.average)
        self.folder.state = None  # its tensors are the model's by now
        self.note = f"resumed at update {self.progress.update} of {self.progress.updates}"

    # -- the loop ---------------------------------------------------------------------------------------------------

    def train(self, report: Report) -> Outcome:
        """Update until the plan is fulfilled, patience ends, or a signal comes. No signal interrupts a saving."""
        self.report = report
        report.line(f"{self.note}; kept in {self.folder.path}")
        report.write("start", self.progress.update, note=self.note, recipe=self.recipe.to_dict())
        with noted_signals() as caught:
            if self.progress.update == 0:
                self._save()
            reason = self._updates(caught)
            if not self._is_saved:
                self._save()
            if reason == "finished" and self.recipe.average_last > 1:
                if self.processes.any(bool(caught))[0]:
                    reason = "interrupted"  # the mean is taken after a resume
                else:
                    self._average_last()
            if reason == "interrupted":
                report.line(
                    f"stopped by {caught[0] if caught else 'a signal'}; everything is saved in {self.folder.path}. "
                    f"Go on with the same command and --resume --out {self.folder.path}"
                )
            self.processes.wait_for_main()
        progress = self.progress
        return Outcome(self.folder.path, progress.best, reason, progress.update, progress.seconds)

    def _updates(self, caught: list[str]) -> str:
        """The rest of the plan; the reason to stop."""
        progress, recipe = self.progress, self.recipe
        every = evaluation_interval(recipe, progress.updates_per_epoch)
        batches: Sequence[Batch] = ()
        self.model.train()
        if progress.due:
            self._evaluate()
        while progress.update < progress.updates:
            batches = batches or self.data.epoch(progress.epoch)
            last = min(len(batches), progress.batch + recipe.accumulate)
            self._update([batches[at] for at in range(progress.batch, last)])
            progress.batch = last
            if last == len(batches):
                progress.epoch, progress.batch, batches = progress.epoch + 1, 0, ()
            stop, save, plan, early = self.processes.any(bool(caught), *self._is_time())
            if plan:
                self._replan()
            progress.due = early or progress.update % every == 0 or progress.update == progress.updates
            if stop:
                return "interrupted"
            if progress.due:
                self._evaluate()
                if recipe.patience and progress.worse >= recipe.patience:
                    return "no better for long enough"
            elif save:
                self._save_by_the_clock()
        return "finished"

    def _is_time(self) -> tuple[bool, bool, bool]:
        """Whether it is time to save, to plan again, and to evaluate first, by the clock of the first process."""
        self._tick()
        if not self.processes.is_main:
            return False, False, False
        save = time.perf_counter() - self._saved >= 60 * self.recipe.save_every
        return save, *asks(self.recipe, self.progress, self._planned)

    def _tick(self) -> None:
        now = time.perf_counter()
        self.progress.seconds += now - self._ticked
        self._ticked = now

    def _replan(self) -> None:
        """Plan the number of updates again, so that the run ends with its hours."""
        self._planned = self.progress.seconds
        updates = replanned(self.recipe, self.progress)
        self.progress.updates = self.report.updates = int(self.processes.from_main(updates))

    def _update(self, group: Sequence[Batch]) -> None:
        progress, recipe, start = self.progress, self.recipe, time.perf_counter()
        progress.update += 1
        self._is_saved = False
        scale = lr_scale(recipe, progress.update, progress.updates)
        how = {"number": progress.update, "dtype": getattr(torch, progress.dtype), "scale": scale}
        nll, norm = update(self.model, group, self.optimizers, recipe, self.processes, **how)
        if not math.isfinite(nll) or not math.isfinite(norm):
            self._diverged()
        if self.average is not None:
            self.average.update(self.model, progress.update)
        seconds = max(1e-9, time.perf_counter() - start)
        speed = sum(batch.tokens for batch in group) / seconds
        count_update(progress, seconds)
        self._tick()
        self.report.advance(progress.update, nll, speed)
        if progress.update % LOG_EVERY == 0 or progress.update == 1:
            figures = {"epoch": progress.epoch, "nll": nll, "gradient_norm": norm, "lr_scale": scale}
            times = {"tokens_per_second": round(speed, 1), "seconds": round(progress.seconds, 3)}
            self.report.write("train", progress.update, **figures, **times)

    def _diverged(self) -> None:
        at, folder = self.progress.update, self.folder.path
        self.report.write("diverged", at)
        raise DivergedError(
            f"the loss is no longer finite at update {at}; the last good checkpoint is in {folder}. Train anew from it "
            f"(--from {folder}) with a lower learning_rate or a longer warmup"
        )

    # -- evaluation and files -----------------------------------------------------------------------------------------

    def _evaluate(self, averaged: Weights | None = None) -> None:
        """Score the weights that would be used (averaged ones where there are), keep the best, save the state."""
        progress, report = self.progress, self.report
        if averaged is None and time.perf_counter() - self._saved >= UNSAVED:
            self._save()  # an evaluation may take long, and a kill come in its middle
        start = time.perf_counter()
        shadow = averaged or (self.average.average if self.average else None)
        figures = {"nll": math.nan}
        if self.processes.is_main:
            self.model.eval()
            with swapped(self.model, shadow):
                figures["nll"] = held_out_loss(self.model, self.held_out)
                if math.isfinite(figures["nll"]):
                    figures.update(self.measure(self.model) if self.measure else {})
                    if self._is_better(figures.get("score", -figures["nll"])):
                        progress.best_checkpoint = self._checkpoint("average" if averaged else "update", figures)
            self.model.train()
        if not math.isfinite(self.processes.from_main(figures["nll"])):
            self._diverged()  # before anything of this update is saved
        score = self.processes.from_main(figures.get("score", -figures["nll"]))
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items() if name != "score")
        report.line(f"update {progress.update}/{progress.updates}  held out: {shown}")
        took = progress.evaluation_seconds = time.perf_counter() - start
        self._tick()
        report.write("held_out", progress.update, **figures, seconds=round(progress.seconds, 3), took=round(took, 3))
        if self._is_better(score):
            progress.best, progress.worse = score, 0
        else:
            progress.worse += 1
        progress.due = False
        if averaged is None:
            self._save(keep=True)
            if self.recipe.hours is not None and progress.update < progress.updates:
                self._replan()

    def _is_better(self, score: float) -> bool:
        return not math.isnan(score) and (self.progress.best is None or score > self.progress.best)

    def _checkpoint(self, kind: str, figures: Mapping[str, float]) -> str:
        """Save the model's present weights as a whole model folder; its name, relative to the run."""
        progress = self.progress
        training = {
            "recipe": self.recipe.to_dict(),
            "updates": progress.update,
            "hours": round(progress.seconds / 3600, 3),
            "dtype": progress.dtype,
            "held_out": dict(figures),
        }
        card = {**self.package.card, "training": training}
        return self.folder.write_checkpoint(kind, progress.update, self.model, self.package.files, card)

    def _save(self, *, keep: bool = False) -> None:
        """The last weights, the resume state, then the pointer to both; only then do old checkpoints go.

        `keep` is for the checkpoints of evaluations. Where a run was interrupted must not change the average.
        """
        if not self.processes.is_main:
            return
        start, progress = time.perf_counter(), self.progress
        last = progress.last_checkpoint
        if last is None or not is_of_update(last, "last", progress.update):
            last = progress.last_checkpoint = self._checkpoint("last", {})
        if keep and self.recipe.average_last > 1:
            progress.kept = [*(name for name in progress.kept if name != last), last][-self.recipe.average_last :]
        tensors = tensors_of_run(self.model, self.optimizers, self.average)
        self._tick()
        folder, log = self.folder, self.report.position()
        folder.write_state(State(progress, self.recipe.to_dict(), folder.settings, folder.inputs, log, tensors))
        folder.write_pointer(progress)
        self._saved, self._is_saved = time.perf_counter(), True
        progress.saving_seconds = self._saved - start

    def _save_by_the_clock(self) -> None:
        """Save between evaluations. A disk that is full for the moment does not end the run."""
        try:
            self._save()
        except OSError as error:
            self._saved = time.perf_counter()
            again = f"trying again in {self.recipe.save_every:g} minutes"
            self.report.line(f"not saved at update {self.progress.update}: {error.strerror or error}; {again}")

    def _average_last(self) -> None:
        """The mean of the last checkpoints competes with the best one. Only the first process has names in `kept`."""
        many = [tensors_of(read_model(self.folder.path / name)) for name in self.progress.kept]
        averaged = {name: value.to(self.device) for name, value in mean(many).items()} if many else None
        self._evaluate(averaged)
        self._save()


@torch.no_grad()
def held_out_loss(model: Transformer, batches: Sequence[Batch]) -> float:
    """Negative log-likelihood in nats a token over all batches, in float32, without dropout or smoothing."""
    training = model.training
    model.eval()
    device = model.device
    total, tokens = 0.0, 0
    for batch in batches:
        total += float(model.loss(batch.to(device))[1])
        tokens += batch.tokens
    model.train(training)
    if not tokens:
        raise UserError(NO_HELD_OUT)
    return total / tokens
