"""Seconds and memory from the shell until a verb is done, beside the import of what none can do without.

    python benchmarks/start.py [--json] [--repeats 5]

Every command is run once before, so that Python has its bytecode, and then in turn with the others, so that whatever
else the machine does befalls all alike. Medians of the seconds and the most memory are shown. Ends with 1 where a
command takes longer than its bar, a multiple of the import, or more memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from triptych.cli.output import answer

BASE = "import numpy, sentencepiece, typer"
VERB = ("-m", "triptych.cli.main")


@dataclass(frozen=True)
class Command:
    """Arguments of Python; times the import's seconds, and megabytes, that it may take at most."""

    arguments: tuple[str, ...]
    times: float | None = None
    memory: float | None = None


COMMANDS = {
    BASE: Command(("-c", BASE)),
    "triptych --help": Command((*VERB, "--help"), 2),
    "triptych translate": Command((*VERB, "translate", "Two dogs are playing in the snow."), 4, 130),
    "triptych compose": Command((*VERB, "compose", "--out", "piece.mid"), 10),
    "triptych paint": Command((*VERB, "paint", "--count", "16", "--out", "painted"), 22),
}


def measured(arguments: tuple[str, ...], folder: Path) -> tuple[float, float]:
    """Seconds by the clock and megabytes of one fresh process in a folder. Python writes its bytecode."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    quiet, start = subprocess.DEVNULL, time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], cwd=folder, stdout=quiet, stderr=quiet, env=environment)
    _, status, used = os.wait4(process.pid, 0)
    seconds, process.returncode = time.perf_counter() - start, os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    return seconds, used.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)


def main() -> int:
    """Measure, print, and compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in COMMANDS}
    with TemporaryDirectory() as folder:
        for number in range(1 + options.repeats):
            for name, command in COMMANDS.items():
                figures = measured(command.arguments, Path(folder))
                if number:
                    found[name].append(figures)
    rows = {
        name: _row(COMMANDS[name], runs, statistics.median(run[0] for run in found[BASE]))
        for name, runs in found.items()
    }
    lines = [
        f"{name:<35} {row['seconds']:.2f} s ({row['times']:.1f} times the import"
        f"{'' if row['bar'] is None else ', at most {:g}'.format(row['bar'])}), {row['memory']:.0f} MB"
        + ("" if row["holds"] else "  TOO MUCH")
        for name, row in rows.items()
    ]
    answer({"commands": rows, "repeats": options.repeats}, lines, as_json=options.json)
    return int(not all(row["holds"] for row in rows.values()))


def _row(command: Command, runs: list[tuple[float, float]], base: float) -> dict[str, float | None]:
    seconds, memory = statistics.median(run[0] for run in runs), max(run[1] for run in runs)
    times = seconds / base
    holds = times <= (command.times or times) and memory <= (command.memory or memory)
    return {"seconds": seconds, "times": times, "bar": command.times, "memory": memory, "holds": holds}


if __name__ == "__main__":
    sys.exit(main())
