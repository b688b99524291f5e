"""Every error runbase raises, as one small family, and its warnings.

    RunbaseError
    ├── InvalidValue (ValueError)      a value that cannot be logged or stored
    ├── UsageError (ValueError)        a call or setting that makes no sense
    │   └── FilterError                a filter or sort key that cannot be understood
    ├── NotFound (LookupError)         no such experiment, run, metric
    │   └── Ambiguous                  a prefix or name that matches several
    ├── RunFinished (RuntimeError)     writing to a run that has ended
    ├── HomeError (OSError)            the folder for runs cannot be used
    └── StoreError (RuntimeError)      the database
        ├── StoreBusy                  others kept it locked for too long
        ├── StoreCorrupt               the file is damaged
        ├── NotAllowed                 a server refused: the token is missing or lacks a right
        ├── Conflict                   somebody else changed the same object first
        ├── StoreTooNew                written by a newer runbase
        ├── StoreUnavailable           it cannot be opened or reached
        │   └── StoreOffline           its server does not answer now
        ├── QueryError                 the database refused a statement
        │   └── SchemaError            it lacks a table or column that the statement names
        └── QueryTimeout               a query ran past its deadline

Each also inherits the builtin that it is, so callers catch what they know. A message says what
happened, to which object, and what to do next.
"""

import logging
import sys
import threading
import warnings
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)
_log = logging.getLogger("runbase")
_guard = threading.Lock()


class RunbaseError(Exception):
    """Something in runbase went wrong."""


class InvalidValue(RunbaseError, ValueError):
    """A value cannot be logged or stored."""


class UsageError(RunbaseError, ValueError):
    """A call, an option or a setting makes no sense."""


class FilterError(UsageError):
    """A filter or sort key cannot be understood."""


class NotFound(RunbaseError, LookupError):
    """No such experiment, run or metric."""


class Ambiguous(NotFound):
    """A prefix or name matches several objects."""


class RunFinished(RunbaseError, RuntimeError):
    """The run has ended and accepts no more data."""


class HomeError(RunbaseError, OSError):
    """The folder that holds the runs cannot be used."""


class StoreError(RunbaseError, RuntimeError):
    """The database cannot do what was asked."""


class StoreBusy(StoreError):
    """Other writers kept the database locked for too long."""


class StoreCorrupt(StoreError):
    """The database file is damaged."""


class StoreTooNew(StoreError):
    """The database was written by a newer runbase."""


class StoreUnavailable(StoreError):
    """The database cannot be opened or reached."""


class StoreOffline(StoreUnavailable):
    """The database's server does not answer: it may do so again in a moment."""


class QueryError(StoreError):
    """The database refused a statement."""


class SchemaError(QueryError):
    """The database lacks a table or a column that a statement names."""


class QueryTimeout(StoreError):
    """A query ran past its deadline and was cancelled."""


class InTrash(NotFound):
    """What was named is in the trash; the message says how to restore it."""


class NotAllowed(StoreError):
    """A server refused: the token is missing, has expired, or lacks a right."""


class Conflict(StoreError):
    """Somebody else changed the same object first."""


class MissingPackage(UsageError):
    """An optional package is not installed; the message says what to install."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the nearest known ones, or the first few."""
    names = list(known)
    if not names:
        return ""
    close = get_close_matches(word, names, n=3, cutoff=0.5)
    if close:
        return "; did you mean " + " or ".join(repr(name) for name in close) + "?"
    shown = ", ".join(sorted(names)[:8])
    return f"; known: {shown}" + (", …" if len(names) > 8 else "")


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, for messages: ``1 run``, ``2,000 runs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


class RunbaseWarning(RuntimeWarning):
    """Something of runbase needs attention; the program continues."""


def warn(message: str, *, may_raise: bool = True) -> None:
    """Warn at the line of the program that called runbase.

    If the program turns warnings into errors, the main thread raises the error. Other threads log it, because an
    exception would end work that must continue, such as heartbeats.

    Args:
        message: what is wrong, where, and what to do, without a prefix.
        may_raise: False if the caller has work that must continue in the main thread, too.
    """
    _print_without_source()
    try:
        warnings.warn(f"runbase: {message}", RunbaseWarning, stacklevel=_caller())
    except RunbaseWarning as error:
        if may_raise and threading.current_thread() is threading.main_thread():
            raise
        _log.warning("%s", error)


def _caller() -> int:
    """Return the stack level of the first frame outside of this package, as seen from `warn`."""
    level, frame = 1, sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


def _print_without_source() -> None:
    """Let Python's own printer show warnings of this package as one line; all others stay as they are."""
    with _guard:
        earlier = warnings.formatwarning
        if getattr(earlier, "of_runbase", False):
            return

        def formatted(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            line: str | None = None,
        ) -> str:
            if issubclass(category, RunbaseWarning):
                return f"{message}\n"
            return earlier(message, category, filename, lineno, line)

        formatted.of_runbase = True  # type: ignore[attr-defined]
        warnings.formatwarning = formatted
