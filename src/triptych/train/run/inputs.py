"""Digests of all inputs of a run: a resumed run must read the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

LENGTH = 32  # hexadecimal digits of a sha256 that are kept


def digests(path: Path) -> dict[str, str]:
    """The sha256 of a file by an empty name, or of all files of a folder by their names in it.

    Hidden files are left out: systems write them into folders that are merely looked at.
    """
    if not path.is_dir():
        return {"": _digest(path)}
    found = {}
    for folder, folders, files in os.walk(path, followlinks=True):
        inside = {name: os.path.realpath(Path(folder) / name) for name in folders if not name.startswith(".")}
        here = os.path.realpath(folder)
        # A link to a folder above would be walked for ever.
        folders[:] = sorted(name for name, target in inside.items() if not f"{here}/".startswith(f"{target}/"))
        for name in sorted(files):
            file = Path(folder) / name
            if not name.startswith(".") and file.is_file():
                found[file.relative_to(path).as_posix()] = _digest(file)
    return found


def digest_of(parts: Iterable[bytes | NDArray[Any]]) -> str:
    """One digest of many parts, each with its length, so that their borders count."""
    whole = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else np.ascontiguousarray(part).tobytes()
        whole.update(len(data).to_bytes(8, "little"))
        whole.update(data)
    return whole.hexdigest()[:LENGTH]


def difference(before: Mapping[str, str] | None, now: Mapping[str, str]) -> tuple[str, str] | None:
    """The name of the first file that is not what it was, and in words how; None if all are."""
    if before is None:
        return "", "was not read when the run began"
    for name in sorted({*before, *now}):
        if before.get(name) != now.get(name):
            how = "is gone" if name not in now else "is new" if name not in before else "has changed (sha256 differs)"
            return name, how
    return None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:LENGTH]
