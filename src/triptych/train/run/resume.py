"""A resumed run: the settings that must be the same, and the tensors of its state."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from triptych.errors import UserError
from triptych.model.transformer import Transformer
from triptych.shape.store import read_model
from triptych.train.averaging import MovingAverage
from triptych.train.optimizer import optimizer_tensors, restore_optimizers
from triptych.train.run.package import OF_CHECKPOINT, Package
from triptych.train.run.state import ADVICE, Progress, check_kept


def check_same(folder: Path, progress: Progress, model: Transformer, package: Package, per_epoch: int) -> None:
    """Raise UserError unless the run keeps its model, its vocabulary, its card and the number of its batches: else it
    would not equal one that was never interrupted.
    """
    assert progress.last_checkpoint is not None, "a state names its checkpoint"
    stored = read_model(folder / progress.last_checkpoint)
    saved, ours = stored.config.to_dict(), model.config.to_dict()
    for key in ours:
        check_kept("model", key, saved[key], ours[key])
    if stored.files != dict(package.files):
        raise UserError(f"a resumed run keeps its vocabulary, and these data give another; {ADVICE}")
    for key, value in json.loads(json.dumps(dict(package.card), default=str)).items():
        if key not in OF_CHECKPOINT:
            check_kept("data and card", key, stored.card.get(key), value)
    if progress.updates_per_epoch != per_epoch:
        raise UserError(
            f"a resumed run keeps its data: an epoch had {progress.updates_per_epoch} updates, these give {per_epoch}; "
            f"{ADVICE}"
        )


def tensors_of_run(
    model: Transformer, optimizers: list[torch.optim.Optimizer], average: MovingAverage | None
) -> dict[str, Tensor]:
    """All tensors that a run needs to continue, each named after its part: model, optimizer or average."""
    parts = {"model": model.state_dict(), "optimizer": optimizer_tensors(model, optimizers)}
    if average is not None:
        parts["average"] = average.average
    return {f"{part}.{name}": tensor for part, tensors in parts.items() for name, tensor in tensors.items()}


def restore(
    folder: Path,
    tensors: dict[str, Tensor],
    model: Transformer,
    optimizers: list[torch.optim.Optimizer],
    average: MovingAverage | None,
) -> None:
    """The inverse of `tensors_of_run`. Raises UserError for tensors of another model or optimizer."""
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
    try:
        for name, tensor in tensors.items():
            part, rest = name.split(".", 1)
            parts[part][rest] = tensor.to(model.device) if part != "optimizer" else tensor
        model.load_state_dict(parts["model"])
        restore_optimizers(model, optimizers, parts["optimizer"])
    except (KeyError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"the resume state in {folder} does not fit this model: {reason}; {ADVICE}") from None
    if average is not None:
        average.average = parts["average"]
