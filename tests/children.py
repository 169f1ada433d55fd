"""What tests of the kernel run in child processes, which import it by its name."""

from __future__ import annotations

from typing import Any

import numpy as np

from triptych.decode.interpreter import PlanDecoder
from triptych.decode.kernel import KernelDecoder, decoder_of
from triptych.decode.plan import plan_of
from triptych.generation.sample import generate
from triptych.shape.store import read_model


def decoders(name: str, threads: int = 1) -> tuple[KernelDecoder, PlanDecoder]:
    """A shipped model in C and in numpy."""
    stored = read_model(name)
    plan = plan_of(stored.config, stored.weights)
    found = decoder_of(plan, stored.weights, threads)
    assert isinstance(found, KernelDecoder)
    return found, PlanDecoder(plan)


def compose(answer: Any) -> None:
    kernel, _ = decoders("chorales", threads=2)
    answer.put([int(column[0]) for column in generate(kernel, kernel.start(length=16, rows=1), steps=16, seed=1)])


def with_changing_threads(answer: Any) -> None:
    kernels = [decoders("chorales", threads)[0] for threads in (1, 2, 5, 3, 4)]
    same = True
    for _ in range(4):
        caches = [kernel.start(length=60, rows=3) for kernel in kernels]
        ids = None
        for step in range(60):
            alone, *found = (kernel.step(ids, cache) for kernel, cache in zip(kernels, caches, strict=True))
            same &= all((each == alone).all() for each in found)
            ids = np.random.default_rng(step).integers(0, 48, 3)
    answer.put(same)
