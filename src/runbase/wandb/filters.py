"""MongoDB-style filters of `Api.runs`, applied to runs."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

from runbase.wandb.errors import UsageError

Look = Callable[[str], Any]
"""Returns a field of a run by its name; None if it has none."""


def matches(look: Look, filters: Mapping[str, Any]) -> bool:
    """Return whether a run matches a filter.

    Args:
        look: returns the fields of the run.
        filters: such as ``{"config.lr": {"$lt": 0.1}, "$or": [{"state": "finished"}, {"tags": "best"}]}``.

    Raises:
        UsageError: an operator is not known.
    """
    return all(_holds(look, key, wanted) for key, wanted in filters.items())


def _holds(look: Look, key: str, wanted: Any) -> bool:
    match key:
        case "$and":
            return all(matches(look, part) for part in wanted)
        case "$or":
            return any(matches(look, part) for part in wanted)
        case "$nor":
            return not any(matches(look, part) for part in wanted)
        case "$not":
            return not matches(look, wanted)
        case _ if key.startswith("$"):
            raise UsageError(
                f"the filter has {key!r}; use $and, $or, $nor, $not, or the name of a field"
            )
        case _:
            return _fits(look(key), wanted)


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping) and any(str(k).startswith("$") for k in cast("Any", wanted)):
        conditions = cast("Mapping[str, Any]", wanted)
        return all(
            _compared(value, name, other)
            for name, other in conditions.items()
            if name != "$options"
        )
    return _equal(value, wanted)


def _compared(value: Any, operator: str, other: Any) -> bool:
    match operator:
        case "$eq":
            return _equal(value, other)
        case "$ne":
            return not _equal(value, other)
        case "$in":
            return any(_equal(value, one) for one in other)
        case "$nin":
            return not any(_equal(value, one) for one in other)
        case "$exists":
            return (value is not None) == bool(other)
        case "$regex":
            return any(re.search(str(other), str(one)) for one in _each(value))
        case "$all":
            return all(_equal(value, one) for one in other)
        case "$not":
            return not _fits(value, other)
        case "$gt" | "$gte" | "$lt" | "$lte":
            return any(_ordered(one, operator, other) for one in _each(value))
        case _:
            raise UsageError(
                f"the filter has {operator!r}, which is not an operator that runbase knows"
            )


def _ordered(value: Any, operator: str, other: Any) -> bool:
    left, right = _moment(value), _moment(other)
    if isinstance(left, datetime) != isinstance(right, datetime) or left is None or right is None:
        left, right = value, other
    try:
        match operator:
            case "$gt":
                return bool(left > right)
            case "$gte":
                return bool(left >= right)
            case "$lt":
                return bool(left < right)
            case _:
                return bool(left <= right)
    except TypeError:
        return False


def _moment(value: Any) -> Any:
    """Return a text that is a date or a time as such, for comparison; else the value."""
    if not isinstance(value, str):
        return value
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return value
    return moment if moment.tzinfo else moment.astimezone()


def _equal(value: Any, wanted: Any) -> bool:
    return value == wanted or (isinstance(value, list | tuple) and wanted in value)


def _each(value: Any) -> list[Any]:
    if isinstance(value, list | tuple):
        return [*cast("list[Any]", value)]
    return [] if value is None else [value]
