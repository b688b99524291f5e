"""Convert statuses, values and tunables between mlos_bench and runbase."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

import pytz
from mlos_bench.environments.status import Status as Word
from mlos_bench.tunables.tunable import Tunable
from mlos_bench.tunables.tunable_groups import TunableGroups
from mlos_bench.util import utcify_timestamp

from runbase.events import Points
from runbase.space import Categorical, Float, Int, Parameter, check
from runbase.status import Phase, Status

STATUSES = {
    Word.UNKNOWN: Status.PENDING,
    Word.PENDING: Status.PENDING,
    Word.READY: Status.PENDING,
    Word.RUNNING: Status.RUNNING,
    Word.SUCCEEDED: Status.COMPLETED,
    Word.CANCELED: Status.CANCELLED,
    Word.FAILED: Status.FAILED,
    Word.TIMED_OUT: Status.TIMEOUT,
}
_WORDS = {
    Status.COMPLETED: Word.SUCCEEDED,
    Status.CANCELLED: Word.CANCELED,
    Status.PRUNED: Word.CANCELED,
    Status.TIMEOUT: Word.TIMED_OUT,
    Status.DEADLINE: Word.TIMED_OUT,
}
_PHASES = {Phase.WAITING: Word.PENDING, Phase.ACTIVE: Word.RUNNING, Phase.ENDED: Word.FAILED}


def word(status: Status, source: str | None = None) -> Word:
    """Return mlos_bench's status: the one that was set, if it still matches, else the nearest one."""
    if source is not None and source in Word.__members__ and STATUSES[Word[source]] is status:
        return Word[source]
    return _WORDS.get(status) or _PHASES[status.phase]


def utc(moment: datetime) -> datetime:
    """Return a time in mlos_bench's UTC, which is pytz's; a time without a zone is local."""
    return utcify_timestamp(moment, origin="local")


def stored(moment: datetime) -> datetime:
    """Return a time of the database in mlos_bench's UTC."""
    return moment.replace(tzinfo=pytz.UTC) if moment.tzinfo is UTC else utc(moment)


def moment(seconds: float) -> datetime:
    """Return seconds since the epoch as a time in mlos_bench's UTC."""
    return datetime.fromtimestamp(seconds, pytz.UTC)


def plain(value: Any) -> Any:
    """Return a value as a Python scalar: NumPy's and pandas' are converted, other objects become text."""
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if isinstance(value, datetime):  # includes pandas' timestamps
        return str(value)
    item = getattr(value, "item", None)
    return plain(item()) if callable(item) else str(value)


def text(value: Any) -> str | None:
    """Return a value as text, as SqlStorage does."""
    return None if value is None else str(value)


def points(results: Mapping[str, Any], time: float) -> list[Points]:
    """Return the numbers in results as metrics at step 0.

    Args:
        results: name → value.
        time: in seconds since the epoch.
    """
    numbers = {key: v for key, v in results.items() if isinstance(v, bool | int | float)}
    if not numbers:
        return []
    columns = [[_number(value)] for value in numbers.values()]
    return [Points(keys=tuple(numbers), steps=[0], times=[time], columns=columns)]


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def values(tunables: TunableGroups) -> dict[str, Any]:
    """Return tunable → value."""
    return {tunable.name: plain(tunable.value) for tunable, _ in tunables}


def defaults(tunables: TunableGroups) -> dict[str, Any]:
    """Return tunable → declared default."""
    return {tunable.name: plain(tunable.default) for tunable, _ in tunables}


def space(tunables: TunableGroups) -> dict[str, Parameter]:
    """Return the tunables as a search space."""
    return check({tunable.name: _parameter(tunable) for tunable, _ in tunables})


def _parameter(tunable: Tunable) -> Parameter:
    if tunable.is_categorical:
        return Categorical(list(tunable.categories), default=tunable.default)
    low, high = tunable.range
    special, default = [*tunable.special], tunable.default
    return (Int if tunable.type == "int" else cast("Any", Float))(
        cast("int", low),
        cast("int", high),
        log=bool(tunable.is_log),
        special=cast("list[int]", special),
        default=cast("int", default) if default in special or tunable.in_range(default) else None,
    )
