"""The complexity table of Vaswani et al. 2017 (section 4, table 1), measured: numbers, then one picture.

See `triptych.look.layers` for what is in a layer, and why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from triptych.errors import UserError
from triptych.look.layers import HEAD, KERNEL, REACH, TABLE, Kind, Weighed, backend, median_seconds, megabytes
from triptych.look.measure import can_weigh, check_repeats, circumstances

SHORTEST = 256  # positions, of the times against length
MIN_LONGEST = 2_048
MAX_WIDTH = 4_096
LAST = 3  # points at the long end, through which a slope is fitted
MAX_LOGITS = 2**26  # of all heads together; the definition holds about five tensors of so many, 1.3 GB
ENOUGH = 1.5  # how much slower attention must be than the LSTM before the search for the crossing stops

# Multiplications of an LSTM (four gates, two d x d matrices each: 8 n d^2) over those of attention (two products:
# 2 n^2 d) are 4 d / n. The table leaves such constants out, which puts its crossing at n = d instead.
COUNTED = 4

Clock = Callable[[Sequence[Kind], int, int, int], Mapping[Kind, float]]
Scale = Callable[[Weighed, int, int], float]


@dataclass(frozen=True)
class Plan:
    """The measurements to make: times against length at one width, against width at one length, and the crossing of
    attention and LSTM.

    width: d, a power of two from 16 to 4,096. longest: the longest n, a power of two of at least 2,048 and 8 d, so that
    the table's term rules at the long end; full attention goes to the half of it. repeats: runs of which the median is
    taken, at least 5. Anything else raises UserError.
    """

    width: int = 256
    longest: int = 16_384
    repeats: int = 5

    def __post_init__(self) -> None:
        if not (_is_power_of_two(self.width) and 16 <= self.width <= MAX_WIDTH):
            raise UserError(f"expected a width that is a power of two from 16 to {MAX_WIDTH:,}, got {self.width:,}")
        least = max(MIN_LONGEST, 8 * self.width)
        if not (_is_power_of_two(self.longest) and self.longest >= least):
            raise UserError(
                f"expected a longest length that is a power of two of at least {least:,} at width {self.width:,}, "
                f"got {self.longest:,}"
            )
        check_repeats(self.repeats)

    @property
    def lengths(self) -> list[int]:
        """Lengths for the times, doubling; full attention goes to the half of the last."""
        return _doubling(SHORTEST, self.longest)

    def weighed_lengths(self, kind: Weighed) -> list[int]:
        """Lengths for the memory of a layer, the last few, every second one: each costs the start of a process.

        The definition of attention stops where its n^2 logits of every head become too many.
        """
        longest = self.longest if kind not in ("full", "dense") else self.longest_full
        if kind == "dense":
            heads = max(1, self.width // HEAD)
            longest = min(longest, 1 << (math.isqrt(MAX_LOGITS // heads).bit_length() - 1))
        lengths = [n for n in self.lengths if n <= longest]
        return lengths[::-2][:LAST][::-1]

    @property
    def longest_full(self) -> int:
        """Longest length for full attention."""
        return self.longest // 2

    @property
    def widths(self) -> list[int]:
        """Widths for the times against width, doubling, the plan's own in the middle."""
        return _doubling(self.width // 4, self.width * 4)

    @property
    def fixed_length(self) -> int:
        """Length for the times against width."""
        return 2 * self.width

    @property
    def duel_lengths(self) -> list[int]:
        """Lengths, from d / 2, at which full attention and LSTM are compared until the crossing is past."""
        powers = _doubling(self.width // 2, self.longest_full)
        return sorted(n for n in {*powers, *(n * 3 // 2 for n in powers[1:])} if n <= self.longest_full)

    @property
    def steps(self) -> int:
        """Number of steps that `measure` reports."""
        return len(self.lengths) + len(self.widths) + 1 + (len(TABLE) + 1 if can_weigh() else 0)


@dataclass(frozen=True)
class Curve:
    """Measurements along one axis: `values[i]` at `sizes[i]`, ascending."""

    sizes: tuple[int, ...]
    values: tuple[float, ...]

    @cached_property
    def _line(self) -> tuple[float, float]:
        """Slope and height at 0 of the least-squares line through the last points of log value against log size."""
        points = [(math.log(x), math.log(y)) for x, y in zip(self.sizes[-LAST:], self.values[-LAST:], strict=True)]
        across, up = (sum(column) / len(points) for column in zip(*points, strict=True))
        slope = sum((x - across) * (y - up) for x, y in points) / sum((x - across) ** 2 for x, _ in points)
        return slope, up - slope * across

    @property
    def exponent(self) -> float:
        """The p of value ~ size^p at the long end."""
        return self._line[0]

    def fitted(self, size: int) -> float:
        """Value at `size` on the line of which `exponent` is the slope."""
        slope, height = self._line
        return math.exp(height + slope * math.log(size))


@dataclass(frozen=True)
class Complexity:
    """All that was measured; times in seconds, memory in MB above what was held before the call.

    `duel` are the times around the crossing. `by_memory` is empty where the system gives no peak memory of a process.
    """

    plan: Plan
    by_length: dict[Kind, Curve]
    by_width: dict[Kind, Curve]
    by_memory: dict[Weighed, Curve]
    duel: dict[Kind, Curve]
    backends: dict[Kind, str]
    machine: dict[str, object]
    busy: bool

    @property
    def crossing(self) -> float | None:
        """Length from which on full attention takes longer than the LSTM; None if it was not reached."""
        return crossing(self.duel["full"], self.duel["lstm"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: every curve with its exponent, and the exponent of the table."""
        plan = self.plan
        return {
            "layer": {"width": plan.width, "head": min(HEAD, plan.width), "reach": REACH, "kernel": KERNEL, "batch": 1},
            "dtype": "float32",
            "repeats": plan.repeats,
            "machine": self.machine,
            "busy": self.busy,
            "backends": self.backends,
            "table": {
                kind: {"layer": r.name, "complexity": r.complexity, "sequential": r.sequential, "path": r.path}
                for kind, r in TABLE.items()
            },
            "seconds_by_length": {
                kind: _plain(curve, "length", "seconds", TABLE[kind].by_length)
                for kind, curve in self.by_length.items()
            },
            "seconds_by_width": {
                kind: _plain(curve, "width", "seconds", TABLE[kind].by_width) for kind, curve in self.by_width.items()
            },
            "length_of_widths": plan.fixed_length,
            "megabytes_by_length": {
                kind: _plain(curve, "length", "megabytes") for kind, curve in self.by_memory.items()
            },
            "crossing": {
                "measured": self.crossing,
                "table": plan.width,
                "multiplications": COUNTED * plan.width,
                **{
                    kind: {"length": list(curve.sizes), "seconds": list(curve.values)}
                    for kind, curve in self.duel.items()
                },
            },
        }


def measure(
    plan: Plan,
    *,
    clock: Clock = median_seconds,
    scale: Scale = megabytes,
    report: Callable[[str], None] = lambda step: None,
) -> Complexity:
    """Measure all that the plan names; `report` is called with the name of each step before it begins.

    clock: (kinds, length, width, repeats) to the seconds of a call of each. scale: (kind, length, width) to its MB.
    About two minutes by default on two cores, and less than 2 GB.
    """
    around = circumstances()
    by_length: dict[Kind, dict[int, float]] = {}
    for length in plan.lengths:
        report(f"time at length {length:,}")
        kinds: list[Kind] = [kind for kind in TABLE if kind != "full" or length <= plan.longest_full]
        _note(by_length, length, clock(kinds, length, plan.width, plan.repeats))
    by_width: dict[Kind, dict[int, float]] = {}
    for width in plan.widths:
        report(f"time at width {width:,}")
        _note(by_width, width, clock(list(TABLE), plan.fixed_length, width, plan.repeats))
    duel: dict[Kind, dict[int, float]] = {}
    report("full attention against LSTM")
    for length in plan.duel_lengths:
        found = clock(["full", "lstm"], length, plan.width, plan.repeats)
        _note(duel, length, found)
        if length >= COUNTED * plan.width and found["full"] > ENOUGH * found["lstm"]:
            break
    by_memory: dict[Weighed, Curve] = {}
    weighed: list[Weighed] = [*TABLE, "dense"] if can_weigh() else []
    for kind in weighed:
        report(f"memory of {kind}")
        lengths = plan.weighed_lengths(kind)
        by_memory[kind] = Curve(tuple(lengths), tuple(scale(kind, length, plan.width) for length in lengths))
    return Complexity(
        plan,
        _curves(by_length),
        _curves(by_width),
        by_memory,
        _curves(duel),
        backends={"full": backend("full"), "local": backend("local")},
        **around,
    )


def crossing(rising: Curve, other: Curve) -> float | None:
    """Size from which on `rising` lies above `other`, by a straight line between the logarithms of the two points
    around it; None if all points are on one side, or the last is not above.

    Both curves must have the same sizes, or UserError is raised.
    """
    if rising.sizes != other.sizes:
        raise UserError(f"expected two curves of the same sizes, got {rising.sizes} and {other.sizes}")
    ahead = [math.log(x / y) for x, y in zip(rising.values, other.values, strict=True)]
    below = max((i for i, difference in enumerate(ahead) if difference <= 0), default=-1)
    if below in (-1, len(ahead) - 1):
        return None
    share = -ahead[below] / (ahead[below + 1] - ahead[below])
    return float(rising.sizes[below] ** (1 - share) * rising.sizes[below + 1] ** share)


def _note(notes: dict[Kind, dict[int, float]], size: int, found: Mapping[Kind, float]) -> None:
    for kind, value in found.items():
        notes.setdefault(kind, {})[size] = value


def _curves(notes: Mapping[Kind, Mapping[int, float]]) -> dict[Kind, Curve]:
    return {kind: Curve(tuple(found), tuple(found.values())) for kind, found in notes.items()}


def _plain(curve: Curve, size: str, value: str, table: int | None = None) -> dict[str, Any]:
    plain: dict[str, Any] = {size: list(curve.sizes), value: list(curve.values), "exponent": curve.exponent}
    return plain if table is None else {**plain, "table": table}


def _doubling(first: int, last: int) -> list[int]:
    return [first * 2**i for i in range((last // first).bit_length())]


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0
