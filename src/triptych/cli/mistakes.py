"""One line about a wrong option or argument: what was expected, what came, and the command that explains it."""

from __future__ import annotations

from typing import Any

# What a value should have been, by the kind of error that pydantic, which reads the values for Typer, gives it.
EXPECTED = {
    "greater_than_equal": "of at least {}",
    "less_than_equal": "of at most {}",
    "int_parsing": "to be a whole number",
    "float_parsing": "to be a number",
    "finite_number": "to be a finite number",
}


def usage(error: Any) -> str:
    """The line of a `TyperException`."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "triptych"
    return f"{_expected(error)}; see {command} --help"


def _expected(error: Any) -> str:
    parameter = getattr(error, "param", None)
    found: Any = error.__cause__
    message = " ".join(error.format_message().split()).rstrip(".")
    if (kind := type(error).__name__) == "MissingParameter":
        return f"expected {_name(error)}, got none"
    if kind == "NoSuchOption":
        near = getattr(error, "possibilities", None)
        known = f"; did you mean {sorted(near)[0]}?" if near else ""
        return f"expected a known option, got {error.option_name}{known}"
    if parameter is None or not hasattr(found, "errors"):
        return message
    first = found.errors(include_url=False)[0]
    name = _name(error)
    if (expected := EXPECTED.get(first["type"])) is None:
        reason = str(first["msg"]).removeprefix("Value error, ").rstrip(".")
        value, not_one, choices = reason.partition(" is not one of ")
        return f"expected {name} {choices}, got {value}" if not_one else message.replace(str(first["msg"]), reason)
    bounds = [f"{each:,}" if isinstance(each, int) else f"{each:g}" for each in first.get("ctx", {}).values()]
    return f"expected {name} {expected.format(*bounds)}, got {first['input']}"


def _name(error: Any) -> str:
    """The option, or the argument, that an error is about."""
    name: str = error.param.opts[0]
    return name if name.startswith("-") else str(error.param.metavar or name.upper())
