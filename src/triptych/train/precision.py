"""The faster number format for training: measured once at the start, because it differs from machine to machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from triptych.model.batch import Batch
from triptych.model.transformer import Transformer

REPEATS = 3
SLOWER = 4.0  # times: a product in bfloat16 that costs more settles it


def autocast(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[object]:
    """Matrix products, and on a CPU what flows between them, in `dtype`; weights, sums of their gradients, and what
    norms and softmax compute inside stay float32. With float32 nothing changes.
    """
    return torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32)


def fastest(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of some work on a device: the fastest of three times after one to warm up."""
    times = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])


def measure_step(model: Transformer, batch: Batch, dtype: torch.dtype, label_smoothing: float) -> float:
    """Seconds of one forward and backward pass: the fastest of three after one to warm up.

    The random state and the gradients are as before afterwards, so a measurement leaves no trace in the training.
    """
    state, mode = torch.get_rng_state(), model.training
    model.train()

    def step() -> None:
        model.zero_grad(set_to_none=True)
        with autocast(batch.target.device, dtype):
            loss, _ = model.loss(batch, label_smoothing)
        loss.backward()

    seconds = fastest(step, batch.target.device)
    model.zero_grad(set_to_none=True)
    torch.set_rng_state(state)
    model.train(mode)
    return seconds


def measure_product(device: torch.device, dtype: torch.dtype) -> float:
    """Seconds of one product of two matrices of 256 x 256: the fastest of three after one to warm up."""
    left = torch.ones(256, 256, device=device, dtype=dtype)
    return fastest(lambda: left @ left, device)


def cost_of_bfloat16(device: torch.device) -> float:
    """How many times as long as in float32 a product in bfloat16 takes: about fifty on a CPU that has no instructions
    for it.
    """
    return measure_product(device, torch.bfloat16) / measure_product(device, torch.float32)


def fast_dtype(cost: float) -> torch.dtype:
    """The dtype of the faster product, by the cost of one in bfloat16."""
    return torch.bfloat16 if cost <= 1 else torch.float32


def choose_dtype(
    model: Transformer, batch: Batch, label_smoothing: float, cost: float
) -> tuple[torch.dtype, dict[str, float]]:
    """The faster of float32 and bfloat16 on this batch, and the seconds a step of each that was measured.

    cost: that of a product, `cost_of_bfloat16`. Where it is too high, only float32 is measured, for a step could take
    minutes.
    """
    worthy = [torch.float32, *([torch.bfloat16] if cost <= SLOWER else [])]
    seconds = {dtype: measure_step(model, batch, dtype, label_smoothing) for dtype in worthy}
    return min(worthy, key=seconds.__getitem__), {str(dtype)[6:]: value for dtype, value in seconds.items()}
