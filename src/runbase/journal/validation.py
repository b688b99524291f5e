"""Check that events can be stored in any database: times, steps and numbers are in range.

Journals are checked when they are read; every event is checked again when it is stored, whatever its source.
"""

import math
from typing import Any

from msgspec.structs import replace

from runbase.events import ArtifactLogged, Ended, JournalEvent, Opened, Points
from runbase.values import EARLIEST, LARGEST_INTEGER, LATEST

LARGEST_PID = 2**31 - 1
"""The largest process id that fits the database's columns."""
EXIT_CODES = range(-(2**31), 2**32)
"""Exit codes of 32 bits, signed as on POSIX or unsigned as on Windows."""

_TIME = "its time is not between the years 1 and 9999"
_STEP = "its step is outside of ±(2**63 - 1)"


def check_event(event: JournalEvent | Points) -> None:
    """Check that a database can store an event.

    Raises:
        ValueError: it cannot be stored.
    """
    if isinstance(event, Points):
        _check_points(event)
        return
    if not EARLIEST <= event.time <= LATEST:
        raise ValueError(_TIME)
    step = getattr(event, "step", None)
    if step is not None and not -LARGEST_INTEGER < step < LARGEST_INTEGER:
        raise ValueError(_STEP)
    if isinstance(event, Ended) and event.exit_code is not None:
        if event.exit_code not in EXIT_CODES:
            raise ValueError("its exit code has more than 32 bits")
    elif isinstance(event, ArtifactLogged) and not 0 <= event.size < LARGEST_INTEGER:
        raise ValueError("its size is not between 0 and 2**63 - 1")


def usable_time(value: Any, fallback: float) -> float:
    """Return a time from another program's file (seconds since the epoch) if it is in range, else the fallback."""
    try:
        time = float(value)
    except (TypeError, ValueError, ArithmeticError):
        return fallback
    return time if EARLIEST <= time <= LATEST else fallback


def mended(opened: Opened, time: float) -> tuple[Opened, list[str]]:
    """Return the first event of a journal with numbers in range, and a list of what was replaced.

    A journal must not be lost because of a wrong time or process id in its first line. `time` replaces a time that is not
    between the years 1 and 9999.
    """
    wrong: list[str] = []
    if not EARLIEST <= opened.time <= LATEST:
        opened = replace(opened, time=time)
        wrong.append(_TIME)
    if not 0 <= opened.process.pid <= LARGEST_PID:
        opened = replace(opened, process=replace(opened.process, pid=0))
        wrong.append("its process id is out of range")
    if not 0 <= opened.attempt <= LARGEST_PID:
        opened = replace(opened, attempt=0)
        wrong.append("its attempt is out of range")
    return opened, wrong


def _check_points(event: Points) -> None:
    times, steps = event.times, event.steps
    if not (math.isfinite(sum(times)) and min(times) >= EARLIEST and max(times) <= LATEST):
        raise ValueError(_TIME)
    least, greatest = min(steps), max(steps)
    if not (least > -LARGEST_INTEGER and greatest < LARGEST_INTEGER and sum(steps) == sum(steps)):
        raise ValueError(_STEP)


def floats_for_large(column: list[Any]) -> list[Any]:
    """Convert integers of more than 64 bits in a column to floats.

    Raises:
        ValueError: an integer is too large for a float.
    """
    if int not in set(map(type, column)):
        return column
    if min(column) >= -LARGEST_INTEGER and max(column) < LARGEST_INTEGER:
        return column
    try:
        return [v if abs(v) < LARGEST_INTEGER else float(v) for v in column]
    except OverflowError:
        raise ValueError("it has an integer too large for a float") from None
