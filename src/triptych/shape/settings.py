"""The names of settings (of TOML, of `--set`), checked; and presets."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.resources import files
from typing import Any

from triptych.errors import UserError, remedy


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


class Presets(Mapping[str, dict[str, Any]]):
    """Shapes of models by name, which a panel keeps in a file `presets.toml` of a package; read at first use.

    One that names another as its `base` has the settings of that one, which stands before it, but for its own.
    """

    def __init__(self, package: str) -> None:
        self._package = package

    @cached_property
    def _presets(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for name, settings in tomllib.loads((files(self._package) / "presets.toml").read_text("utf-8")).items():
            base = settings.pop("base", None)
            found[name] = settings if base is None else {**found[base], **settings}
        return found

    def __getitem__(self, name: str) -> dict[str, Any]:
        return self._presets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._presets)

    def __len__(self) -> int:
        return len(self._presets)
