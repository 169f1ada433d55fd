"""The plan of a Transformer, to generate beside it; and the least time that reading it takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from triptych.decode.decoder import Decoder
from triptych.decode.interpreter import PlanDecoder, limit_threads
from triptych.decode.kernel import KernelDecoder, decoder_of
from triptych.decode.plan import plan_of
from triptych.generation.sample import generate
from triptych.model.transformer import Transformer
from triptych.model.weights import arrays_of
from triptych.shape.config import Config
from triptych.shape.parts import Mixture, Tied
from triptych.shape.pattern import visible

LEAST = 8 * 2**20  # bytes a thread that are read to measure the bandwidth: more than a second-level cache
READS = 30

Stored = Mapping[str, NDArray[Any]]


def cached(decoder: Decoder, rows: int, steps: int, length: int | None = None) -> Callable[[], float]:
    """A call that draws so many tokens for each row, from the whole distribution, and returns how many.

    length: of what they begin, where that is longer.
    """

    def run() -> float:
        found = list(generate(decoder, decoder.start(length=length or steps, rows=rows), steps=steps))
        return float(rows * len(found))

    return run


def planned(model: Transformer) -> PlanDecoder:
    """What a model folder of these weights generates with where there is no kernel."""
    limit_threads(1)
    return PlanDecoder(plan_of(model.config, arrays_of(model)))


def compiled(model: Transformer, dtype: str = "float32") -> KernelDecoder | None:
    """What a model folder of these weights, stored in that dtype, generates with; None where there is no kernel."""
    stored = arrays_of(model, dtype)
    found = decoder_of(plan_of(model.config, stored), stored, torch.get_num_threads())
    return found if isinstance(found, KernelDecoder) else None


def engines(model: Transformer, dtype: str = "float32") -> dict[str, PlanDecoder]:
    """Both by name, the kernel where there is one, with weights in that dtype."""
    kernel = compiled(model, dtype)
    return {**({} if kernel is None else {"kernel": kernel}), "numpy": planned(model)}


def bytes_read(config: Config, stored: Stored, *, rows: int, steps: int, sources: int = 0, length: int = 0) -> int:
    """Bytes of weights, keys and values that a generation must read: every weight once a step for all rows.

    rows: side by side, each with keys and values of its own in float32. steps: tokens of each. sources, length:
    encoded sentences and their positions.
    """
    positions = -(-steps // config.input.size)
    whole = sum(array.nbytes for name, array in stored.items() if _decodes(name))
    head = sum(array.nbytes for name, array in stored.items() if name.startswith("head.") and not _looks_up(name))
    if isinstance(config.head, Tied):
        head += stored["input.embedding.weight"].nbytes
    keys = rows * sum(len(visible(config.pattern, position)) for position in range(positions))
    keys += positions * sources * length
    remembered = 2 * 4 * config.decoder_layers * config.width * keys
    return positions * whole + (positions if isinstance(config.head, Mixture) else steps) * head + remembered


def _decodes(name: str) -> bool:
    """True for weights of the decoder that every position reads; the source's keys and values are made once."""
    return name.startswith("decoder") and ".cross.key_value." not in name


def _looks_up(name: str) -> bool:
    """True for tables of which a step reads a row for each token."""
    return any(part in name for part in (".tokens.", ".repeats.", ".places."))


def weight_bytes(stored: Stored) -> int:
    """Bytes of all weights."""
    return sum(array.nbytes for array in stored.values())


@cache
def bandwidth(size: int, threads: int) -> float:
    """Bytes a second that so many threads read of an array of `size` bytes, by dot products; the best of several.

    The array has at least 8 MiB a thread: one that fits into a second-level cache would tell another story.
    """
    each = max(size // threads, LEAST) // 4
    parts = [np.ones(each, np.float32) for _ in range(threads)]

    def read(part: NDArray[np.float32]) -> float:
        best = np.inf
        for _ in range(READS):
            start = time.perf_counter()
            np.dot(part, part)
            best = min(best, time.perf_counter() - start)
        return part.nbytes / best

    with limit_threads(1), ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(read, parts))


def seconds_at_least(model: Transformer, dtype: str = "float32", **shape: int) -> float:
    """Seconds in which this machine can read what a generation reads; `shape` as in `bytes_read`."""
    stored = arrays_of(model, dtype)
    return bytes_read(model.config, stored, **shape) / bandwidth(weight_bytes(stored), torch.get_num_threads())
