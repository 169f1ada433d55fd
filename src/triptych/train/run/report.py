"""The output of a run: a JSONL log, TensorBoard where installed, and a progress bar on a terminal."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from triptych.errors import UserError
from triptych.shape.files import MARK, write_file
from triptych.train.run.ownership import BOARD, LOG, is_log_line


class Report:
    """Collects the run's figures. Only the first of several processes has a folder; the others print nothing.

    log: of a resumed run, the `position` in the log at which its state was saved; what follows there is dropped.
    """

    def __init__(
        self, folder: Path | None, update: int, updates: int, log: Mapping[str, Any], quiet: bool = False
    ) -> None:
        self.folder, self.updates = folder, updates
        self.console = Console(stderr=True, quiet=quiet or folder is None)
        columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TimeRemainingColumn())
        shows = folder is not None and not quiet and sys.stderr.isatty()
        self.bar = Progress(*columns, console=self.console, disable=not shows)
        self.task = self.bar.add_task("starting", total=updates, completed=update)
        self.board: Any = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        written = _shortened(folder / LOG, log)
        self._digest, self._bytes = hashlib.sha256(written), len(written)
        self.file = (folder / LOG).open("ab")
        self.board = _board(folder, update)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()
        if self.folder is not None:
            self.file.close()
        if self.board is not None:
            self.board.close()

    def line(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def write(self, event: str, update: int, **figures: Any) -> None:
        """One line of the log, flushed; numbers also go to TensorBoard."""
        if self.folder is None:
            return
        line = {"event": event, "update": update, "time": round(time.time(), 3), **figures}
        data = (json.dumps(line) + "\n").encode()
        self.file.write(data)
        self.file.flush()
        self._digest.update(data)
        self._bytes += len(data)
        if self.board is not None:
            for name, value in figures.items():
                if isinstance(value, int | float):
                    self.board.add_scalar(f"{event}/{name}", value, update)

    def position(self) -> dict[str, Any]:
        """The length of the log so far, in bytes, and its sha256."""
        return {} if self.folder is None else {"bytes": self._bytes, "sha256": self._digest.hexdigest()}

    def advance(self, update: int, loss: float, rate: float) -> None:
        """Move the bar: loss in nats a token, rate in target tokens a second."""
        text = f"update {update}/{self.updates}  loss {loss:.3f}  {rate:,.0f} tokens/s"
        self.bar.update(self.task, completed=update, description=text)


def check_log(path: Path, position: Mapping[str, Any]) -> None:
    """Raise UserError unless the log is unchanged up to a position, or missing."""
    if path.is_symlink() or path.exists():
        data = b"" if path.is_symlink() or not path.is_file() else path.read_bytes()[: position["bytes"]]
        if hashlib.sha256(data).hexdigest() != position["sha256"]:
            raise UserError(
                f"expected {path} as the run wrote it, got it changed or damaged; move it away, and the run goes on "
                "with a new one"
            )


def _shortened(path: Path, position: Mapping[str, Any]) -> bytes:
    """Drop what the run wrote past a position, work that the resumed run repeats. Returns the rest."""
    if not path.exists():
        return b""
    written = path.read_bytes()
    end = position.get("bytes", 0)
    foreign = [line for line in written[end:].splitlines(keepends=True) if not _is_rest(line)]
    kept = b"".join([written[:end], *foreign])
    if kept != written:
        write_file(path, kept, MARK)
    return kept


def _is_rest(line: bytes) -> bool:
    """True if a line is the run's own, or the rest of one after a crash."""
    return is_log_line(line) or b"\0" in line  # as a power cut leaves in the place of what was not yet written


def _board(folder: Path, update: int) -> Any:
    """TensorBoard's writer if the `log` extra is installed, else None; what it has past `update` is dropped."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / BOARD), purge_step=update + 1 if update else None)
