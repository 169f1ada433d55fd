"""Seconds from the shell until a sentence is translated, beside `import torch` alone.

    python benchmarks/start.py [--json] [--repeats 9] [--most 0.5]

Every command is run once before, so that Python has its bytecode, and then in turn with the others, so that whatever
else the machine does befalls all alike; medians are shown, by the clock and of the processor. Ends with 1 where
`triptych translate` takes more than `--most` seconds longer than `import torch`.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time

from triptych.cli.output import answer

OURS, TORCH = "triptych translate", "import torch"
COMMANDS = {
    "python": ["-c", "pass"],
    TORCH: ["-c", "import torch"],
    "triptych --help": ["-m", "triptych.cli.main", "--help"],
    "triptych models": ["-m", "triptych.cli.main", "models"],
    OURS: ["-m", "triptych.cli.main", "translate", "Two dogs are playing in the snow."],
}


def seconds(arguments: list[str]) -> tuple[float, float]:
    """The time of one fresh process by the clock, and that of the processor in it. Python writes its bytecode."""
    told = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, env=told)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - start, used


def main() -> int:
    """Measure, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--most", type=float, default=0.5)
    options = parser.parse_args()
    for arguments in COMMANDS.values():
        seconds(arguments)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    for _ in range(options.repeats):
        for name, arguments in COMMANDS.items():
            found[name].append(seconds(arguments))
    # Of each round the difference: what slows the machine for a while slows both.
    pairs = list(zip(found[OURS], found[TORCH], strict=True))
    longer, more = (statistics.median(ours[kind] - torch[kind] for ours, torch in pairs) for kind in (0, 1))
    rows = {name: _row(times) for name, times in found.items()}
    lines = [
        f"{name:<20} {row['seconds']:.2f} s (from {row['least']:.2f} to {row['most']:.2f}), "
        f"{row['processor']:.2f} s of a processor"
        for name, row in rows.items()
    ]
    lines.append(f"{OURS} takes {longer:.2f} s longer than {TORCH}, {more:.2f} s of a processor")
    result = {"commands": rows, "longer": longer, "longer_processor": more, "repeats": options.repeats}
    answer(result, lines, as_json=options.json)
    return int(longer > options.most)


def _row(times: list[tuple[float, float]]) -> dict[str, float]:
    clock, processor = zip(*times, strict=True)
    median = statistics.median
    return {"seconds": median(clock), "least": min(clock), "most": max(clock), "processor": median(processor)}


if __name__ == "__main__":
    sys.exit(main())
