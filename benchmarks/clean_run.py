"""How long `make run` takes in a clean clone, beside the same of an earlier commit, and how large its environment is.

    python benchmarks/clean_run.py --before COMMIT [--rounds 3] [--busy]

Each round clones the checkout twice, at COMMIT and as it is committed, and times `make run` in each, in turn: the
environment with its packages, and the tour. One run of each comes before, so that pip has all packages in its cache.
Processor time is told too, which a busy machine changes little.
Told: the medians, their ratio (at most 0.6), and the size of the environment (at most 300 MB). With --busy another
process keeps one core busy in a second run of the tour as it is, which may take at most 2.5 times as long.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAX_SHARE, MAX_SIZE, MAX_BUSY = 0.6, 300, 2.5
COUNT = "number = 0\nwhile True: number += 1"
INSTALL = ".venv/.installed"  # the target of the environment alone


def main() -> int:
    """Clone, time, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, metavar="COMMIT")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--busy", action="store_true")
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {options.before: [], "HEAD": []}
    size, busy = 0.0, [0.0]
    for number in range(1 + options.rounds):
        for commit, times in found.items():
            with tempfile.TemporaryDirectory() as folder:
                used = processor()
                install, tour = clone(commit, Path(folder))
                used = processor() - used
                print(
                    f"{commit:<10} {install:6.1f} s to install, {tour:6.1f} s the tour; {used:.1f} s of processor time",
                    flush=True,
                )
                if number:
                    times.append((install, tour))
                if commit == "HEAD":
                    size = megabytes(Path(folder) / "clone" / ".venv")
                    if options.busy and number:
                        busy.append(beside(Path(folder) / "clone") / tour)
                        print(f"{'':<10} {busy[-1]:6.2f} times as long beside a busy core", flush=True)
    before, now = (statistics.median(map(sum, times)) for times in found.values())
    print(f"make run: {now:.1f} s, before {before:.1f} s: {now / before:.2f} times (at most {MAX_SHARE:g})")
    print(f"its environment: {size:.0f} MB (at most {MAX_SIZE})")
    return int(now > MAX_SHARE * before or size > MAX_SIZE or statistics.median(busy) > MAX_BUSY)


def clone(commit: str, folder: Path) -> tuple[float, float]:
    """Seconds of the environment and of the tour in a clean clone."""
    place, source = folder / "clone", Path(__file__).parents[1]
    subprocess.run(["git", "clone", "--quiet", source, place], check=True)
    subprocess.run(["git", "-C", place, "checkout", "--quiet", resolved(commit)], check=True)
    return make(place, INSTALL), make(place, "run")


def resolved(commit: str) -> str:
    """The commit of that name in this checkout."""
    command = ["git", "-C", str(Path(__file__).parents[1]), "rev-parse", commit]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def make(place: Path, target: str) -> float:
    """Seconds of a target."""
    start = time.perf_counter()
    subprocess.run(["make", "-C", place, target], check=True, capture_output=True)
    return time.perf_counter() - start


def processor() -> float:
    """Seconds of processor time that our processes which have ended used."""
    times = os.times()
    return times.children_user + times.children_system


def beside(place: Path) -> float:
    """Seconds of the tour beside a process that does nothing but count."""
    with subprocess.Popen([sys.executable, "-c", COUNT]) as other:
        try:
            return make(place, "run")
        finally:
            other.kill()


def megabytes(folder: Path) -> float:
    """The size of all files in a folder, links not followed."""
    return sum(file.lstat().st_size for file in folder.rglob("*") if not file.is_dir()) / 1e6


if __name__ == "__main__":
    sys.exit(main())
