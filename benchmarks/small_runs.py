"""Smallest training runs for the soak scripts: made of the command, in processes that can be struck."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import triptych.cli.main  # here, so that each process that is forked need not do it again
import triptych.text.translator
import triptych.train.loop

WORDS = ("a", "dog", "cat", "bird", "house", "tree", "sees", "likes", "finds", "red", "small", "old", "the", "two")
SHAPE = ("preset=tiny", "width=16", "heads=2", "feed_forward=16", "encoder_layers=1", "decoder_layers=1")


@dataclass(frozen=True)
class Ran:
    """How a command in a process of its own ended: its exit code, negative for a signal, and what it said."""

    code: int
    output: str

    @property
    def refused(self) -> bool:
        """Whether it ended with one line for a person."""
        return self.code == 2 and len(self.output.splitlines()[-1:]) == 1 and "Traceback" not in self.output


def write_pairs(folder: Path, count: int = 120) -> None:
    """Write sentence pairs s.txt and t.txt: the words of each sentence, and the same backwards."""
    draw = random.Random(1)
    lines = [" ".join(draw.choices(WORDS, k=draw.randint(3, 9))) for _ in range(count)]
    (folder / "s.txt").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "t.txt").write_text("\n".join(" ".join(reversed(line.split())) for line in lines) + "\n", "utf-8")


def train(folder: Path, out: Path, *more: str) -> list[str]:
    """The arguments of `triptych` that train the smallest translator on these pairs."""
    settings = [*(f"model.{part}" for part in SHAPE), "dtype=float32", "tokens_per_batch=200", "warmup=4"]
    chosen = [part for setting in (*settings, *more) if "=" in setting for part in ("--set", setting)]
    given = ["--source", str(folder / "s.txt"), "--target", str(folder / "t.txt"), "--out", str(out)]
    return ["train", "text", *given, *chosen, "--threads", "1", *(part for part in more if "=" not in part)]


def start(arguments: list[str], output: Path, before: Callable[[], None] = lambda: None) -> int:
    """Begin a command in a process of its own, and give its number. before: is called there first."""
    child = os.fork()
    if child:
        return child
    with contextlib.suppress(BaseException):
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        before()
        os._exit(triptych.cli.main.main(arguments))
    os._exit(99)


def end(child: int, output: Path) -> Ran:
    """Wait for a command."""
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ran(code, output.read_text("utf-8", "replace"))


def run(arguments: list[str], before: Callable[[], None] = lambda: None) -> Ran:
    """Run a command in a process of its own to its end."""
    with tempfile.TemporaryDirectory() as place:
        output = Path(place) / "output"
        output.touch()
        return end(start(arguments, output, before), output)


def hashes(folder: Path) -> dict[str, str]:
    """Every file below a folder by its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def write_foreign(run_folder: Path) -> dict[Path, bytes]:
    """Put other people's files into a run, under other names and under those of its own next files."""
    files = {
        "thesis.tex": b"chapter 1",
        "checkpoints/other-project/precious.pt": b"weeks of work",
        "checkpoints/last-9999999/weights.safetensors": b"mine",
        "checkpoints/update-0000003/note.txt": b"keep",
        "tensorboard/plot.png": b"a plot",
    }
    written = {run_folder / name: content for name, content in files.items()}
    for path, content in written.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return written


def touched(foreign: dict[Path, bytes]) -> list[Path]:
    """Those of other people's files that are not as they were."""
    return [path for path, content in foreign.items() if not path.is_file() or path.read_bytes() != content]


@contextlib.contextmanager
def place() -> Iterator[Path]:
    """A temporary folder with pairs to train on."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_pairs(folder)
        yield folder
