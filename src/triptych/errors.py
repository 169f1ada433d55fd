"""The one exception a person may see: it says what was expected, what was got and the remedy."""


class UserError(ValueError):
    """A mistake of the person at the keyboard, told in one line.

    The command line prints it as ``error: ...`` and exits with code 2; as a library exception it is a `ValueError`.
    An error of our own making is an `AssertionError` instead.
    """
