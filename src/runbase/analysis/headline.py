"""Which parameters and metrics of some runs a person wants to see first."""

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from runbase.analysis.directions import direction_of
from runbase.model import Objective, Run

_NEARLY = 0.8
"""Share of the runs with the most frequent metric from which a metric counts as equally frequent."""


_OTHER_RANK = re.compile(r"/rank\d+$")
"""Metrics of the other processes of a distributed job."""


def metrics(
    runs: Sequence[Run], objectives: Iterable[Objective] = (), named: Collection[str] = ()
) -> list[str]:
    """Return the metrics of runs, the most important first.

    Objectives come first, then the metrics that the user named, then those that most runs have.
    Among equals, validation and test metrics come first, then metrics with a known direction, then
    those that were logged last.

    Args:
        runs: the runs that are shown.
        objectives: of their experiments.
        named: keys that a filter or a sort key names.

    Returns:
        The keys.
    """
    counts: dict[str, int] = {}
    latest: dict[str, float] = {}
    for run in runs:
        for key, metric in run.metrics.items():
            counts[key] = counts.get(key, 0) + 1
            time = _seconds(metric.last_time)
            latest[key] = max(latest.get(key, 0.0), time)
    wanted = list(dict.fromkeys(objective.metric for objective in objectives))
    most = max(counts.values(), default=0)

    def rank(key: str) -> tuple[Any, ...]:
        frequent = counts[key] >= _NEARLY * most
        return (
            wanted.index(key) if key in wanted else len(wanted),
            key not in named,
            _OTHER_RANK.search(key) is not None,
            0 if frequent else -counts[key] + most,
            not _is_validation(key),
            direction_of(key) is None,
            -counts[key],
            -latest[key],
            natural(key),
        )

    return sorted(counts, key=rank)


def params(runs: Sequence[Run], named: Collection[str] = ()) -> list[str]:
    """Return the parameters that differ between runs, the most important first; all of a single run.

    The parameters that the user named come first, then those whose values differ, then those that
    some runs lack. Seeds come after the others. Runs without any parameter do not count.
    """
    runs = [run for run in runs if run.params]
    order = list(dict.fromkeys(key for run in runs for key in run.params))
    values = {key: [repr(run.params[key]) for run in runs if key in run.params] for key in order}
    several = len(runs) > 1
    shown = [
        key
        for key in order
        if not several or len(set(values[key])) > 1 or len(values[key]) < len(runs)
    ]

    def rank(key: str) -> tuple[Any, ...]:
        return (
            key not in named,
            several and len(set(values[key])) < 2,
            "seed" in key.lower(),
            -len(values[key]),
        )

    return sorted(shown, key=rank)


def mentioned(text: str, keys: Iterable[str]) -> set[str]:
    """Return the keys that occur as whole words in a text: a filter, or sort keys."""
    return {key for key in keys if re.search(rf"(?<![\w/]){re.escape(key)}(?![\w/])", text)}


def natural(key: str) -> list[tuple[int, int, str]]:
    """Return a sort key with which layer2 comes before layer10."""
    make: Callable[[str], tuple[int, int, str]] = lambda part: (  # noqa: E731
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
    )
    return [make(part) for part in re.split(r"(\d+)", key) if part]


def _is_validation(key: str) -> bool:
    return "val" in key or "test" in key


def _seconds(moment: datetime | None) -> float:
    return 0.0 if moment is None else moment.timestamp()
