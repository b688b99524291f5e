"""Group the rows of a table by the values of some columns: means, standard deviations and counts."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec

from runbase.errors import FilterError, suggestion
from runbase.values import split_names

Columns = dict[str, list[Any]]
COUNT = "count"
"""The column with the number of rows of a group."""


def grouped(columns: Mapping[str, Sequence[Any]], by: Sequence[str]) -> Columns:
    """Group rows.

    Args:
        columns: name → one value a row; all have the same length.
        by: the columns whose values a group shares.

    Returns:
        The columns of `by`, then `count`, then for each other column with numbers `mean(NAME)`,
        `sd(NAME)` (of a sample, with n - 1; None for one number) and `count(NAME)`. NaN and None are
        left out. Groups come in the order of their first rows.
    """
    rows = list(zip(*(columns[name] for name in by), strict=True))
    places: dict[Any, int] = {}
    of_row = [places.setdefault(_key(row), len(places)) for row in rows]
    size = len(places)
    first: list[int] = [-1] * size
    counts = [0] * size
    for row, group in enumerate(of_row):
        counts[group] += 1
        if first[group] < 0:
            first[group] = row
    made: Columns = {name: [columns[name][row] for row in first] for name in by}
    made[COUNT] = cast("list[Any]", counts)
    for name, values in columns.items():
        if name not in by and any(type(value) in (int, float) for value in values):
            made |= _statistics(name, values, of_row, size)
    return made


def _statistics(
    name: str, values: Sequence[Any], of_row: Sequence[int], size: int
) -> dict[str, list[Any]]:
    numbers: list[list[float]] = [[] for _ in range(size)]
    for value, group in zip(values, of_row, strict=True):
        if type(value) in (int, float) and value == value:
            numbers[group].append(value)
    means = [math.fsum(group) / len(group) if group else None for group in map(_finite, numbers)]
    deviations = [
        math.sqrt(math.fsum((value - mean) ** 2 for value in group) / (len(group) - 1))
        if mean is not None and len(group) > 1
        else None
        for group, mean in zip(map(_finite, numbers), means, strict=True)
    ]
    return {
        f"mean({name})": means,
        f"sd({name})": deviations,
        f"count({name})": [len(group) for group in numbers],
    }


def _finite(group: Sequence[float]) -> Sequence[float]:
    """Return the numbers of a group; none if one of them is infinite, since they have no mean."""
    return group if all(map(math.isfinite, group)) else ()


def ordered(columns: Columns, order_by: str | None) -> list[int]:
    """Return the places of rows in an order such as ``mean(metrics.loss) desc, count``; None comes last.

    Raises:
        FilterError: a sort key is not a column.
    """
    size = len(columns[COUNT])
    places = list(range(size))
    for part in reversed(split_names(order_by or "")):
        name, descending = part, False
        for word in (" desc", " asc"):
            if part.lower().endswith(word):
                name, descending = part[: -len(word)].strip(), word == " desc"
        if name not in columns:
            raise FilterError(
                f"groups have no column {name!r}{suggestion(name, columns)}; they are sorted by "
                f"what they show: {', '.join(columns)}"
            )
        values = columns[name]
        there = [place for place in places if values[place] is not None]
        there.sort(key=lambda place: _sortable(values[place]), reverse=descending)
        places = there + [place for place in places if values[place] is None]
    return places


def _sortable(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool | int | float):
        return (0, float(value)) if value == value else (1, 0.0)
    return (2, value if isinstance(value, str) else str(value))


def _key(row: tuple[Any, ...]) -> Any:
    try:
        hash(row)
    except TypeError:  # a list or a document
        return msgspec.json.encode(row, enc_hook=str)
    return tuple((type(value).__name__, value) if value == value else "nan" for value in row)
