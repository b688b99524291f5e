"""Curves in binary form: per pixel column the least and greatest value, or exact points where there are few.

The body is `RBC1`, the length of a JSON header as u32, the header, zeros up to a multiple of 8 bytes, and then for each curve
either `min` and `max` as f32[columns] (form `grid`; NaN: no point in the column) or `x` and `y` as f64[n] (form `points`). Regular
steps, `first + stride * i`, are in the header instead of `x`.
All numbers are little endian. Each point lies in a column that is drawn, so no outlier is hidden.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from runbase.model import Envelope, Scalar
from runbase.storage.protocol import Storage

MEDIA_TYPE = "application/vnd.runbase.curves"
MAGIC = b"RBC1"
MOST_CURVES = 500
MOST_COLUMNS = 2000
Floats = np.ndarray[Any, np.dtype[np.float64]]


class CurveHeader(Struct, frozen=True):
    """What a curve of the body is.

    Attributes:
        form: `grid` or `points`.
        count: the number of points in the range, NaN included.
        shown: the length of each of its two arrays.
        nans: how many of the points are NaN.
        last: the last step in the range, or null.
        first: of points with regular steps: the first step; then there is no array `x`.
        stride: the distance of two steps.
    """

    run: str
    key: str
    form: str
    count: int
    shown: int
    nans: int
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
) -> bytes:
    """Return curves as the body of an answer.

    Args:
        storage: the storage.
        series: for each curve its run's id and the name of the metric.
        columns: the number of pixel columns.
        start: the first step. Default: the first of all curves.
        end: the last step.
    """
    envelopes = storage.envelopes(list(series), start, end, columns) if series else []
    lows = [float(e.first_steps[0]) for e in envelopes if len(e)]
    highs = [float(e.last_steps[-1]) for e in envelopes if len(e)]
    low = float(start) if start is not None else min(lows, default=0.0)
    high = float(end) if end is not None else max(highs, default=1.0)
    headers: list[CurveHeader] = []
    arrays: list[bytes] = []
    for (run, key), envelope in zip(series, envelopes, strict=True):
        count = int(envelope.counts.sum())
        last = float(envelope.last_steps[-1]) if len(envelope) else None
        if count <= 2 * columns:
            points = storage.series(run, key, start, end) if _is_merged(envelope) else None
            x = envelope.first_steps if points is None else points.steps
            y = envelope.min if points is None else points.values
            nans = int(np.isnan(y).sum())
            regular = _regular(x)
            headers.append(CurveHeader(run, key, "points", count, len(x), nans, last, *regular))
            arrays += [_packed(x, "<f8")] if regular[0] is None else []
            arrays.append(_packed(y, "<f8"))
        else:
            minimum, maximum = grid(envelope, low, high, columns)
            nans = int(envelope.counts[np.isnan(envelope.min)].sum())
            headers.append(CurveHeader(run, key, "grid", count, columns, nans, last))
            arrays += [_packed(minimum, "<f4"), _packed(maximum, "<f4")]
    header = msgspec.json.encode(CurvesHeader("step", low, high, columns, headers))
    head = MAGIC + len(header).to_bytes(4, "little") + header
    return b"".join([head, bytes(-len(head) % 8), *arrays])


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
