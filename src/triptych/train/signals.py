"""Signals that are noted instead of ending the process, so that nothing of a run is lost."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def noted_signals() -> Iterator[list[str]]:
    """SIGINT and SIGTERM are noted inside the block, by name, however many come. Only possible in the main thread.

    A second one is answered in one line: the run ends as soon as it is saved. A later one within a second is the same
    one again: torchrun passes on what the terminal has already sent. SIGQUIT (Ctrl-backslash) and SIGKILL act at once.
    """
    caught: list[str] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    first = 0.0

    def note(number: int, _frame: object) -> None:
        nonlocal first
        if len(caught) == 1 and time.monotonic() - first > 1 and sys.__stderr__ is not None:
            # Not through a buffer, in the middle of whose writing the signal may have come.
            os.write(sys.__stderr__.fileno(), b"saving; the run ends after that (Ctrl-\\ ends it at once, unsaved)\n")
        caught.append(signal.Signals(number).name)
        first = first or time.monotonic()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
