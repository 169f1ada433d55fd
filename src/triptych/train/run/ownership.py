"""The files of a folder that belong to a run, by name and content. All others are the user's and are not changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from triptych.errors import UserError
from triptych.shape.files import MARK, read_sealed
from triptych.shape.store import RUN, own_files
from triptych.train.run.lock import LOCK, is_lock
from triptych.train.run.state import FILE, State

CHECKPOINTS, LOG, BOARD, NOTES = "checkpoints", "log.jsonl", "tensorboard", "notes"
LINE = b'{"event": "'  # begins every line of a log
CHECKPOINT = re.compile(r"(update|last|average)-\d{7,}(\.\d+)?")
PART = re.compile(rf"\.(.+)\.{MARK}")
EVENTS = re.compile(r"events\.out\.tfevents\..+")
ARRAY = re.compile(r"notes-\d{4,}\.npy|index\.json")


def own_entries(folder: Path) -> list[Path]:
    """All files and folders in a folder of a run that was interrupted before its first save, the inner ones first.

    Raises UserError for the first thing that is not a run's own, and where there is a state to resume from.
    """
    found: list[Path] = []
    for entry in sorted(folder.iterdir()):
        own = list(_own(entry))
        if not own:
            first = (
                next((inner for inner in sorted(entry.iterdir()) if not [*_own(inner)]), entry)
                if _is_plain_folder(entry)
                else entry
            )
            raise UserError(
                f"expected an empty folder or that of a run, got {folder}, which holds other things "
                f"({first.relative_to(folder)}); choose another --out, or move them away"
            )
        found += own
    return found


def own_parts(folder: Path) -> list[Path]:
    """Unfinished files of a killed run, in its folder and among its checkpoints, the inner ones first."""
    return [
        own
        for place in (folder, folder / CHECKPOINTS)
        if _is_plain_folder(place)
        for entry in place.iterdir()
        if PART.fullmatch(entry.name)
        for own in _own(entry)
    ]


def remove(entries: list[Path]) -> None:
    """Remove these files, and these folders as far as they are empty by then."""
    for entry in entries:
        if entry.is_dir():
            entry.rmdir()
        else:
            entry.unlink()


def _own(entry: Path) -> Iterator[Path]:
    """The entry, after all that is in it; nothing if it, or anything in it, is not a run's own."""
    if entry.is_symlink():
        return
    if not entry.is_dir():
        if _is_own_file(entry):
            yield entry
        return
    inside = sorted(entry.iterdir())
    if part := PART.fullmatch(entry.name):
        own = [inner for inner in inside if inner.is_file() and not inner.is_symlink()]
        whole = CHECKPOINT.fullmatch(part[1]) is not None and len(own) == len(inside)
    elif CHECKPOINT.fullmatch(entry.name) and entry.parent.name == CHECKPOINTS:
        own, whole = inside, len(own_files(entry)) == len(inside) > 0
    elif entry.name in (CHECKPOINTS, BOARD, NOTES):
        lists = [list(_own(inner)) for inner in inside]
        own, whole = [each for found in lists for each in found], all(lists)
    else:
        return
    if whole:
        yield from own
        yield entry


def _is_own_file(path: Path) -> bool:
    name, parent = path.name, path.parent.name
    if part := PART.fullmatch(name):
        return part[1] in (RUN, FILE, LOG) or ARRAY.fullmatch(part[1]) is not None
    if parent == BOARD and EVENTS.fullmatch(name):
        return True
    if parent == NOTES and ARRAY.fullmatch(name):
        return path.read_bytes()[:6] == b"\x93NUMPY" if path.suffix == ".npy" else "shards" in _json(path)
    if name == LOCK:
        return is_lock(path)
    if name == LOG:
        return all(map(is_log_line, path.read_bytes().splitlines(keepends=True)))
    return False


def is_log_line(line: bytes) -> bool:
    """Whether this is a line of a run's log, or, without its end, the beginning of one, cut by a kill."""
    if not line.endswith(b"\n"):
        return line[: len(LINE)] == LINE[: len(line)]
    try:
        return {"event", "update", "time"} <= set(json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return False


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run that can be resumed. Raises UserError where its pointer is damaged."""
    if (folder / RUN).exists() or (folder / RUN).is_symlink():
        read_sealed(folder / RUN)
        return True
    if not (folder / FILE).is_file():
        return False
    try:
        State.from_bytes((folder / FILE).read_bytes())
    except ValueError:
        return False
    return True


def _json(path: Path) -> dict[str, object]:
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_plain_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
