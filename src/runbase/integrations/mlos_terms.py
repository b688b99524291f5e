"""mlos_bench's words in ours, and back: states, values, tunables."""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from mlos_bench.environments.status import Status as Word
from mlos_bench.tunables.tunable import Tunable
from mlos_bench.tunables.tunable_groups import TunableGroups
from mlos_bench.util import utcify_timestamp

from runbase.events import Points
from runbase.model import Run
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
    """mlos_bench's word for a state: the one that it was told with, if that still holds."""
    if source is not None and source in Word.__members__ and STATUSES[Word[source]] is status:
        return Word[source]
    return _WORDS.get(status) or _PHASES[status.phase]


def word_of(run: Run) -> Word:
    """mlos_bench's word for a trial's state."""
    return word(run.status, run.source_status)


def utc(moment: datetime) -> datetime:
    """mlos_bench's UTC is pytz's; a time without a zone is local."""
    return utcify_timestamp(moment, origin="local")


def moment(seconds: float) -> datetime:
    """Seconds since the epoch as mlos_bench's UTC."""
    return utc(datetime.fromtimestamp(seconds, UTC))


def began(run: Run) -> datetime:
    """When a trial began, or is to begin."""
    return utc(run.started_at or run.due_at or run.queued_at or run.created_at)


def ended(run: Run) -> datetime | None:
    """When it ended."""
    return None if run.ended_at is None else utc(run.ended_at)


def plain(value: Any) -> Any:
    """A result as a plain scalar: NumPy's and pandas' become Python's, what else there may be its text."""
    if isinstance(value, bool | int | float | str | datetime) or value is None:
        return value
    item = getattr(value, "item", None)
    return plain(item()) if callable(item) else str(value)


def points(results: Mapping[str, Any], time: float) -> list[Points]:
    """The numbers among results, as metrics."""
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
    """Name → value."""
    return {tunable.name: plain(tunable.value) for tunable, _ in tunables}


def defaults(tunables: TunableGroups) -> dict[str, Any]:
    """Name → the default that is declared."""
    return {tunable.name: plain(tunable.default) for tunable, _ in tunables}


def space(tunables: TunableGroups) -> dict[str, Parameter]:
    """What they may be, as an experiment's search space."""
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
