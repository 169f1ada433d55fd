"""What every measurement does: contestants in turn in one process, medians, and a word about the machine.

A report is plain data: `circumstances`, then a list of `table`s; `lines` says it to a person.
"""

from __future__ import annotations

import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import torch

from triptych.errors import UserError

LEAST, REPEATS = 5, 7  # rounds that count
CALM = 0.5  # processors that others may keep busy before a report says so
PRODUCT = 1024  # rows and columns of the matrices whose product tells the machine's rate
PAGE = 4 / 1024  # MB: the least that Linux counts
CAPS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA")  # variables that hide a part of the processor from torch

Key = TypeVar("Key")
Name = tuple[str, str]  # of a row: the contestant and its dtype
Table = dict[str, Any]
Watch = Callable[[str, range], Iterable[int]]


def unwatched(_title: str, rounds: range) -> Iterable[int]:
    """Pass the rounds on without a progress bar."""
    return rounds


@dataclass(frozen=True)
class Settings:
    """What all tables of a report have in common.

    dtypes: names of number formats. repeats: rounds that count, at least 5. peers: the packages that may take part.
    watch: takes a title and the numbers of the rounds and passes these on, one a round: the place of a progress bar.
    """

    dtypes: tuple[str, ...] = ("float32", "bfloat16")
    repeats: int = REPEATS
    peers: tuple[str, ...] = ()
    watch: Watch = unwatched

    def __post_init__(self) -> None:
        _check_repeats(self.repeats)


def interleaved(
    contestants: Mapping[Key, Callable[[], float]],
    repeats: int = REPEATS,
    *,
    title: str = "",
    watch: Watch = unwatched,
) -> dict[Key, list[float]]:
    """Units of work a second of each contestant, `repeats` times, A B C A B C ...; a call returns the units it did.

    The machine's speed drifts over minutes; taken in turn, the contestants meet the same weather. One round warms up.
    Raises UserError for fewer repeats than a median needs.
    """
    _check_repeats(repeats)
    found: dict[Key, list[float]] = {name: [] for name in contestants}
    for round_number in watch(title, range(repeats + 1)):
        for name, run in contestants.items():
            start = time.perf_counter()
            units = run()
            if round_number:
                found[name].append(units / (time.perf_counter() - start))
    return found


def _check_repeats(repeats: int) -> None:
    if repeats < LEAST:
        raise UserError(f"expected at least {LEAST} repeats, got {repeats}; a median of fewer says little")


def table(
    title: str,
    unit: str,
    rates: Mapping[Name, Sequence[float]],
    reference: str,
    more: Mapping[Name, Mapping[str, object]] | None = None,
) -> Table:
    """Compare medians: plain values of one table, a row a contestant and dtype.

    rates: units a second; for the unit "ms", calls a second, which become milliseconds a call. ratio: times as fast as
    (for other units than speeds: times as large as) the contestant `reference` in the same dtype; to_float32: the same
    beside the reference's float32, where both were measured. more: what else a row shall say.
    """
    medians = {name: statistics.median(values) for name, values in rates.items()}
    rows = []
    for name, values in rates.items():
        told = [medians[name], min(values), max(values)]
        if unit == "ms":
            told = [1000 / told[0], 1000 / told[2], 1000 / told[1]]
        figures = dict(zip(("median", "min", "max"), told, strict=True))
        ratio = medians[name] / medians[reference, name[1]]
        row = {"name": name[0], "dtype": name[1], **figures, "ratio": ratio}
        if len({dtype for _, dtype in rates}) > 1 and (reference, "float32") in medians:
            row["to_float32"] = medians[name] / medians[reference, "float32"]
        rows.append({**row, **(more or {}).get(name, {})})
    return {"title": title, "unit": unit, "reference": reference, "rows": rows}


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """Tell a report (`machine`, `busy`, `tables`) to a person."""
    yield ", ".join(f"{key} {value}" for key, value in report["machine"].items() if value is not None)
    if report["busy"]:
        yield "busy: the machine had other work to do; the ratios suffer less than the figures"
    for each in report["tables"]:
        rows = each["rows"]
        known = ("name", "dtype", "median", "min", "max", "ratio")
        more = list(dict.fromkeys(key for row in rows for key in row if key not in known))
        yield f"\n{each['title']}"
        yield from (f"left out: {told}" for told in each.get("left_out", ()))
        head = f"{'':34} {'':9} {each['unit']:>12} {'range':>21} {'ratio':>7}"
        yield head + "".join(f" {key:>12}" for key in more)
        for row in rows:
            span = f"{_figure(row['min'])} - {_figure(row['max'])}"
            told = f"{row['name']:34} {row['dtype']:9} {_figure(row['median']):>12} {span:>21} {row['ratio']:7.3g}"
            yield (told + "".join(f" {_figure(row.get(key, '')):>12}" for key in more)).rstrip()


def _figure(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def circumstances() -> dict[str, Any]:
    """Say which `machine` this is and whether it is `busy`, which is also told on standard error; it stops nothing."""
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
    """Whether others used more than half a processor in the last minute; False where the system does not tell.

    A second of our own processor time adds at most a sixtieth to the one-minute average. Ask before measuring.
    """
    return _load() - time.process_time() / 60 > CALM


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _processor() -> str | None:
    try:
        told = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in told if line.startswith("model name")), None)


def product_rates(settings: Settings, size: int = PRODUCT) -> tuple[Table, dict[str, float]]:
    """Measure the product of two square matrices: its table, and floating point operations a second by dtype."""
    title = f"square matrix product of {size:,} rows"
    flops = 2.0 * size**3
    pairs = {dtype: torch.randn(2, size, size).to(getattr(torch, dtype)) for dtype in settings.dtypes}

    def multiply(pair: torch.Tensor) -> float:
        torch.mm(*pair)
        return flops / 1e9

    contestants = {("torch", dtype): partial(multiply, pair) for dtype, pair in pairs.items()}
    rates = interleaved(contestants, settings.repeats, title=title, watch=settings.watch)
    found = {dtype: 1e9 * statistics.median(values) for (_, dtype), values in rates.items()}
    return table(title, "GFLOP/s", rates, "torch"), found


def can_weigh() -> bool:
    """Whether this system tells how much memory a process held at most: Linux does."""
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
    before = _megabytes("/proc/self/status", "VmRSS")
    run()
    return max(_megabytes("/proc/self/status", "VmHWM") - before, PAGE)


def quadratic(measure: Callable[[int], float], size: int, limit: float | None = None) -> tuple[float, bool]:
    """`measure(size)` in MB and False; or, where it would not fit, what its quarter and half foretell and True.

    For what grows with the square of the size: a parabola through 0 and the two largest sizes that fit into `limit`
    MB (None: what the machine has free).
    """
    most = _megabytes("/proc/meminfo", "MemAvailable") if limit is None else limit
    found: list[float] = []
    for part in (4, 2, 1):
        if found and 4.4 * found[-1] > most:  # four times, and a tenth for what else there is
            return (6 * found[1] - 8 * found[0] if len(found) == 2 else 16 * found[0]), True
        found.append(measure(size // part))
    return found[-1], False


def _megabytes(file: str, field: str) -> float:
    """A figure that Linux tells in kB: of this process VmRSS, held now, and VmHWM, the most so far."""
    path = Path(file)
    for line in path.read_text("ascii").splitlines() if path.exists() else ():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise UserError(
        f"expected {field} in {file}, got none; measure memory on Linux, or leave it out (--memory-length 0)"
    )
