"""Triptych beside another of its source trees, such as an earlier commit: a process each, which work in turn."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from speed.tables import Settings, Table, table
from triptych.errors import UserError

HERE = Path(__file__).parents[2]
CASES = Path(__file__).with_name("ours.py")
THIS, OTHER = "this tree", "the other"


class Worker:
    """A process that runs the contestants of one source tree, one at a time."""

    def __init__(self, process: subprocess.Popen[str], tree: Path) -> None:
        self.process, self.tree = process, tree
        begun = self._answer()
        self.names: list[str] = begun["names"]
        if Path(begun["package"]) != tree / "src" / "triptych":
            raise UserError(f"expected the package of {tree}, got that of {begun['package']}")

    def run(self, name: str) -> float:
        """Units of work a second of one call."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{name}\n")
        self.process.stdin.flush()
        answer = self._answer()
        return float(answer["units"] / answer["seconds"])

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise UserError(f"expected the measurements of {self.tree}, got a process that ended; its error is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


@contextmanager
def worker(tree: Path, verb: str, threads: int) -> Iterator[Worker]:
    """Start a process on a source tree, with our cases: their names are in earlier trees too."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src"), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, str(CASES), verb]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Worker(process, tree)
        finally:
            process.kill()


def compare(verb: str, other: Path, settings: Settings, threads: int, cases: Sequence[str] = ()) -> Table:
    """Units a second of every contestant. ratio: the median over the rounds of this tree's rate
    divided by the other's.

    verb: train, generate or translate. other: a folder with src/triptych in it. cases: those to run; empty, all. Raises
    UserError where the folder has no package, where one of the processes fails, or where nothing is left to compare.
    """
    other = other.resolve()
    if not (other / "src" / "triptych").is_dir():
        raise UserError(f"expected a source tree with src/triptych in it, got {other}")
    title = f"{verb}, units of work a second beside {other}"
    with ExitStack() as stack:
        both = {name: stack.enter_context(worker(tree, verb, threads)) for name, tree in ((THIS, HERE), (OTHER, other))}
        names = [name for name in both[THIS].names if not cases or name.split(",")[0] in cases]
        if not names:
            raise UserError(f"expected contestants of {', '.join(cases) or verb}, got none")
        found: dict[tuple[str, str], list[float]] = {(tree, name): [] for name in names for tree in both}
        for number in settings.watch(title, range(settings.repeats + 1)):
            for (tree, name), rates in found.items():
                rate = both[tree].run(name)
                if number:
                    rates.append(rate)
    rows = []
    for name in names:
        this, that = table(title, "units/s", {(tree, name): found[tree, name] for tree in both}, OTHER)["rows"]
        ratio = statistics.median(a / b for a, b in zip(found[THIS, name], found[OTHER, name], strict=True))
        rows.append({**this, "name": name, "dtype": "", "ratio": ratio, "other": that["median"]})
    return {"title": title, "unit": "units/s", "reference": str(other), "rows": rows}
