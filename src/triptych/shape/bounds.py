"""Checks of single settings: their type, their range, their choices. Each failure is one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from triptych.errors import UserError


def is_a(name: str, value: object, *kinds: type) -> None:
    """Raise UserError unless the setting is of one of the kinds; a truth value is no number."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(kind.__name__ for kind in kinds)
        raise UserError(f"expected {name} to be {expected}, got {value!r}")


def in_range(name: str, value: object, least: int, most: int) -> None:
    """Raise UserError unless the setting is a whole number in the range."""
    is_a(name, value, int)
    assert isinstance(value, int)
    if not least <= value <= most:
        raise UserError(f"expected {name} {f'>= {least}' if value < least else f'<= {most}'}, got {value}")


def one_of(name: str, value: object, allowed: Iterable[str]) -> None:
    """Raise UserError unless the setting is one of the words."""
    allowed = list(allowed)  # a list asks for no hash, which what a file names need not have
    if value not in allowed:
        raise UserError(f"expected {name} to be one of {', '.join(allowed)}, got {value!r}")


def share(name: str, value: object) -> None:
    """Raise UserError unless the setting is a number from 0 to 1."""
    is_a(name, value, int, float)
    assert isinstance(value, int | float)
    if not 0 <= value <= 1:
        raise UserError(f"expected {name} from 0 to 1, got {value!r}")


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
