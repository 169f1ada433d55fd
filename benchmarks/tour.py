"""How long the tour takes on this machine as it is, and while another process keeps one core busy.

    python benchmarks/tour.py --rounds 3

Each round times `triptych demo` in a process of its own twice, once as it is and once beside a process that does
nothing but count. Told: the medians, their ratio, and for each run the cores that others used meanwhile (Linux), for
a busy machine makes both slow. The last line fails (exit code 1) above `--most` times as long.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

MAX_RATIO = 2.5  # times as long beside a busy core
COUNT = "number = 0\nwhile True: number += 1"
STAT = Path("/proc/stat")


@dataclass(frozen=True)
class Run:
    """Seconds by the clock, seconds of processor time of its own, and cores that others used meanwhile."""

    seconds: float
    own: float
    others: float

    def __str__(self) -> str:
        return f"{self.seconds:6.1f} s, {self.own:6.1f} s of processor time, others used {self.others:.2f} cores"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=float, default=MAX_RATIO)
    parser.add_argument("--threads", type=int, help="of the tour, else as the tour chooses")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.2f} before", flush=True)
    calm, beside = [], []
    for number in range(1, options.rounds + 1):
        calm.append(tour(options.threads))
        print(f"round {number}, as it is:          {calm[-1]}", flush=True)
        with subprocess.Popen([sys.executable, "-c", COUNT]) as busy:
            try:
                beside.append(tour(options.threads, busy))
            finally:
                busy.kill()
        print(f"round {number}, beside a busy core: {beside[-1]}", flush=True)
    first, second = (statistics.median(run.seconds for run in runs) for runs in (calm, beside))
    held = second <= options.most * first
    held_to = "at most" if held else "NOT at most"
    print(f"medians {first:.1f} and {second:.1f} s: {second / first:.2f} times as long, {held_to} {options.most:g}")
    return 0 if held else 1


def tour(threads: int | None, busy: subprocess.Popen[bytes] | None = None) -> Run:
    """Take the tour once, in a new folder. busy: the process beside it, which does not count as another one's."""
    more = [] if threads is None else ["--threads", str(threads)]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "triptych.cli.main", "demo", "--out", folder, *more]
        before, began, own = used(), time.perf_counter(), of_children()
        subprocess.run(command, check=True, capture_output=True)
        seconds, own, everything = time.perf_counter() - began, of_children() - own, used() - before
    return Run(seconds, own, max(0.0, (everything - own) / seconds - (busy is not None)))


def used() -> float:
    """Seconds of processor time that all processes have used; 0 where the system does not tell."""
    if not STAT.is_file():
        return 0.0
    user, nice, system, _, _, interrupts, soft, *_ = map(int, STAT.read_text("utf-8").splitlines()[0].split()[1:])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")


def of_children() -> float:
    """Seconds of processor time that our processes which have ended used."""
    times = os.times()
    return times.children_user + times.children_system


if __name__ == "__main__":
    sys.exit(main())
