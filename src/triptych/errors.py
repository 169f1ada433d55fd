"""What a person may be told: exceptions that are one line, which ends with the remedy."""


def printable(text: str, length: int) -> str:
    """Text of a file, as far as it fits into a line of a message, a terminal or a score."""
    return "".join(character for character in text[: 10 * length] if character.isprintable())[:length].strip()


class UserError(ValueError):
    """A mistake of the person at the keyboard, told in one line.

    The command line prints it as ``error: ...`` and exits with code 2; as a library exception it is a `ValueError`.
    An error of our own making is an `AssertionError` instead.
    """


class DivergedError(RuntimeError):
    """The loss became infinite or undefined. The last good checkpoint is kept.

    The command line prints it as ``error: ...`` and exits with code 1.
    """
