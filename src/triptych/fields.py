"""JSON text -> plain values -> dataclasses, checked field by field; and the JSON schema of the same dataclasses."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from triptych.errors import UserError, closest, shown

Made = TypeVar("Made")
MAX_DIGITS = 20  # of a whole number
NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list"}
KINDS = {str: "string", int: "integer", float: "number", bool: "boolean"}


class JsonError(UserError):
    """A text that is no JSON."""


class TooLargeError(UserError):
    """A value or a length above a limit."""


@dataclass(frozen=True)
class Size:
    """Least and greatest value of a number, or length of a text or list. limit: what is above is `TooLargeError`."""

    least: float | None = None
    most: float | None = None
    limit: bool = False


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


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _no_number(text[:MAX_DIGITS])


def parsed(kind: type[Made], value: object, name: str = "the body") -> Made:
    """The dataclass of plain values. UserError where a field is unknown, missing, of another type or out of its range;
    None leaves a field with a default out.
    """
    if not isinstance(value, dict):
        raise UserError(f"expected {name} to be an object, got {shown(value)}; see its description")
    known, hints = {field.name: field for field in fields(cast(Any, kind))}, _hints(cast(type, kind))
    for key in value:
        if key not in known:
            near = closest(str(key)[:40], known)
            remedy = f"did you mean {near!r}?" if near else f"known are {', '.join(known)}"
            raise UserError(f"unknown field {shown(str(key))} in {name}; {remedy}")
    given = {key: item for key, item in value.items() if item is not None or not _has_default(known[key])}
    for key, field in known.items():
        if key not in given and not _has_default(field):
            raise UserError(f"expected the field {key!r} in {name}, got none; see its description")
    return kind(**{key: _value(hints[key], item, key) for key, item in given.items()})


def one_of(kinds: Sequence[type[Made]], value: object, name: str = "the body") -> Made:
    """The same for one of several dataclasses: of more than one that which the value's `kind` names."""
    made: Made = _member(list(kinds), value, name)
    return made


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


@cache
def _form(kind: Any) -> tuple[Any, Any, tuple[Any, ...], Size | None]:
    """A type without its size, its origin and arguments, and the size."""
    size = None
    if get_origin(kind) is Annotated:
        kind, size = get_args(kind)
    return kind, get_origin(kind), get_args(kind), size


def _value(kind: Any, value: Any, name: str) -> Any:
    """A value of a type: see `_schema` for those that there are."""
    kind, origin, arguments, size = _form(kind)
    if origin in (Union, UnionType):
        if value is None:  # which only what has no default may be
            return None
        return _member([one for one in arguments if one is not NoneType], value, name)
    if origin is Literal:
        if value not in arguments or isinstance(value, bool):
            raise UserError(f"expected {name} to be one of {', '.join(map(str, arguments))}, got {shown(value)}")
        return value
    if is_dataclass(kind):
        return parsed(cast(type, kind), value, name)
    plain = origin or kind
    if plain is int and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        value = int(value)
    if plain is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        raise UserError(f"expected {name} to be {NAMES[plain]}, got {shown(value)}")
    if size is not None:
        _check(value, size, name)
    if plain is list:
        (inner,) = arguments
        return [_value(inner, item, name) for item in value]
    return value


def _member(kinds: list[Any], value: Any, name: str) -> Any:
    """The value as one of several types: of dataclasses that which its `kind` names."""
    if len(kinds) == 1:
        return _value(kinds[0], value, name)
    tags = {get_args(_hints(kind)["kind"])[0]: kind for kind in kinds}
    tag = value.get("kind") if isinstance(value, dict) else None
    if not isinstance(tag, str) or tag not in tags:
        raise UserError(f"expected {name} of the kind {' or '.join(tags)}, got {shown(tag)}")
    return parsed(tags[tag], value, name)


def _check(value: Any, size: Size, name: str) -> None:
    length = len(value) if isinstance(value, str | list) else None
    measure = value if length is None else length
    small, large = size.least is not None and measure < size.least, size.most is not None and measure > size.most
    if small or large:
        unit = "" if length is None else " characters" if isinstance(value, str) else " items"
        reach = f"{_number(size.least)} to {_number(size.most)}{unit}"
        got = shown(value) if length is None else f"{length:,}"
        raise (TooLargeError if large and size.limit else UserError)(
            f"expected {name} of {reach}, got {got}; change it"
        )


def _number(value: float | None) -> str:
    return "any" if value is None else f"{value:,.0f}" if float(value).is_integer() else f"{value:g}"


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
