"""Checks of a choice, and of what a preset is given. Each failure is one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from triptych.errors import UserError


def one_of(name: str, value: object, allowed: Iterable[str]) -> None:
    """Raise UserError unless the setting is one of the words."""
    allowed = list(allowed)  # a list asks for no hash, which what a file names need not have
    if value not in allowed:
        raise UserError(f"expected {name} to be one of {', '.join(allowed)}, got {value!r}")


def left_out(changes: Mapping[str, Any], names: Iterable[str], whose: str) -> None:
    """Raise UserError for a change of a setting that the data decide."""
    for name in names:
        if name in changes:
            raise UserError(f"expected no {name}, got {changes[name]!r}; that of {whose} is given, leave it out")


def encoder_fits(task: str, layers: object, needed: bool) -> None:
    """Raise UserError unless there are encoder layers where the task needs them, and none elsewhere."""
    if (layers != 0) != needed:
        expected = "from 1" if needed else "0"
        raise UserError(f"expected encoder_layers {expected} for the task {task}, got {layers!r}; leave it out")
