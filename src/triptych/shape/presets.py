"""Presets: shapes of models by name, which each panel keeps in a file `presets.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from functools import cached_property
from importlib.resources import files
from typing import Any


class Presets(Mapping[str, dict[str, Any]]):
    """The presets of a package by name, read at first use.

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
