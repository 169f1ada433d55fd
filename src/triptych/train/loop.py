"""The one training loop: token batches in, checkpoints out; the panels differ in their data only."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from triptych.errors import DivergedError, UserError
from triptych.model.batch import Batch
from triptych.model.files import write_file
from triptych.model.store import CARD, RUN, load_pretrained, save_pretrained
from triptych.model.transformer import Transformer
from triptych.train.averaging import MovingAverage, Weights, mean, swapped, weights
from triptych.train.memory import keep_freed_memory
from triptych.train.optimizer import (
    measure_optimizers,
    optimizer_tensors,
    optimizers,
    rate,
    restore_optimizers,
    set_rate,
)
from triptych.train.precision import autocast, choose_dtype, cost_of_bfloat16, fast_dtype, measure_step
from triptych.train.processes import Processes
from triptych.train.recipe import Recipe
from triptych.train.report import Report
from triptych.train.state import Progress, load_state, save_state

CHECKPOINTS = "checkpoints"
LOG_EVERY = 20
OF_CHECKPOINT = ("training", "parameters", "sha256", "name")  # what a card says of one checkpoint, not of the run
# What a card says of the data and of what came of them: not true any more of a model that goes on on other data.
OF_TRAINING = ("data", "license", "notice", "domain", "scores", "command", "hardware", *OF_CHECKPOINT)
NO_HELD_OUT = "expected held-out data, got no token; give a held-out file with at least one example"


class Data(Protocol):
    """Training data. Epoch n is the same batches whenever it is asked for, so that a run can resume in its middle."""

    def epoch(self, number: int) -> Sequence[Batch]:
        """Batches of epoch `number`, counted from 0."""
        ...


Measure = Callable[[Transformer], Mapping[str, float]]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its folder (loadable as a model: the best checkpoint), the best score, and why it stopped."""

    folder: Path
    score: float | None
    reason: str
    updates: int
    seconds: float


@dataclass(frozen=True)
class Package:
    """What makes a checkpoint a whole model: the codec's files, and what its card says beside the run's own figures."""

    files: Mapping[str, bytes]
    card: Mapping[str, Any]


def inherited(card: Mapping[str, Any]) -> dict[str, Any]:
    """What the card of a model that is trained further keeps, and from which model it went on."""
    kept = {key: value for key, value in card.items() if key not in OF_TRAINING}
    return {**kept, "from": card["name"]} if "name" in card else kept


