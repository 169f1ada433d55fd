"""Optimizers and the learning rate's schedule."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from triptych.model.transformer import Transformer
from triptych.train.muon import Muon
from triptych.train.precision import fastest
from triptych.train.recipe import Recipe


def optimizers(model: Transformer, recipe: Recipe, dtype: torch.dtype = torch.float32) -> list[torch.optim.Optimizer]:
    """One optimizer, or two for Muon: matrices inside the layers, and all else. Embeddings and vectors never decay.

    dtype: in which Muon orthogonalizes.
    """
    matrices, vectors = [], []
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if parameter.ndim == 2 and not isinstance(module, nn.Embedding):
                matrices.append(parameter)
            else:
                vectors.append(parameter)
    decay, rest = recipe.weight_decay, {"params": vectors, "weight_decay": 0.0}
    if recipe.optimizer == "muon":
        muon = Muon(matrices, learning_rate=recipe.matrix_learning_rate, weight_decay=decay, dtype=dtype)
        return [muon, _adam(recipe, [rest])]
    return [_adam(recipe, [{"params": matrices, "weight_decay": decay}, rest])]


def _adam(recipe: Recipe, groups: Iterable[dict[str, object]]) -> torch.optim.Optimizer:
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr=recipe.learning_rate, betas=(recipe.beta_1, recipe.beta_2), eps=recipe.epsilon, fused=True)


def measure_optimizers(model: Transformer, recipe: Recipe, dtype: torch.dtype) -> float:
    """Seconds that the optimizers take for one update: see `fastest`; of a copy."""
    copied = copy.deepcopy(model)
    for parameter in copied.parameters():
        parameter.grad = torch.zeros_like(parameter)
    stack = optimizers(copied, recipe, dtype)

    def step() -> None:
        for optimizer in stack:
            optimizer.step()

    return fastest(step, model.device)


def lr_scale(recipe: Recipe, update: int, updates: int) -> float:
    """The factor on the learning rates at update 1, 2, ... of `updates`; 1 at the end of the warm-up."""
    warm = min(1.0, update / max(1, recipe.warmup))
    if recipe.schedule == "inverse_square_root":
        return min(warm, math.sqrt(max(1, recipe.warmup) / update))
    if recipe.schedule == "cosine":
        done = max(0.0, (update - recipe.warmup) / max(1, updates - recipe.warmup))
        return warm * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return warm


def set_lr_scale(stack: list[torch.optim.Optimizer], factor: float) -> None:
    """Give every group its own learning rate times `factor`."""
    for optimizer in stack:
        for group in optimizer.param_groups:
            group["lr"] = group.setdefault("peak_lr", group["lr"]) * factor


def optimizer_tensors(model: nn.Module, stack: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """The optimizers' state as tensors named after the optimizer, what it keeps, and the parameter."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{type(optimizer).__name__}.{key}.{names[parameter]}": value
        if isinstance(value, Tensor)
        else torch.tensor(value)
        for optimizer in stack
        for parameter, state in optimizer.state.items()
        for key, value in state.items()
    }


def restore_optimizers(model: nn.Module, stack: Sequence[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    """The inverse of `optimizer_tensors`. Raises KeyError for a parameter that is not this model's, ValueError for
    another optimizer.
    """
    parameters = dict(model.named_parameters())
    left = dict(tensors)
    for optimizer in stack:
        whole = optimizer.state_dict()
        owned = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        places = {parameter: place for place, parameter in enumerate(owned)}
        state: dict[int, dict[str, Tensor]] = {}
        for name in [name for name in left if name.startswith(f"{type(optimizer).__name__}.")]:
            _, key, parameter_name = name.split(".", 2)
            parameter, value = parameters[parameter_name], left.pop(name)
            if value.ndim and value.shape != parameter.shape:
                raise ValueError(f"{name} is {list(value.shape)}, its parameter {list(parameter.shape)}")
            state.setdefault(places[parameter], {})[key] = value
        optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
    if left:
        raise ValueError(f"{next(iter(left))} is of another optimizer")
