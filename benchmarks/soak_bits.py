"""Flipped bytes in every file of model folders and of a run: each must be found, in one line, and none loaded silently.

    python benchmarks/soak_bits.py [--flips 200]

Models are loaded, the run is gone on with (`--resume`). TensorBoard's event files are left out: this program writes
them, but never reads them.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from small_runs import place, run, train

from triptych.errors import UserError
from triptych.model.weights import transformer_of
from triptych.shape.store import SHIPPED, read_model
from triptych.train.run.folder import RunFolder


def model_is_refused(folder: Path) -> str | None:
    """The line with which a model is refused; None if it is loaded."""
    try:
        transformer_of(read_model(folder))
    except UserError as error:
        return str(error)
    return None


def run_is_refused(folder: Path) -> str | None:
    """The line with which a run is not gone on with; None if it would be. Nothing is trained: the folder is refused."""
    try:
        RunFolder(folder, resume=True).release()
    except UserError as error:
        return str(error)
    return None


def flip(path: Path, draw: random.Random, refused: Callable[[Path], str | None], folder: Path) -> str | None:
    """What is wrong after one byte of a file was changed; None if it was found in one line."""
    data = path.read_bytes()
    at = draw.choice((draw.randrange(len(data)), draw.randrange(min(len(data), 4096))))  # headers are small
    other = data[at] ^ (1 << draw.randrange(8) if draw.random() < 0.5 else draw.randrange(1, 256))
    path.write_bytes(data[:at] + bytes([other]) + data[at + 1 :])
    try:
        fault = refused(folder)
    except Exception as error:  # every one is a failure to be shown
        fault = f"{type(error).__name__}\n{error}"
    path.write_bytes(data)
    if fault is None:
        return f"{path.name}: byte {at} from {data[at]} to {other} was not found"
    return None if "\n" not in fault else f"{path.name}: byte {at}: {fault}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flips", type=int, default=200, help="in model folders, and as many in the run")
    arguments = parser.parse_args()
    draw, begun, wrong = random.Random(0), time.monotonic(), []
    with place() as folder, tempfile.TemporaryDirectory() as models:
        made = folder / "run"
        ran = run(train(folder, made, "epochs=3", "average_last=2", "evaluations=1"))
        assert ran.code == 0, ran.output
        shipped = [card.parent.name for card in sorted(SHIPPED.glob("*/card.json"))]
        for name in shipped:
            shutil.copytree(SHIPPED / name, Path(models) / name)
        cases: list[tuple[Path, Callable[[Path], str | None], list[Path]]] = [
            (Path(models) / name, model_is_refused, sorted((Path(models) / name).iterdir())) for name in shipped
        ]
        files = [path for path in sorted(made.rglob("*")) if path.is_file() and path.parent.name != "tensorboard"]
        files = [path for path in files if path.stat().st_size]  # the lock is empty while nobody trains
        cases += [(made, run_is_refused, files)] * len(shipped)  # as often as the models together
        for number in range(2 * arguments.flips):
            where, refused, among = cases[number % len(cases)]
            found = flip(among[number // len(cases) % len(among)], draw, refused, where)
            if found is not None:
                wrong.append(f"{where.name}: {found}")
        names = sorted({path.name for _, _, among in cases for path in among})
        intact = all(model_is_refused(Path(models) / name) is None for name in shipped) and run_is_refused(made) is None
        again = run(train(folder, made, "epochs=3", "average_last=2", "evaluations=1", "--resume"))
    print("\n".join(wrong))
    print(
        f"{2 * arguments.flips} flipped bytes in files called {', '.join(names)}: "
        f"{2 * arguments.flips - len(wrong)} found; all is well without them: {intact and again.code == 0}; "
        f"{time.monotonic() - begun:.0f} s"
    )
    return bool(wrong) or not intact or again.code != 0


if __name__ == "__main__":
    sys.exit(main())
