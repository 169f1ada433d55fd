"""What a person may be told: exceptions that are one line, which ends with the remedy."""

LONGEST = 1000  # characters of a message; of a longer one the beginning and the end are shown


def printable(text: str, length: int) -> str:
    """Text of a file, as far as it fits into a line of a message, a terminal or a score."""
    return "".join(character for character in text[: 10 * length] if character.isprintable())[:length].strip()


def one_line(text: str) -> str:
    """Text as one line of at most `LONGEST` characters, in which nothing moves the cursor or changes the terminal."""
    text = plain(" ".join(text.split()))
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]} ... {text[5 - LONGEST // 2 :]}"


def plain(text: str) -> str:
    """Text with a space for each character that cannot be printed: controls, line breaks, marks that turn the direction
    of writing, halves of a surrogate pair.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


class UserError(ValueError):
    """A mistake of the person at the keyboard, told in one line.

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
