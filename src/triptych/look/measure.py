"""Measuring time and memory: contestants in turn in one process, the peak of a call, and the state of the machine."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch

from triptych.errors import UserError

MIN_REPEATS = 5  # rounds that count, at least
CALM = 0.5  # processors that others may keep busy before a report notes it
PAGE = 4 / 1024  # MB: the least that Linux counts
CAPS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")  # variables that hide a part of the processor from torch

Key = TypeVar("Key")
Watch = Callable[[range], Iterable[int]]


def interleaved(
    contestants: Mapping[Key, Callable[[], float]], repeats: int, watch: Watch = iter
) -> dict[Key, list[float]]:
    """Units of work a second of each contestant, `repeats` times, A B C A B C ...; a call returns the units it did.

    The machine's speed drifts over minutes, and contestants in turn share the drift. One round warms up. watch: passes
    the numbers of the rounds on, one a round: the place of a progress bar. Raises UserError for fewer than 5 repeats.
    """
    check_repeats(repeats)
    found: dict[Key, list[float]] = {name: [] for name in contestants}
    for round_number in watch(range(repeats + 1)):
        for name, run in contestants.items():
            start = time.perf_counter()
            units = run()
            if round_number:
                found[name].append(units / (time.perf_counter() - start))
    return found


def check_repeats(repeats: int) -> None:
    """Raise UserError for fewer rounds than a median needs."""
    if repeats < MIN_REPEATS:
        raise UserError(f"expected at least {MIN_REPEATS} repeats, got {repeats}; a median of fewer is unreliable")


def circumstances() -> dict[str, Any]:
    """Name this `machine` and whether others keep it `busy`. If so, standard error has a warning; nothing stops."""
    found = {"machine": machine(), "busy": busy()}
    if found["busy"]:
        print(
            f"warning: other processes keep this machine busy (load {_load():.2f}); "
            "what is measured now comes out slower, and ratios uncertain",
            file=sys.stderr,
        )
    return found


def machine() -> dict[str, object]:
    """Name the processor, the threads, the load and what torch may use, so that a figure can be read years later."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": round(_load(), 2),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        **{name: os.environ.get(name) for name in CAPS},
    }


def busy() -> bool:
    """True if other processes used more than half a processor in the last minute; False where the system gives no load.

    A second of our own processor time adds at most a sixtieth to the one-minute average. Ask before measuring.
    """
    return _load() - time.process_time() / 60 > CALM


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _processor() -> str | None:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), None)


def can_weigh() -> bool:
    """True if the system gives the peak memory of a process: Linux does."""
    return Path("/proc/self/status").is_file()


def extra_memory(prepare: Callable[[int], Callable[[], object]], size: int) -> float:
    """Peak of one call in MB above what a fresh process holds before it, inputs and libraries included in the latter.

    `prepare(size)` makes the inputs and returns the call. It goes to another process by name, so it is a function of a
    module, or a `functools.partial` of one. Raises UserError elsewhere than on Linux, and where memory runs out.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_extra_memory, prepare, size, torch.get_num_threads()).result()
        except BrokenProcessPool:
            raise UserError(
                f"expected memory for length {size:,}, got a process that the system ended; choose a smaller length"
            ) from None


def _extra_memory(prepare: Callable[[int], Callable[[], object]], size: int, threads: int) -> float:
    torch.set_num_threads(threads)
    prepare(min(size, 64))()  # what the libraries set up once
    run = prepare(size)
    gc.collect()
    before = megabytes_of("/proc/self/status", "VmRSS")
    run()
    return max(megabytes_of("/proc/self/status", "VmHWM") - before, PAGE)


def megabytes_of(file: str, field: str) -> float:
    """A figure that Linux gives in kB: of this process VmRSS, held now, and VmHWM, the most so far."""
    path = Path(file)
    for line in path.read_text("ascii").splitlines() if path.exists() else ():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise UserError(f"expected {field} in {file}, got none; measure memory on Linux")