def unmeasured(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card of a model that is no longer what was measured."""
    return {name: value for name, value in card.items() if name != "scores"}


def take_best(model: Transformer, out: str | Path) -> dict[str, Any]:
    """Give the model the weights of the best checkpoint of the run in `out`, for use; returns its card."""
    best = load_pretrained(out)
    model.load_state_dict(best.model.state_dict())
    model.eval()
    return best.card


def fit(
    model: Transformer,
    data: Data,
    held_out: Sequence[Batch],
    recipe: Recipe,
    out: str | Path,
    *,
    package: Package = Package({}, {}),
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
        out: the run's folder. `load_pretrained(out)` gives the best checkpoint.
        package: the codec's files and the card of each checkpoint.
        measure: figures of the model on held-out data, of which "score" (higher is better) chooses the best checkpoint;
            without it the held-out loss does.
        resume: go on where the run in `out` stopped. The result equals that of an uninterrupted run to the bit.
        quiet: no word on standard error.

    Raises:
        UserError: `out` holds a run and `resume` is not set, or the reverse; a resumed run has another recipe, model,
            vocabulary or amount of data.
        DivergedError: the loss, or the held-out loss, is not finite.

    SIGINT and SIGTERM end the run after the present update, with its state saved.
    """
    keep_freed_memory()
    run = _Run(model, data, held_out, recipe, Path(out), package, measure)
    try:
        run.prepare(resume)
        with Report(
            run.out if run.processes.first else None, run.progress.update, run.progress.updates, quiet
        ) as report:
            return run.train(report)
    finally:
        run.processes.leave()


class _Run:
    """The moving parts of one call of `fit`."""

    def __init__(
        self,
        model: Transformer,
        data: Data,
        held_out: Sequence[Batch],
        recipe: Recipe,
        out: Path,
        package: Package,
        measure: Measure | None,
    ) -> None:
        self.model, self.data, self.held_out = model, data, held_out
        self.recipe, self.out, self.package, self.measure = recipe, out, package, measure
        self.device = model.embedding.weight.device
        self.processes = Processes.join()
        self.loss: nn.Module = self.processes.wrap(model)
        self.optimizers: list[torch.optim.Optimizer] = []
        self.average = MovingAverage(model, recipe.ema) if recipe.ema else None
        self.progress = Progress()
        self.note = ""

    # -- beginning --------------------------------------------------------------------------------------------------

    def prepare(self, resume: bool) -> None:
        """Load the state of the run, or plan a new one."""
        if not any(len(batch) for batch in self.held_out):
            raise UserError(NO_HELD_OUT)
        exists = (self.out / RUN).exists()
        if resume:
            self._restore()
        elif exists:
            raise UserError(f"{self.out} already holds a run; add --resume to go on with it, or choose another --out")
        elif (self.out / CARD).exists():
            raise UserError(f"expected a folder for a run, got {self.out}, which holds a model; choose another --out")
        else:
            if self.processes.first:
                shutil.rmtree(self.out / CHECKPOINTS, ignore_errors=True)
            self._plan()

    def _restore(self) -> None:
        self.progress, tensors = load_state(self.out, self.recipe.to_dict())
        self._check_same()
        self.optimizers = optimizers(self.model, self.recipe, getattr(torch, self.progress.orthogonal))
        parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
        try:
            for name, tensor in tensors.items():
                part, rest = name.split(".", 1)
                parts[part][rest] = tensor.to(self.device) if part != "optimizer" else tensor
            self.model.load_state_dict(parts["model"])
            restore_optimizers(self.optimizers, parts["optimizer"])
        except (KeyError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"the resume state in {self.out} does not fit this model: {reason}") from None
        if self.average is not None:
            self.average.average = parts["average"]
        self.note = f"resumed at update {self.progress.update} of {self.progress.updates}"

    def _check_same(self) -> None:
        """A resumed run keeps its model, its vocabulary and its data, or it would not equal an uninterrupted one."""
        path, advice = self.out / RUN, "leave it as it was, or start a new run with --from"
        if path.exists():  # a run may have been killed before it had one
            stored = load_pretrained(self.out / json.loads(path.read_bytes())["last"])
            saved, ours = stored.model.config.to_dict(), self.model.config.to_dict()
            changed = [f"{key} was {saved[key]!r}, got {ours[key]!r}" for key in ours if saved[key] != ours[key]]
            if changed:
                raise UserError(f"a resumed run keeps its model: {changed[0]}; {advice}")
            if stored.files != dict(self.package.files):
                raise UserError(f"a resumed run keeps its vocabulary, and these data give another; {advice}")
            for key, value in json.loads(json.dumps(dict(self.package.card), default=str)).items():
                if key not in OF_CHECKPOINT and stored.card.get(key) != value:
                    before = stored.card.get(key)
                    raise UserError(
                        f"a resumed run keeps its data and card: {key} was {before!r}, got {value!r}; {advice}"
                    )
        was, now = self.progress.updates_per_epoch, self._updates_per_epoch(self.data.epoch(0))
        if was != now:
            raise UserError(f"a resumed run keeps its data: an epoch had {was} updates, these give {now}; {advice}")

    def _updates_per_epoch(self, epoch: Sequence[Batch]) -> int:
        return math.ceil(len(epoch) / self.recipe.accumulate)

    def _plan(self) -> None:
        """Choose the dtypes and the number of updates: what is measured, once, and then kept."""
        first = self.data.epoch(0)
        if not len(first):
            raise UserError("expected training data, got an epoch without a batch; give more or longer examples")
        per_epoch = self._updates_per_epoch(first)
        largest = max(first, key=lambda batch: batch.target.numel()).to(self.device)
        # The first process decides for all: updates that differ by rounding would let their weights drift apart.
        cost = self.processes.from_first(cost_of_bfloat16(self.device))
        fast = fast_dtype(cost)
        dtype, seconds = self._choose(largest, cost)
        updates = math.inf if self.recipe.epochs is None else max(1, round(self.recipe.epochs * per_epoch))
        if self.recipe.hours is not None:
            one = measure_step(self.model, largest, dtype, self.recipe.label_smoothing) * self.recipe.accumulate
            one += measure_optimizers(self.model, self.recipe, fast)
            updates = min(updates, max(1, round(self.recipe.hours * 3600 / one)))
        self.progress.updates = int(self.processes.from_first(updates))
        self.progress.updates_per_epoch = per_epoch
        self.progress.dtype, self.progress.orthogonal = str(dtype)[6:], str(fast)[6:]
        self.optimizers = optimizers(self.model, self.recipe, fast)
        self.note = (
            f"{self.progress.updates} updates, {per_epoch} an epoch; training in {self.progress.dtype} ({seconds})"
        )

    def _choose(self, batch: Batch, cost: float) -> tuple[torch.dtype, str]:
        if self.recipe.dtype != "auto":
            return getattr(torch, self.recipe.dtype), "as asked"
        dtype, seconds = choose_dtype(self.model, batch, self.recipe.label_smoothing, cost)
        share = self.processes.from_first(float(dtype == torch.bfloat16))
        chosen = torch.bfloat16 if share else torch.float32
        return chosen, ", ".join(f"{name} {1000 * value:.0f} ms a batch" for name, value in seconds.items())

    # -- the loop ---------------------------------------------------------------------------------------------------

    def train(self, report: Report) -> Outcome:
        """Update until the plan is fulfilled, patience ends, or a signal comes."""
        report.say(f"{self.note}; kept in {self.out}")
        report.write("start", self.progress.update, note=self.note, recipe=self.recipe.to_dict())
        if self.progress.update == 0:
            self._save()
        with _signals() as caught:
            reason = self._updates(report, caught)
        self._save()
        if reason == "finished" and self.recipe.average_last > 1:
            self._average_last(report)
        if caught:
            report.say(
                f"stopped by {caught[0]}; everything is saved in {self.out}. "
                f"Go on with the same command and --resume --out {self.out}"
            )
        self.processes.wait_for_first()
        progress = self.progress
        return Outcome(self.out, progress.best, reason, progress.update, progress.seconds)

    def _updates(self, report: Report, caught: list[str]) -> str:
        progress = self.progress
        self.model.train()
        while progress.update < progress.updates:
            reason = self._epoch(self.data.epoch(progress.epoch), report, caught)
            if reason:
                return reason
        return "finished"

    def _epoch(self, batches: Sequence[Batch], report: Report, caught: list[str]) -> str | None:
        """The rest of this epoch, or of the plan. The reason to stop, if there is one."""
        progress, recipe = self.progress, self.recipe
        every = max(1, round(progress.updates_per_epoch / recipe.evaluations))
        epoch = progress.epoch
        while progress.epoch == epoch and progress.update < progress.updates:
            last = min(len(batches), progress.batch + recipe.accumulate)
            self._update([batches[at] for at in range(progress.batch, last)], report)
            progress.batch = last
            if last == len(batches):
                progress.epoch, progress.batch = epoch + 1, 0
            if progress.update % every == 0 or progress.update == progress.updates:
                self._evaluate(report)
                if recipe.patience and progress.worse >= recipe.patience:
                    return "no better for long enough"
            if self.processes.any(bool(caught)):
                return "interrupted"
        return None

    def _update(self, group: Sequence[Batch], report: Report) -> None:
        """One step of the optimizer over the tokens of all batches of the group, on all processes."""
        progress, recipe, start = self.progress, self.recipe, time.perf_counter()
        progress.update += 1
        torch.manual_seed((recipe.seed * 1_000_003 + progress.update) * 1_009 + self.processes.rank)
        tokens = sum(batch.tokens for batch in group)
        likelihood = torch.zeros((), device=self.device)
        for number, batch in enumerate(group):
            mine = self.processes.share(batch).to(self.device)
            with self._without_sync(number + 1 < len(group)):
                with autocast(self.device, getattr(torch, progress.dtype)):
                    loss, nll = self.loss(mine, recipe.label_smoothing)
                # DistributedDataParallel takes the mean over the processes; the loss is a mean over all tokens.
                (loss * (self.processes.count / tokens)).backward()
            likelihood += nll.detach().float()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip or math.inf)
        likelihood = self.processes.total(likelihood) / tokens
        if not math.isfinite(float(likelihood)) or not math.isfinite(float(norm)):
            self._diverged(report)
        set_rate(self.optimizers, rate(recipe, progress.update, progress.updates))
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model, progress.update)
        seconds = time.perf_counter() - start
        progress.seconds += seconds
        report.advance(progress.update, float(likelihood), tokens / seconds)
        if progress.update % LOG_EVERY == 0 or progress.update == 1:
            report.write(
                "train",
                progress.update,
                epoch=progress.epoch,
                nll=float(likelihood),
                gradient_norm=float(norm),
                rate=rate(recipe, progress.update, progress.updates),
                tokens_per_second=round(tokens / seconds, 1),
                seconds=round(progress.seconds, 3),
            )

    def _without_sync(self, more: bool) -> contextlib.AbstractContextManager[None]:
        """Gradients cross between processes only with the last batch of an update."""
        return self.loss.no_sync() if more and self.processes.count > 1 else contextlib.nullcontext()  # type: ignore[operator]

    def _diverged(self, report: Report) -> None:
        at = self.progress.update
        report.write("diverged", at)
        raise DivergedError(
            f"the loss is no longer finite at update {at}; the last good checkpoint is in "
            f"{self.out}. Train anew from it (--from {self.out}) with a lower learning_rate or a longer warmup"
        )

    # -- evaluation and files -----------------------------------------------------------------------------------------

    def _evaluate(self, report: Report, averaged: Weights | None = None) -> None:
        """Score the weights that would be used (averaged ones where there are), keep the best, save the state."""
        progress, start = self.progress, time.perf_counter()
        shadow = averaged or (self.average.average if self.average else None)
        figures = {"nll": math.nan}
        if self.processes.first:
            self.model.eval()
            with swapped(self.model, shadow):
                figures["nll"] = held_out_loss(self.model, self.held_out)
                if math.isfinite(figures["nll"]):
                    figures.update(self.measure(self.model) if self.measure else {})
                    if self._is_better(figures.get("score", -figures["nll"])):
                        progress.best_checkpoint = self._checkpoint("average" if averaged else "update", figures)
            self.model.train()
        if not math.isfinite(self.processes.from_first(figures["nll"])):
            self._diverged(report)  # before anything of this update is saved
        score = self.processes.from_first(figures.get("score", -figures["nll"]))
        shown = "  ".join(f"{name} {value:.4g}" for name, value in figures.items() if name != "score")
        report.say(f"update {progress.update}/{progress.updates}  held out: {shown}")
        elapsed = round(time.perf_counter() - start, 3)
        report.write("held_out", progress.update, **figures, seconds=round(progress.seconds, 3), took=elapsed)
        if self._is_better(score):
            progress.best, progress.worse = score, 0
        else:
            progress.worse += 1
        if averaged is None:
            self._save(keep=True)

    def _is_better(self, score: float) -> bool:
        return not math.isnan(score) and (self.progress.best is None or score > self.progress.best)

    def _checkpoint(self, kind: str, figures: Mapping[str, float]) -> str:
        """Save the model's present weights as a whole model folder; its name, relative to the run."""
        progress = self.progress
        name = f"{CHECKPOINTS}/{kind}-{progress.update:07d}"
        if (self.out / name).exists():  # the same update again, after a resume: the same weights
            return name
        training = {
            "recipe": self.recipe.to_dict(),
            "updates": progress.update,
            "hours": round(progress.seconds / 3600, 3),
            "dtype": progress.dtype,
            "held_out": dict(figures),
        }
        save_pretrained(self.out / name, self.model, self.package.files, {**self.package.card, "training": training})
        return name

    def _save(self, *, keep: bool = False) -> None:
        """The last weights, the resume state, then the pointer to both; only then do old checkpoints go.

        `keep` is for the checkpoints of evaluations. Where a run was interrupted must not change the average.
        """
        if not self.processes.first:
            return
        last, progress = self._checkpoint("last", {}), self.progress
        if keep and self.recipe.average_last > 1:
            progress.kept = [*(name for name in progress.kept if name != last), last][-self.recipe.average_last :]
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"optimizer.{name}": tensor for name, tensor in optimizer_tensors(self.optimizers).items()}
        if self.average is not None:
            tensors |= {f"average.{name}": tensor for name, tensor in self.average.average.items()}
        save_state(self.out, progress, self.recipe.to_dict(), tensors)
        pointer = {"best": progress.best_checkpoint or last, "last": last, "kept": progress.kept}
        write_file(self.out / RUN, (json.dumps(pointer, indent=2) + "\n").encode())
        wanted = {pointer["best"], last, *progress.kept}
        for folder in (self.out / CHECKPOINTS).iterdir():
            if f"{CHECKPOINTS}/{folder.name}" not in wanted:
                shutil.rmtree(folder, ignore_errors=True)

    def _average_last(self, report: Report) -> None:
        """The mean of the last checkpoints competes with the best one. Only the first process has names in `kept`."""
        many = [weights(load_pretrained(self.out / name).model) for name in self.progress.kept]
        averaged = {name: value.to(self.device) for name, value in mean(many).items()} if many else None
        self._evaluate(report, averaged)
        self._save()


@torch.no_grad()
def held_out_loss(model: Transformer, batches: Sequence[Batch]) -> float:
    """Negative log-likelihood in nats a token over all batches, in float32, without dropout or smoothing."""
    training = model.training
    model.eval()
    device = model.embedding.weight.device
    total, tokens = 0.0, 0
    for batch in batches:
        total += float(model.loss(batch.to(device))[1])
        tokens += batch.tokens
    model.train(training)
    if not tokens:
        raise UserError(NO_HELD_OUT)
    return total / tokens


@contextlib.contextmanager
def _signals() -> Iterator[list[str]]:
    """SIGINT and SIGTERM are noted instead of killing; a later one acts at once. Only possible in the main thread.

    One that comes within a second is the same one again: torchrun passes on what the terminal has already sent.
    """
    caught: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return

    first = 0.0

    def note(number: int, _frame: object) -> None:
        nonlocal first
        if caught and time.monotonic() - first > 1:
            for each, handler in before.items():
                signal.signal(each, handler)
            os.kill(os.getpid(), number)
        elif not caught:
            caught.append(signal.Signals(number).name)
            first = time.monotonic()

    before = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number in before:
        signal.signal(number, note)
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
