"""What every benchmark here does: run the contestants in turn, in one process, and compare medians."""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

import torch

REPEATS = 7


def interleaved(contestants: Mapping[str, Callable[[], float]], repeats: int = REPEATS) -> dict[str, list[float]]:
    """Units of work a second of each contestant, `repeats` times, A B C A B C ...; a call returns the units it did.

    The machine's speed drifts over minutes; taken in turn, the contestants meet the same weather. One round warms up.
    """
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for round_number in range(repeats + 1):
        for name, run in contestants.items():
            start = time.perf_counter()
            units = run()
            if round_number:
                found[name].append(units / (time.perf_counter() - start))
    return found


def machine() -> dict[str, object]:
    """Threads, load and what torch may use, so that a figure can be read years later."""
    return {
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 2),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def tell(title: str, unit: str, rates: Mapping[str, Sequence[float]], reference: str, as_json: bool) -> None:
    """Print the medians, their range, and each as a multiple of the reference; or one JSON object."""
    medians = {name: statistics.median(values) for name, values in rates.items()}
    ratios = {name: value / medians[reference] for name, value in medians.items()}
    if as_json:
        rows = {
            name: {"median": medians[name], "min": min(values), "max": max(values), "ratio": ratios[name]}
            for name, values in rates.items()
        }
        print(json.dumps({"title": title, "unit": unit, "reference": reference, "machine": machine(), "rates": rows}))
        return
    print(f"{title}\n{machine()}")
    print(f"{'':34} {unit:>14}   {'range':>19}   ratio")
    for name, values in rates.items():
        span = f"{min(values):,.0f} - {max(values):,.0f}"
        print(f"{name:34} {medians[name]:14,.0f}   {span:>19}   {ratios[name]:5.2f}")
