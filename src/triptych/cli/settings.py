"""The settings of a training run: the tables of a recipe file, changed by `--set`."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from triptych.errors import UserError
from triptych.shape.plain import bounded, from_toml, read_bounded

# The tables of a recipe file. A bare key in --set belongs to the last one.
TABLES = ("model", "data", "card", "training")


def read_settings(recipe: Path | None, assignments: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read the tables of a recipe file, changed by `key=value` assignments.

    `model` has the preset and fields of `Config`, `data` how the data is used, `card` what the model's card is to say
    (domain, data, license, languages), `training` the fields of `Recipe`.
    """
    tables: dict[str, dict[str, Any]] = {name: {} for name in TABLES}
    if recipe is not None:
        for name, table in from_toml(read_bounded(recipe), recipe).items():
            if name not in TABLES or not isinstance(table, dict):
                raise UserError(f"expected the tables {', '.join(TABLES)} in {recipe}, got {name!r}")
            tables[name].update(table)
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals or not key.strip():
            raise UserError(f"expected --set key=value, got {assignment!r}")
        table_name, _, name = key.strip().rpartition(".")
        if table_name and table_name not in TABLES:
            raise UserError(f"expected --set to name one of {', '.join(TABLES)}, got {table_name!r} in {assignment!r}")
        tables[table_name or TABLES[-1]][name] = _value(value.strip())
    return tables


def _value(text: str) -> Any:
    """The value as TOML reads it (3, 0.5, true, [1, 2]); what TOML cannot read is a word: adamw, tiny."""
    try:
        tables = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text
    return bounded(tables, "--set")["value"]
