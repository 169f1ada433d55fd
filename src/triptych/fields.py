"""Dataclasses that are checked field by field, and made of JSON text or plain values; and the JSON schema of them."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from triptych.errors import UserError, remedy, shown

Made = TypeVar("Made")
MAX_DIGITS = 20  # of a whole number
NAMES: dict[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    tuple: "a list",
}
KINDS = {str: "string", int: "integer", float: "number", bool: "boolean"}


class JsonError(UserError):
    """A text that is no JSON."""


class TooLargeError(UserError):
    """A value or a length above a limit."""


@dataclass(frozen=True)
class Size:
    """Least and greatest value of a number, or length of a text or list.

    limit: what is above is `TooLargeError`. below: the greatest value itself is too much.
    """

    least: float
    most: float | None = None
    limit: bool = False
    below: bool = False


Share = Annotated[float, Size(0, 1)]


class Checked:
    """The base of a frozen dataclass whose fields are checked when it is made: 2 becomes 2.0, and a list a tuple.

    CALLED: how messages call a field, by its `name` and the `kind` of the dataclass.
    """

    CALLED = "{name}"

    def __post_init__(self) -> None:
        for field in fields(cast(Any, self)):
            name = self.CALLED.format(name=field.name, kind=type(self).__name__)
            kind = _hints(cast(type, type(self)))[field.name]
            object.__setattr__(self, field.name, _value(kind, getattr(self, field.name), name))


def read_json(data: bytes) -> Any:
    """The value of JSON text. JsonError for another text, UserError for numbers that are infinite, NaN or endless."""
    try:
        return json.loads(data, parse_constant=_no_number, parse_int=_whole, parse_float=_finite)
    except UserError:
        raise
    except (ValueError, RecursionError):
        raise JsonError("expected JSON in UTF-8, got another text; send an object like {}") from None


def _no_number(text: str) -> NoReturn:
    raise UserError(f"expected finite numbers, got {text}; JSON has no others")


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise UserError(f"expected whole numbers of at most {MAX_DIGITS} digits, got one of {len(text):,}")
    return int(text)


def _finite(text: str) -> float | int:
    value = float(text)
    if not math.isfinite(value):
        _no_number(text[:MAX_DIGITS])
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def parsed(kind: type[Made], value: object, name: str = "the body") -> Made:
    """The dataclass of plain values. UserError where a field is unknown, missing, of another type or out of its range;
    None leaves a field with a default out.
    """
    if not isinstance(value, dict):
        raise UserError(f"expected {name} to be an object or a table, got {shown(value)}; see its description")
    known, hints = {field.name: field for field in fields(cast(Any, kind))}, _hints(cast(type, kind))
    for key in value:
        if key not in known:
            raise UserError(f"unknown field {shown(str(key))} in {name}; {remedy(str(key)[:40], known)}")
    given = {key: item for key, item in value.items() if item is not None or not _has_default(known[key])}
    for key, field in known.items():
        if key not in given and not _has_default(field):
            raise UserError(f"expected the field {key!r} in {name}, got none; see its description")
    if issubclass(kind, Checked):
        return kind(**given)
    return kind(**{key: _value(hints[key], item, key) for key, item in given.items()})


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@cache
def _form(kind: Any) -> tuple[Any, Any, tuple[Any, ...], Size | str | None]:
    """A type without its size or its words, its origin and arguments, and the size or the words."""
    more = None
    if get_origin(kind) is Annotated:
        kind, more = get_args(kind)
    return kind, get_origin(kind), get_args(kind), more


def _value(kind: Any, value: Any, name: str) -> Any:
    """A value of a type: one of those of `_schema`, a tuple, any class or `Any`. A text beside the type, as in
    `Annotated[tuple[int, int], "[height, width]"]`, names what is expected.
    """
    kind, origin, arguments, more = _form(kind)
    if kind is Any or (is_dataclass(value) and isinstance(kind, type | UnionType) and isinstance(value, kind)):
        return value
    if origin in (Union, UnionType) and not isinstance(more, str):
        if value is None and NoneType in arguments:
            return None
        return one_of([one for one in arguments if one is not NoneType], value, name)
    if is_dataclass(kind):
        return parsed(cast(type, kind), value, name)
    plain, given = kind if origin in (None, UnionType) else origin, value
    if plain is float and type(value) is int:
        value = float(value)
    if plain is tuple and type(value) is list:
        value = tuple(value)
    if origin is Literal:
        fits, words = value in arguments and not isinstance(value, bool), f"one of {', '.join(map(str, arguments))}"
    else:
        fits = isinstance(value, plain) and (plain is bool or not isinstance(value, bool))
        if fits and plain is tuple and arguments[-1] is not ...:
            fits = len(value) == len(arguments)
        words = more if isinstance(more, str) else NAMES.get(plain, f"a {plain.__name__}")
    if not fits:
        raise UserError(f"expected {name} to be {words}, got {shown(given)}; correct it")
    if plain is float and not math.isfinite(value):
        raise UserError(f"expected a finite {name}, got {value}; correct it")
    if isinstance(more, Size):
        _check(value, more, name)
    if plain is list or plain is tuple:
        return plain(_value(arguments[0], item, f"each of {name}") for item in value)
    return value


def one_of(kinds: Sequence[Any], value: Any, name: str = "the body") -> Any:
    """The value as one of several types: of dataclasses that which its `kind` names."""
    if len(kinds) == 1:
        return _value(kinds[0], value, name)
    tags = {get_args(_hints(kind)["kind"])[0]: kind for kind in kinds}
    tag = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(tag, str) or tag not in tags:
        raise UserError(f"expected {name} of the kind {' or '.join(tags)}, got {shown(tag)}")
    return parsed(tags[tag], value, name)


def _check(value: Any, size: Size, name: str) -> None:
    length = len(value) if isinstance(value, str | list | tuple) else None
    measure = value if length is None else length
    small = measure < size.least
    large = size.most is not None and (measure > size.most or (size.below and measure == size.most))
    if small or large:
        unit = "" if length is None else " characters" if isinstance(value, str) else " items"
        most = "" if size.most is None else f" to {'below ' * size.below}{_number(size.most)}"
        reach = f"{'' if most else 'at least '}{_number(size.least)}{most}{unit}"
        raise (TooLargeError if large and size.limit else UserError)(
            f"expected {name} of {reach}, got {measure:,}; change it"
        )


def _number(value: float) -> str:
    return f"{value:,}".removesuffix(".0")


def schema(kind: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of a dataclass; what it refers to is added to `definitions`."""
    name = kind.__name__
    if name not in definitions:
        definitions[name] = {}
        found, required = {}, []
        for field in fields(cast(Any, kind)):
            found[field.name] = _schema(_hints(kind)[field.name], definitions)
            if not _has_default(field):
                required.append(field.name)
            elif field.default is not MISSING:
                found[field.name] = {**found[field.name], "default": field.default}
        body = {"type": "object", "properties": found, "required": required, "additionalProperties": False}
        definitions[name] = {"description": " ".join((kind.__doc__ or "").split()), **body}
    return {"$ref": f"#/components/schemas/{name}"}


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    """The schema of str, int, float, bool, a list, a Literal, a dataclass, or one of several or None, with its size."""
    if get_origin(kind) is Annotated:
        inner, size = get_args(kind)
        low, high = {"string": ("minLength", "maxLength"), "array": ("minItems", "maxItems")}.get(
            (found := _schema(inner, definitions))["type"], ("minimum", "maximum")
        )
        return {**found, **{key: bound for key, bound in ((low, size.least), (high, size.most)) if bound is not None}}
    origin = get_origin(kind)
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(one, definitions) for one in get_args(kind)]}
    if origin is Literal:
        return {"type": "string", "enum": list(get_args(kind))}
    if origin is list:
        return {"type": "array", "items": _schema(get_args(kind)[0], definitions)}
    if kind is NoneType:
        return {"type": "null"}
    return schema(cast(type, kind), definitions) if is_dataclass(kind) else {"type": KINDS[kind]}
