"""The names of settings (of TOML, of `--set`), checked; and presets."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any

from triptych.errors import UserError, remedy
from triptych.shape.bounds import one_of


def check_names(table: str, values: Iterable[str], known: Iterable[str]) -> None:
    """Raise UserError for a setting of a table that is none of the known ones, with the nearest of them."""
    known = list(known)
    for name in values:
        if name not in known:
            where = f"{table}.{name}" if table else name
            raise UserError(f"unknown setting {where}; {remedy(name, known)}")


def names_of(*kinds: Any) -> list[str]:
    """The names of the settings in these dataclasses."""
    return [field.name for kind in kinds for field in dataclasses.fields(kind)]


@cache
def presets(package: str) -> dict[str, dict[str, Any]]:
    """Shapes of models by name, which a panel keeps in a file `presets.toml` of a package.

    One that names another as its `base` has the settings of that one, which stands before it, but for its own.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, settings in tomllib.loads((files(package) / "presets.toml").read_text("utf-8")).items():
        base = settings.pop("base", None)
        found[name] = settings if base is None else {**found[base], **settings}
    return found


def preset_of(package: str, name: str) -> dict[str, Any]:
    """The settings of a preset of a panel. UserError where it has none of that name."""
    one_of("preset", name, presets(package))
    return presets(package)[name]
