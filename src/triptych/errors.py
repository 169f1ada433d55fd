"""Errors that users see: exceptions with a message of one line, which ends with the remedy."""

from collections.abc import Iterable
from types import UnionType

MAX_MESSAGE = 1000  # characters of a message; of a longer one the beginning and the end are shown


def printable(text: str, length: int) -> str:
    """Text of a file, as far as it fits into a line of a message, a terminal or a score."""
    return "".join(character for character in text[: 10 * length] if character.isprintable())[:length].strip()


def one_line(text: str) -> str:
    """Text as one line of at most `MAX_MESSAGE` characters, without those that act on a terminal."""
    text = plain(" ".join(text.split()))
    return text if len(text) <= MAX_MESSAGE else f"{text[: MAX_MESSAGE // 2]} ... {text[5 - MAX_MESSAGE // 2 :]}"


def plain(text: str) -> str:
    """Text with a space for each character that cannot be printed: controls, line breaks, marks that turn the direction
    of writing, halves of a surrogate pair.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


def shown(value: object, length: int = 40) -> str:
    """Return a mistaken argument as a message shows it: its beginning and, unless it is a text, its type."""
    text = repr(value[: length + 1] if isinstance(value, str | bytes) else value)
    text = text if len(text) <= length + 2 else f"{text[:length]}..."
    return text if isinstance(value, str) or value is None else f"{text} ({type(value).__name__})"


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that another one is a slip of, or None."""
    import difflib

    return next(iter(difflib.get_close_matches(name, list(known), 1)), None)


def remedy(name: str, known: Iterable[str], otherwise: str | None = None) -> str:
    """Return the remedy for an unknown name: the nearest known one, else `otherwise`, or all of them if None."""
    known = list(known)
    near = closest(name, known)
    return f"did you mean {near!r}?" if near else otherwise or f"known are {', '.join(known)}"


def expect(value: object, kinds: type | UnionType, what: str, remedy: str) -> None:
    """Raise UserError unless the value is of one of these types: expected `what`, got it; `remedy`."""
    if not isinstance(value, kinds):
        raise UserError(f"expected {what}, got {shown(value)}; {remedy}")


def number(value: object, what: str) -> float:
    """Return the number that an argument called `what` is. Raises UserError where it is none."""
    if isinstance(value, bool) or not hasattr(value, "__float__"):  # NumPy's numbers have it too
        raise UserError(f"expected {what} to be a number, got {shown(value)}; give one")
    return float(value)


def whole_number(value: object, what: str, least: int | None = None, most: int | None = None) -> int:
    """Return the whole number that an argument called `what` is, from `least` to `most`. Raises UserError otherwise."""
    index = None if isinstance(value, bool) else getattr(value, "__index__", None)  # NumPy's integers have it too
    whole = None if index is None else int(index())
    if whole is None or (least is not None and whole < least) or (most is not None and whole > most):
        reach = ("" if least is None else f" from {least:,}") + ("" if most is None else f" to {most:,}")
        got = shown(value) if whole is None else f"{whole:,}" if abs(whole) < 10**20 else "one of very many digits"
        raise UserError(f"expected {what} to be a whole number{reach}, got {got}; choose another")
    return whole


class UserError(ValueError):
    """A mistake of the user, with a message of one line.

    The command line prints it as ``error: ...`` and exits with code 2; as a library exception it is a `ValueError`.
    An error of our own making is an `AssertionError` instead. Names and text of files may be put into the message as
    they are: it is made one printable line here.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class DivergedError(RuntimeError):
    """The loss became infinite or undefined. The last good checkpoint is kept.

    The command line prints it as ``error: ...`` and exits with code 1.
    """
