"""Messages on standard error, and warnings that are given once."""

import sys

from runbase.errors import warn

_said: set[str] = set()


def termsetup(*_: object, **__: object) -> None:
    """Do nothing; W&B configures its messages here."""


def termlog(
    string: str = "", newline: bool = True, repeat: bool = True, prefix: bool = True
) -> None:
    """Print a message on standard error.

    Args:
        string: the message.
        newline: whether a line break follows.
        repeat: whether to print a message that was printed before.
        prefix: whether the line begins with the name of runbase.
    """
    _print(string, "runbase: " if prefix else "", newline, repeat)


def termwarn(string: str, newline: bool = True, repeat: bool = True, prefix: bool = True) -> None:
    """Print a warning on standard error; the arguments are those of `termlog`."""
    _print(string, "runbase: warning: " if prefix else "", newline, repeat)


def termerror(string: str, newline: bool = True, repeat: bool = True, prefix: bool = True) -> None:
    """Print an error on standard error; the arguments are those of `termlog`."""
    _print(string, "runbase: error: " if prefix else "", newline, repeat)


def warn_once(message: str) -> None:
    """Warn, unless this process has given the same warning."""
    if message not in _said:
        _said.add(message)
        warn(message, may_raise=False)


def _print(string: str, prefix: str, newline: bool, repeat: bool) -> None:
    if not repeat:
        if prefix + string in _said:
            return
        _said.add(prefix + string)
    lines = "\n".join(prefix + line for line in string.split("\n"))
    print(lines, file=sys.stderr, end="\n" if newline else "", flush=True)
