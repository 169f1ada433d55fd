"""One update: the forward and backward passes of a group of batches, and a step of the optimizers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from triptych.generation.seeds import derive
from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.train.optimizer import set_lr_scale
from triptych.train.precision import autocast
from triptych.train.processes import Processes
from triptych.train.recipe import Recipe


def update(
    model: Transformer,
    group: Sequence[Batch],
    optimizers: list[torch.optim.Optimizer],
    recipe: Recipe,
    processes: Processes,
    *,
    number: int,
    dtype: torch.dtype,
    scale: float,
) -> tuple[float, float]:
    """Train on all tokens of a group, on all processes: the negative log-likelihood in nats a token, and the norm of
    the gradient before it is clipped. Where one of them is not finite, the weights stay as they are.

    number: of the update; torch's random numbers are those of (seed, number, process). scale: of the learning rates.
    """
    torch.manual_seed(derive(recipe.seed, number, processes.rank))
    tokens, total = sum(batch.tokens for batch in group), torch.zeros((), device=model.device)
    for batch in group:
        mine = processes.shard(batch).to(model.device)
        with autocast(model.device, dtype):
            loss, nll = model.loss(mine, recipe.label_smoothing or 0.0)
        (loss * (1 / tokens)).backward()
        total += nll.detach().float()
    processes.all_reduce_gradients(model)
    norm = float(nn.utils.clip_grad_norm_(model.parameters(), recipe.clip or math.inf))
    likelihood = float(processes.all_reduce(total) / tokens)
    if math.isfinite(likelihood) and math.isfinite(norm):
        set_lr_scale(optimizers, scale)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    return likelihood, norm
