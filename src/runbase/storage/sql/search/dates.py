"""Parse times in filters: dates, and times relative to now. All are in UTC."""

import re
from datetime import UTC, datetime, timedelta

from runbase.errors import FilterError

_UNITS = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
    "w": 604800.0,
    "week": 604800.0,
    "month": 2_592_000.0,
    "year": 31_536_000.0,
}
"""Unit → seconds; a month has 30 days and a year 365."""

MILLISECONDS = 1e11
"""Numbers greater than this (the year 5138 in seconds) are milliseconds, as in MLflow."""


def duration(text: str) -> timedelta:
    """Parse `2 days`, `1h 30m` or `90s`."""
    parts = re.findall(r"([\d.]+)\s*([a-z]+)", text.lower())
    rest = re.sub(r"([\d.]+)\s*([a-z]+)|[\s,]|and", "", text.lower())
    seconds = 0.0
    for amount, unit in parts:
        word = unit if unit in _UNITS else unit.removesuffix("s")
        if word not in _UNITS:
            parts = []
            break
        seconds += float(amount) * _UNITS[word]
    if not parts or rest:
        raise FilterError(f"{text!r} is not a duration; write '2 days', '12h' or '1h 30m'")
    return timedelta(seconds=seconds)


def moment(text: str) -> datetime:
    """Parse an ISO date or time; without an offset it is in UTC."""
    try:
        time = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise FilterError(
            f"{text!r} is not a date or time; write '2026-11-20' or '2026-11-20 14:30', or "
            "now() - interval '2 days'"
        ) from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time


def from_number(value: float) -> datetime:
    """Convert seconds since the epoch, or milliseconds if the number is too large for seconds."""
    seconds = value / 1000 if abs(value) > MILLISECONDS else value
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise FilterError(f"{value} is not a time in seconds since the epoch") from error
