"""What a verb says: the answer to standard output, everything else to standard error."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress


def answer(result: Mapping[str, object], lines: Iterable[str], *, as_json: bool) -> None:
    """Print the result as one JSON object, or as lines for a person. Called once, at the end of a verb."""
    for line in [json.dumps(_plain(result), ensure_ascii=False, allow_nan=False)] if as_json else lines:
        sys.stdout.write(line + "\n")


def say(message: str) -> None:
    """Tell the person something that is not the answer."""
    print(message, file=sys.stderr)


def progress() -> Progress:
    """Make a bar with an estimate on standard error, to be used with `with`; none when that is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)


def _plain(value: object) -> object:
    """JSON has no infinity and no NaN: they become null. What JSON does not know becomes text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)
