"""Curves in binary form: per pixel column the least and greatest value, or exact points where there are few.

The body is `RBC1`, the length of a JSON header as u32, the header, zeros up to a multiple of 8 bytes, and then for each curve
either `min` and `max` as f32[columns] (form `grid`; NaN: no point in the column) or `x` and `y` as f64[n] (form `points`). Regular
x values, `first + stride * i`, are in the header instead of `x`.
All numbers are little endian. Each point lies in a column that is drawn, so no outlier is hidden.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from runbase.model import Envelope, Scalar, Series
from runbase.server.axes import STEPS, Axis, axes_of, moved, range_of_steps
from runbase.storage.protocol import Storage

MEDIA_TYPE = "application/vnd.runbase.curves"
MAGIC = b"RBC1"
MOST_CURVES = 500
MOST_COLUMNS = 2000
MOST_MARKS = 100
MOST_EXACT = 1_000_000
"""Points of all curves that are read one by one where x is not the step."""
BLOCK = 1024
"""Points between two known times of an axis."""
Floats = np.ndarray[Any, np.dtype[np.float64]]


class CurveHeader(Struct, frozen=True, kw_only=True):
    """What a curve of the body is.

    Attributes:
        form: `grid` or `points`.
        count: the number of points in the range, NaN included.
        shown: the length of each of its two arrays.
        nans: how many of the points are NaN.
        nan_at: where they are: at most 100 x values, which are exact for points.
        last: the last x value in the range, or null.
        first: of points with regular x values: the first one; then there is no array `x`.
        stride: the distance of two x values.
    """

    run: str
    key: str
    form: str
    count: int
    shown: int
    nans: int
    nan_at: list[float]
    last: float | None
    first: float | None = None
    stride: float | None = None


class CurvesHeader(Struct, frozen=True, rename={"from_": "from"}):
    """The header of the body; `from_` and `to` are the bounds of the grid."""

    x: str
    from_: float
    to: float
    columns: int
    curves: list[CurveHeader]


def encode(
    storage: Storage,
    series: Sequence[tuple[str, str]],
    columns: int,
    start: Scalar | None = None,
    end: Scalar | None = None,
    x: str = "step",
) -> bytes:
    """Return curves as the body of an answer.

    Args:
        storage: the storage.
        series: for each curve its run's id and the name of the metric.
        columns: the number of pixel columns.
        start: the first x value. Default: the first of all curves.
        end: the last x value.
        x: the axis, as in `axes.axes_of`.
    """
    if not series:
        return _body(CurvesHeader(x, 0.0, 1.0, columns, []), [])
    axes = axes_of(storage, series, x)
    first, last = range_of_steps(axes, start, end)
    few = max(2 * columns + 4 * BLOCK, MOST_EXACT // len(series))
    found: list[Envelope] = []
    for (run, key), axis, envelope in zip(
        series, axes, storage.envelopes(list(series), first, last, columns), strict=True
    ):
        if axis is STEPS and not (_is_merged(envelope) and envelope.counts.sum() <= 2 * columns):
            found.append(envelope)
        elif int(envelope.counts.sum()) > few:
            found.append(_within(moved(envelope, axis), start, end))
        else:
            points = storage.series(run, key, first, last)
            found.append(_within(_placed(key, points, axis), start, end))
    lows = [float(e.first_steps[0]) for e in found if len(e)]
    highs = [float(e.last_steps.max()) for e in found if len(e)]
    low = float(start) if start is not None else min(lows, default=0.0)
    high = float(end) if end is not None else max(highs, default=1.0)
    headers: list[CurveHeader] = []
    arrays: list[bytes] = []
    for (run, key), envelope in zip(series, found, strict=True):
        count = int(envelope.counts.sum())
        points_form = count <= 2 * columns and not _is_merged(envelope)
        first_x = stride = None
        if points_form:
            first_x, stride = _regular(envelope.first_steps)
            arrays += [_packed(envelope.first_steps, "<f8")] if first_x is None else []
            arrays.append(_packed(envelope.min, "<f8"))
        else:
            arrays += [_packed(each, "<f4") for each in grid(envelope, low, high, columns)]
        headers.append(
            CurveHeader(
                run=run,
                key=key,
                form="points" if points_form else "grid",
                count=count,
                shown=count if points_form else columns,
                nans=int(envelope.nans.sum()),
                nan_at=_some(envelope.first_steps[envelope.nans > 0]),
                last=float(envelope.last_steps.max()) if len(envelope) else None,
                first=first_x,
                stride=stride,
            )
        )
    return _body(CurvesHeader(x, low, high, columns, headers), arrays)


def _body(header: CurvesHeader, arrays: Sequence[bytes]) -> bytes:
    encoded = msgspec.json.encode(header)
    head = MAGIC + len(encoded).to_bytes(4, "little") + encoded
    return b"".join([head, bytes(-len(head) % 8), *arrays])


def _placed(key: str, points: Series, axis: Axis) -> Envelope:
    """Return points as buckets of one point, by x. Times are exact here: the axis only interpolates them."""
    if axis.timed:
        places = points.times - axis.start
    else:
        places = axis.place(np.asarray(points.steps, dtype=np.float64))
    order: Any = np.argsort(places, kind="stable")  # NaN comes last
    order = order[: int(np.count_nonzero(~np.isnan(places)))]
    xs, ys = places[order], points.values[order]
    ones = np.ones(len(xs), dtype=np.int64)
    return Envelope(key, xs, xs, ys, ys, ys, ones, np.isnan(ys).astype(np.int64))


def _within(envelope: Envelope, start: Scalar | None, end: Scalar | None) -> Envelope:
    """Return the buckets that lie at least partly in a range."""
    kept: Any = np.ones(len(envelope), dtype=bool)
    if start is not None:
        kept &= envelope.last_steps >= start
    if end is not None:
        kept &= envelope.first_steps <= end
    return envelope if kept.all() else envelope.take(kept)


def _some(places: Floats) -> list[float]:
    """Return up to MOST_MARKS of some places, spread over all of them."""
    if len(places) > MOST_MARKS:
        places = places[np.linspace(0, len(places) - 1, MOST_MARKS).astype(np.int64)]
    return [float(place) for place in places]


def _regular(steps: Any) -> tuple[float | None, float | None]:
    """Return the first step and the stride if all steps have the same distance, else None twice."""
    if len(steps) < 3:
        return None, None
    stride = steps[1] - steps[0]
    return (
        (float(steps[0]), float(stride)) if bool((np.diff(steps) == stride).all()) else (None, None)
    )


def _is_merged(envelope: Envelope) -> bool:
    """Return whether a bucket of an envelope has more than one point, so that the points are not known."""
    return bool((envelope.counts > 1).any())


def _packed(values: Any, kind: str) -> bytes:
    packed: bytes = np.ascontiguousarray(values, dtype=kind).tobytes()
    return packed + bytes(-len(packed) % 8)


def grid(envelope: Envelope, low: float, high: float, columns: int) -> tuple[Floats, Floats]:
    """Return the least and greatest value in each column; NaN where a column has no point.

    A bucket that spans several columns counts in each of them.

    Args:
        envelope: the buckets of a curve.
        low: the step at the left border of the first column.
        high: the step at the right border of the last column.
        columns: the number of columns.
    """
    width = (high - low) / columns or 1.0
    first = np.clip(((envelope.first_steps - low) / width).astype(np.int64), 0, columns - 1)
    last = np.clip(((envelope.last_steps - low) / width).astype(np.int64), 0, columns - 1)
    spans: Any = last - first + 1
    begins: Any = first - np.concatenate(([0], np.cumsum(spans)[:-1]))
    places: Any = np.add(np.repeat(begins, spans), np.arange(int(spans.sum())))
    minimum, maximum = np.full(columns, np.inf), np.full(columns, -np.inf)
    np.fmin.at(minimum, places, np.repeat(envelope.min, spans))
    np.fmax.at(maximum, places, np.repeat(envelope.max, spans))
    reached = np.zeros(columns, dtype=bool)
    reached[places] = True
    empty = ~reached | (minimum > maximum)
    minimum[empty] = np.nan
    maximum[empty] = np.nan
    return minimum, maximum
