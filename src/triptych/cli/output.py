"""What a verb prints: the answer to standard output, everything else to standard error."""

from __future__ import annotations

import codecs
import io
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from triptych.errors import one_line
from triptych.model.device import is_first

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn

# Control characters that a terminal obeys, but for the tab and the end of a line.
ACTS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


ESCAPED = "triptych.escaped"  # the name of the error handler that `prepare_streams` registers


def prepare_streams() -> None:
    """Let standard output take any text: what its encoding lacks is written as an escape, with a note.

    A stream that the person has closed swallows what is written to it.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115  # until the process ends
    noted = False

    def escape(error: UnicodeError) -> tuple[str | bytes, int]:
        nonlocal noted
        if not noted:
            noted = True
            say(
                f"note: standard output is {sys.stdout.encoding}, which lacks some of these characters: they are "
                "written as \\xfc; set PYTHONIOENCODING=utf-8, or ask for --json"
            )
        return codecs.backslashreplace_errors(error)

    codecs.register_error(ESCAPED, escape)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors=ESCAPED)


def answer(result: Mapping[str, object], lines: Iterable[str], *, as_json: bool) -> None:
    """Print the result as one JSON object, or as lines for a person. Called once, at the end of a verb.

    Nothing in them acts on a terminal: in JSON what could is escaped, in lines it is left out.
    """
    if as_json:
        lines = [ACTS.sub(_escaped, _json(_plain(result)))]
    for line in lines:
        sys.stdout.write((line if as_json else ACTS.sub("", line)) + "\n")


def say(message: str) -> None:
    """Print a line that is not the answer to standard error; of several processes, the first one does."""
    if is_first():
        print(one_line(message), file=sys.stderr)


def say_about(path: Path | str, words: str | Iterable[str]) -> None:
    """Say a word, or several, about a file: what in it was changed or left out."""
    for word in [words] if isinstance(words, str) else words:
        say(f"{path}: {word}")


def progress() -> Progress:
    """Make a bar with an estimate on standard error, to be used with `with`; none when that is not a terminal."""
    from rich.progress import MofNCompleteColumn, TimeRemainingColumn

    return _bar(MofNCompleteColumn(), TimeRemainingColumn())


def _bar(*columns: ProgressColumn) -> Progress:
    """A bar with its description and these columns; without effect where standard error is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    described = TextColumn("{task.description}"), BarColumn()
    return Progress(*described, *columns, console=console, transient=True, disable=not console.is_terminal)


@contextmanager
def parts(shares: Mapping[str, float]) -> Iterator[Callable[[str], None]]:
    """Show how far a long verb is: a bar over all of its parts, or a line a part where stderr is not a terminal.

    shares: the parts by name, in their order, and what each takes of the time, in any unit. Yields the function to call
    with a part's name when it begins.
    """
    from rich.progress import TaskProgressColumn, TimeElapsedColumn

    names = list(shares)
    with _bar(TaskProgressColumn(), TimeElapsedColumn()) as bar:
        task = bar.add_task("loading", total=sum(shares.values()))

        def begin(name: str) -> None:
            number = names.index(name)
            line = f"{number + 1} of {len(names)}: {name}"
            if bar.disable:
                say(line)
            bar.update(task, description=line, completed=sum(shares[before] for before in names[:number]))

        yield begin


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"


def _json(value: object) -> str:
    """Write JSON that is UTF-8 whatever the encoding of standard output: in another one it is ASCII with escapes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    try:
        if codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8":
            text.encode()  # a lone surrogate, in the name of a file that is no UTF-8, has an escape alone
            return text
    except UnicodeEncodeError:
        pass
    return json.dumps(value, allow_nan=False)


def _plain(value: object) -> object:
    """Plain JSON values: infinity and NaN become null, values of other types text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | bool | None) else str(value)
