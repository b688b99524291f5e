"""The x axes of charts: steps, times, times since the start of the run, or another metric of the run."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from runbase.errors import NotFound, UsageError
from runbase.model import Envelope, Scalar
from runbase.storage.protocol import Storage

Floats = np.ndarray[Any, np.dtype[np.float64]]
Curve = tuple[str, str]
METRIC = "metric:"
"""Before the name of the metric that is the x axis."""


class Axis(Struct, frozen=True):
    """How the steps of one curve become x values.

    Attributes:
        place: returns the x values of steps.
        before: returns a step whose points, and all earlier ones, lie at or before an x value; None if x does not follow the steps.
        after: the same for later points.
        timed: whether x values are times, which each point has exactly.
        start: of times since the start of a run: that start, in seconds since the epoch.
    """

    place: Callable[[Floats], Floats]
    before: Callable[[float], float] | None = None
    after: Callable[[float], float] | None = None
    timed: bool = False
    start: float = 0.0


def _same(steps: Floats) -> Floats:
    return steps


STEPS = Axis(_same, float, float)


def axes_of(storage: Storage, curves: Sequence[Curve], x: str) -> list[Axis]:
    """Return the axis of each curve.

    Times between the first calls of two blocks of 1,024 points are interpolated. A metric as axis has at each step the last
    value that was logged at it or before.

    Args:
        storage: the storage.
        curves: run and key of each curve.
        x: `step`, `time` (seconds since the epoch), `relative` (seconds since the start of the run) or `metric:KEY`.

    Raises:
        UsageError: there is no such axis.
    """
    if x == "step":
        return [STEPS] * len(curves)
    if x in ("time", "relative"):
        starts = dict.fromkeys((run for run, _ in curves), 0.0)
        if x == "relative":
            for run in storage.get_runs(list(starts)):
                starts[run.id] = (run.started_at or run.created_at).timestamp()
        clocks = storage.clocks(curves)
        return [
            _clock(steps, times, starts[run])
            for (run, _), (steps, times) in zip(curves, clocks, strict=True)
        ]
    if not x.startswith(METRIC):
        raise UsageError(f"no x axis {x!r}; use step, time, relative or metric:KEY")
    key = x.removeprefix(METRIC)
    found = {run: _metric(storage, run, key) for run, _ in curves}
    return [found[run] for run, _ in curves]


def _clock(steps: list[float], times: list[float], start: float) -> Axis:
    if not steps:
        return STEPS
    known, moments = np.array(steps), np.array(times) - start

    def place(some: Floats) -> Floats:
        return np.interp(some, known, moments)

    def before(moment: float) -> float:
        return steps[max(int(np.searchsorted(moments, moment, side="left")) - 1, 0)]

    def after(moment: float) -> float:
        return steps[min(int(np.searchsorted(moments, moment, side="right")), len(steps) - 1)]

    return Axis(place, before, after, timed=True, start=start)


def _metric(storage: Storage, run: str, key: str) -> Axis:
    """Return the axis of a metric; a run without it has no x values."""
    try:
        series = storage.series(run, key)
    except NotFound:
        return Axis(lambda steps: np.full(len(steps), np.nan))
    known, values = np.asarray(series.steps, dtype=np.float64), series.values

    def place(steps: Floats) -> Floats:
        places = np.searchsorted(known, steps, side="right") - 1
        return np.where(places < 0, np.nan, values[np.maximum(places, 0)])

    return Axis(place)


def range_of_steps(
    axes: Sequence[Axis], start: float | None, end: float | None
) -> tuple[Scalar | None, Scalar | None]:
    """Return the first and last step between which all points of a range of x lie; None where there is no bound."""
    first = last = None
    if start is not None and all(axis.before is not None for axis in axes):
        first = min((axis.before(start) for axis in axes if axis.before), default=None)
    if end is not None and all(axis.after is not None for axis in axes):
        last = max((axis.after(end) for axis in axes if axis.after), default=None)
    return first, last


def moved(envelope: Envelope, axis: Axis) -> Envelope:
    """Return an envelope whose buckets lie at their x values; those without any are left out."""
    first, last = axis.place(envelope.first_steps), axis.place(envelope.last_steps)
    found = Envelope(
        envelope.key,
        np.minimum(first, last),
        np.maximum(first, last),
        envelope.min,
        envelope.max,
        envelope.mean,
        envelope.counts,
        envelope.nans,
    )
    order: Any = np.argsort(found.first_steps, kind="stable")  # NaN comes last
    return found.take(order[: int(np.count_nonzero(~np.isnan(first + last)))])
