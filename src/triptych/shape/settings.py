"""Settings as plain values (of TOML, of `--set`) become frozen dataclasses, names and types checked; and presets."""

from __future__ import annotations

import dataclasses
import tomllib
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from importlib.resources import files
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from triptych.errors import UserError, remedy

Made = TypeVar("Made")
WORDS: dict[Any, str] = {float: "a number", int: "a whole number", bool: "true or false", str: "a word"}


def check_names(table: str, values: Iterable[str], known: Iterable[str]) -> None:
    """Raise UserError for a setting of a table that is none of the known ones, with the nearest of them."""
    known = list(known)
    for name in values:
        if name not in known:
            raise UserError(f"unknown setting {_within(table, name)}; {remedy(name, known)}")


def names_of(*kinds: Any) -> list[str]:
    """The names of the settings in these dataclasses."""
    return [field.name for kind in kinds for field in dataclasses.fields(kind)]


def settings_from(kind: type[Made], table: str, values: Mapping[str, Any]) -> Made:
    """Make a dataclass of those values of a table that are fields of it. Raises UserError for one of another type.

    A field's type is one of those in `WORDS`, a `Literal` of words, a tuple, another such dataclass, or a union of
    these; `Annotated` with a text names the expected value, as in `Annotated[tuple[int, int], "[height, width]"]`.
    """
    hints = get_type_hints(kind, include_extras=True)
    given = {name: value for name, value in values.items() if name in hints}
    return kind(**{name: converted(_within(table, name), value, hints[name]) for name, value in given.items()})


def converted(name: str, value: Any, hint: Any) -> Any:
    """The value of a setting in the type of its field: 2 becomes 2.0 for a float, a list a tuple."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        check_names(name, value, names_of(hint))
        return settings_from(hint, name, value)
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    for kind in kinds:
        if (found := _as(value, kind)) is not dataclasses.MISSING:
            return found
    expected = " or ".join(_worded(kind) for kind in kinds if kind is not types.NoneType)
    raise UserError(f"expected {name} to be {expected}, got {value!r}; correct it, or leave it out for the default")


def _within(table: str, name: str) -> str:
    """The name of a setting in messages, with its table if that has a name."""
    return f"{table}.{name}" if table else name


def _as(value: Any, kind: Any) -> Any:
    """The value as one of a kind, or MISSING where it is none."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) is Literal:
        return value if value in list(get_args(kind)) else dataclasses.MISSING
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if not isinstance(value, list | tuple) or (inner[-1] is not ... and len(value) != len(inner)):
            return dataclasses.MISSING
        found = tuple(_as(each, inner[0]) for each in value)
        return dataclasses.MISSING if dataclasses.MISSING in found else found
    if kind is Any:
        return value
    if kind is float and type(value) is int:
        return float(value)
    return value if type(value) is kind else dataclasses.MISSING


def _worded(kind: Any) -> str:
    if get_origin(kind) is Annotated:
        return str(get_args(kind)[1])
    return f"one of {', '.join(get_args(kind))}" if get_origin(kind) is Literal else WORDS.get(kind, "a table")


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
