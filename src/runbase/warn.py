"""Warnings of runbase: one sentence on standard error, without a line of source code."""

import logging
import sys
import threading
import warnings
from pathlib import Path

_PACKAGE = str(Path(__file__).parent)
_log = logging.getLogger("runbase")
_guard = threading.Lock()


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
