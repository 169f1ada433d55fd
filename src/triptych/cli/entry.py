"""The beginning of the command: an interruption ends it in silence while Python still reads the rest of it."""

import os
import signal
from types import FrameType


def main() -> int:
    """Run the command; see `triptych.cli.main`. Interrupted, it ends with 130."""
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # and not ignored, as behind `nohup`
        signal.signal(signal.SIGINT, _leave)
    from triptych.cli.main import main as run

    signal.signal(signal.SIGINT, usual)
    return run()


def _leave(number: int, frame: FrameType | None) -> None:
    os._exit(130)
