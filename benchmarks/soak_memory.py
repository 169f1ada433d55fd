"""Memory of a long training: how much a process of `triptych train` grows once it is warm.

    python benchmarks/soak_memory.py [--minutes 60] [--share 0.02]

Trains a small translator with evaluations, saving by the clock and subword sampling, reads the resident memory of the
process twice a second, and compares the largest of the last tenth of the time with that of the first tenth after five
minutes, or after half of a shorter time: until then its caches fill.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from small_runs import end, place, start, train, write_pairs


def resident(process: int) -> int:
    """Resident memory of a process in KiB, as Linux counts it."""
    for line in Path(f"/proc/{process}/status").read_text("utf-8").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--share", type=float, default=0.02, help="the growth that is too much")
    arguments = parser.parse_args()
    seen: list[tuple[float, int]] = []
    with place() as folder:
        write_pairs(folder, 3000)
        settings = (
            f"hours={arguments.minutes / 60}",
            "data.sampling=0.1",
            "evaluations=2",
            "save_every=0.25",
            "ema=0.99",
        )
        begun = time.monotonic()
        child = start(train(folder, folder / "run", *settings), folder / "output")
        while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            seen.append((time.monotonic() - begun, resident(child)))
            time.sleep(0.5)
        ran = end(child, folder / "output")
    took = seen[-1][0]
    warm = min(300.0, took / 2)
    early = max(memory for at, memory in seen if warm <= at < warm + 0.1 * took)
    late = max(memory for at, memory in seen if at >= 0.9 * took)
    growth = late / early - 1
    tenths = [max(memory for at, memory in seen if 10 * at // took == part) / 1024 for part in range(10)]
    print("largest of each tenth, in MiB:", " ".join(f"{tenth:.1f}" for tenth in tenths))
    output = f"{early / 1024:.1f} MiB when warm, {late / 1024:.1f} in the last, {growth:+.2%}"
    print(f"{took / 60:.1f} minutes: {output}")
    print("\n".join(ran.output.splitlines()[-2:]))
    within = abs(took / 60 / arguments.minutes - 1)
    print(f"asked for {arguments.minutes:g} minutes: {within:.1%} off, the start of the program included")
    return ran.code != 0 or growth >= arguments.share


if __name__ == "__main__":
    sys.exit(main())
