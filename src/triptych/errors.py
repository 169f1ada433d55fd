"""The exceptions a person may see: each is one line that ends with the remedy."""


class UserError(ValueError):
    """A mistake of the person at the keyboard, told in one line.

    The command line prints it as ``error: ...`` and exits with code 2; as a library exception it is a `ValueError`.
    An error of our own making is an `AssertionError` instead.
    """


class DivergedError(RuntimeError):
    """The loss became infinite or undefined. The last good checkpoint is kept.

    The command line prints it as ``error: ...`` and exits with code 1.
    """
