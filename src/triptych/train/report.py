"""What a run says while it runs: a JSONL log, TensorBoard where installed, and a progress bar on a terminal."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LOG = "log.jsonl"


class Report:
    """Collects the run's figures. Only the first of several processes has a folder; the others stay silent."""

    def __init__(self, folder: Path | None, update: int, updates: int, quiet: bool = False) -> None:
        self.folder, self.updates = folder, updates
        self.console = Console(stderr=True, quiet=quiet or folder is None)
        self.bar: Progress | None = None
        self.task = TaskID(0)
        self.board: Any = None
        if folder is None:
            return
        folder.mkdir(parents=True, exist_ok=True)
        _truncate(folder / LOG, update)
        self.file = (folder / LOG).open("a", encoding="utf-8")
        self.board = _board(folder, update)
        if sys.stderr.isatty() and not quiet:
            columns = (BarColumn(), TextColumn("{task.description}"), TimeElapsedColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=self.console)
            self.task = self.bar.add_task("starting", total=updates, completed=update)

    def __enter__(self) -> Self:
        if self.bar is not None:
            self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.bar is not None:
            self.bar.stop()
        if self.folder is not None:
            self.file.close()
        if self.board is not None:
            self.board.close()

    def say(self, text: str) -> None:
        """One line for the person who watches."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def write(self, event: str, update: int, **figures: Any) -> None:
        """One line of the log, flushed; numbers also go to TensorBoard."""
        if self.folder is None:
            return
        line = {"event": event, "update": update, "time": round(time.time(), 3), **figures}
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()
        if self.board is not None:
            for name, value in figures.items():
                if isinstance(value, int | float):
                    self.board.add_scalar(f"{event}/{name}", value, update)

    def advance(self, update: int, loss: float, rate: float) -> None:
        """Move the bar: loss in nats a token, rate in target tokens a second."""
        if self.bar is not None:
            text = f"update {update}/{self.updates}  loss {loss:.3f}  {rate:,.0f} tokens/s"
            self.bar.update(self.task, completed=update, description=text)


def _truncate(path: Path, update: int) -> None:
    """Drop the lines past `update`: they tell of work that a resumed run does again."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text("utf-8", "replace").splitlines(keepends=True):
        try:
            if json.loads(line)["update"] <= update and line.endswith("\n"):
                kept.append(line)
        except (ValueError, KeyError, TypeError):  # a line cut by a crash
            continue
    path.write_text("".join(kept), "utf-8")


def _board(folder: Path, update: int) -> Any:
    """TensorBoard's writer if the `log` extra is installed, else None; what it knew past `update` is dropped."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=update + 1 if update else None)
