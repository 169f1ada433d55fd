"""Tables of measurements: plain data, a row a contestant and dtype, and their lines of text."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from triptych.look.measure import Key, check_repeats, interleaved, megabytes_of

REPEATS = 7  # rounds that count
PRODUCT = 1024  # rows and columns of the matrices whose product gives the machine's rate

Name = tuple[str, str]  # of a row: the contestant and its dtype
Contestants = dict[Name, Callable[[], float]]
More = dict[Name, dict[str, object]]
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
        check_repeats(self.repeats)

    def rates(self, title: str, contestants: Mapping[Key, Callable[[], float]]) -> dict[Key, list[float]]:
        """Units of work a second of each contestant, in turn."""
        return interleaved(contestants, self.repeats, partial(self.watch, title))


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
    beside the reference's float32, where both were measured. more: further columns.
    """
    medians = {name: statistics.median(values) for name, values in rates.items()}
    rows = []
    for name, values in rates.items():
        span = [medians[name], min(values), max(values)]
        if unit == "ms":
            span = [1000 / span[0], 1000 / span[2], 1000 / span[1]]
        figures = dict(zip(("median", "min", "max"), span, strict=True))
        row = {"name": name[0], "dtype": name[1], **figures, "ratio": medians[name] / medians[reference, name[1]]}
        if len({dtype for _, dtype in rates}) > 1 and (reference, "float32") in medians:
            row["to_float32"] = medians[name] / medians[reference, "float32"]
        rows.append({**row, **(more or {}).get(name, {})})
    return {"title": title, "unit": unit, "reference": reference, "rows": rows}


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a report (`machine`, `busy`, `tables`) for a person."""
    yield ", ".join(f"{key} {value}" for key, value in report["machine"].items() if value is not None)
    if report["busy"]:
        yield "busy: the machine had other work to do; the ratios suffer less than the figures"
    for each in report["tables"]:
        rows = each["rows"]
        known = ("name", "dtype", "median", "min", "max", "ratio")
        more = list(dict.fromkeys(key for row in rows for key in row if key not in known))
        yield f"\n{each['title']}"
        yield from (f"left out: {who}" for who in each.get("left_out", ()))
        head = f"{'':34} {'':9} {each['unit']:>12} {'range':>21} {'ratio':>7}"
        yield head + "".join(f" {key:>12}" for key in more)
        for row in rows:
            span = f"{_figure(row['min'])} - {_figure(row['max'])}"
            line = f"{row['name']:34} {row['dtype']:9} {_figure(row['median']):>12} {span:>21} {row['ratio']:7.3g}"
            yield (line + "".join(f" {_figure(row.get(key, '')):>12}" for key in more)).rstrip()
        for dtype, slopes in each.get("slopes", {}).items():
            yield f"slope, {dtype}: " + ", ".join(f"{what} {value:.3f}" for what, value in slopes.items())


def _figure(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def product_rates(settings: Settings, size: int = PRODUCT) -> tuple[Table, dict[str, float]]:
    """Measure the product of two square matrices: its table, and floating point operations a second by dtype."""
    title = f"square matrix product of {size:,} rows"
    flops = 2.0 * size**3
    pairs = {dtype: torch.randn(2, size, size).to(getattr(torch, dtype)) for dtype in settings.dtypes}

    def multiply(pair: torch.Tensor) -> float:
        torch.mm(*pair)
        return flops / 1e9

    rates = settings.rates(title, {("torch", dtype): partial(multiply, pair) for dtype, pair in pairs.items()})
    found = {dtype: 1e9 * statistics.median(values) for (_, dtype), values in rates.items()}
    return table(title, "GFLOP/s", rates, "torch"), found


def quadratic(measure: Callable[[int], float], size: int, limit: float | None = None) -> tuple[float, bool]:
    """`measure(size)` in MB and False; where that would not fit, an extrapolation from a quarter and a half, and True.

    For what grows with the square of the size: a parabola through 0 and the two largest sizes that fit into `limit`
    MB (None: what the machine has free).
    """
    most = megabytes_of("/proc/meminfo", "MemAvailable") if limit is None else limit
    found: list[float] = []
    for part in (4, 2, 1):
        if found and 4.4 * found[-1] > most:  # four times, and a tenth for what else there is
            return (6 * found[1] - 8 * found[0] if len(found) == 2 else 16 * found[0]), True
        found.append(measure(size // part))
    return found[-1], False
