"""Read metrics as envelopes for charts: from points if there are few, else from outlines.

All curves of a chart are read together. A curve is summarized from its pieces (see `outlines`), from the points of blocks
that are not full, and from the points of pieces that are partly outside the range.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec
from msgspec import Struct

from runbase.errors import NotFound, UsageError, suggestion
from runbase.model import Envelope, Scalar
from runbase.storage.sql.outlines import BLOCK, BOUNDS, PIECES
from runbase.storage.sql.session import Session
from runbase.values import plain_text, stored_key

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POINTS_PER_BUCKET = 64
"""Up to this many points per bucket, a curve is made from its points."""
MOST_POINTS = 400_000
"""Points that all curves of a chart read together; a curve reads at least two points per bucket."""

_floats = msgspec.json.Decoder(list[float]).decode
_numbers = msgspec.json.Decoder(list[int | float]).decode
_integers = msgspec.json.Decoder(list[int]).decode


class Curve(Struct, frozen=True):
    """A metric to be read: its run, key, id, and number of points."""

    run: str
    key: str
    series: int
    count: int


class _Pieces(Struct):
    """Parts of a curve: the range of steps of each, its numbers of points and NaN, and its figures."""

    lows: "NDArray[np.float64]"
    highs: "NDArray[np.float64]"
    counts: "NDArray[np.int64]"
    nans: "NDArray[np.int64]"
    least: "NDArray[np.float64]"
    greatest: "NDArray[np.float64]"
    means: "NDArray[np.float64]"
    groups: "NDArray[np.int64]"
    """The group of each piece; -1 for points that are at hand."""
    firsts: "NDArray[np.int64]"
    """The place of its first point in its block."""


def read(
    session: Session,
    curves: Sequence[tuple[str, str]],
    start: Scalar | None = None,
    end: Scalar | None = None,
    resolution: int = 1000,
    kind: str = "metric",
) -> list[Envelope]:
    """Return least, greatest and mean value in at most `resolution` buckets of consecutive points.

    Args:
        session: a session inside a transaction.
        curves: (run, key) of each metric.
        start: the first step. Default: no bound.
        end: the last step. Default: no bound.
        resolution: the largest number of buckets of a curve.
        kind: metric or telemetry.

    Raises:
        NotFound: a run has not logged a metric.
    """
    if resolution < 1:
        raise UsageError(f"resolution is {resolution}, and a chart needs at least one bucket")
    found = _find(session, curves, kind)
    few = max(2 * resolution, min(POINTS_PER_BUCKET * resolution, MOST_POINTS // len(found)))
    long = [curve for curve in found if curve.count > few]
    outlined = _outlines(session, long, start, end) if long else {}
    return [
        _from_outline(session, curve, outlined[curve.series], start, end, few, resolution)
        if curve.series in outlined
        else _from_points(curve.key, *_points(session, curve.series, start, end), resolution)
        for curve in found
    ]


def unoutlined(
    session: Session, curves: Sequence[tuple[str, str]], kind: str = "metric"
) -> list[tuple[str, int]]:
    """Return (run, series) of the metrics among these that still need an outline."""
    found = {curve.series: curve for curve in _find(session, curves, kind)}
    rows = session.rows("unoutlined_of", series=session.as_list([*found]))
    return [(found[row["series_id"]].run, row["series_id"]) for row in rows]


def _find(session: Session, curves: Sequence[tuple[str, str]], kind: str) -> list[Curve]:
    plain = [(run, plain_text(key)) for run, key in curves]
    rows = session.rows(
        "series_of_keys",
        runs=session.as_list([*{run for run, _ in plain}]),
        kind=kind,
        keys=session.as_list([stored_key(key) for key in {key for _, key in plain}]),
    )
    known = {(row["run_id"], row["key"]): row for row in rows}
    for run, key in plain:
        if (run, key) not in known:
            raise missing(session, run, key, kind)
    return [
        Curve(run, original, known[run, key]["id"], known[run, key]["count"])
        for (run, key), (_, original) in zip(plain, curves, strict=True)
    ]


def missing(session: Session, run: str, key: str, kind: str) -> NotFound:
    """Return the error for a metric that a run has not logged."""
    keys = [row["key"] for row in session.rows("keys_of_run", run=run, kind=kind)]
    none = "; it has logged none" if not keys else suggestion(key, keys)
    return NotFound(f"the run has no {kind} {key!r}{none}")


def _outlines(
    session: Session, curves: Sequence[Curve], start: Scalar | None, end: Scalar | None
) -> dict[int, tuple[list[Any], list[Any]]]:
    """Return the rows of outlines, and the blocks that are not full, of the metrics that have an outline."""
    series = session.as_list([curve.series for curve in curves])
    runs = session.as_list([*{curve.run for curve in curves}])
    found: dict[int, tuple[list[Any], list[Any]]] = {
        row["series_id"]: ([], []) for row in session.rows("outlined_of", series=series)
    }
    for row in session.arrays("outlines_of", series=series, start=start, stop=end):
        if row["series_id"] in found:
            found[row["series_id"]][0].append(row)
    for row in session.arrays("partial_blocks", runs=runs, series=series, start=start, stop=end):
        if row["series_id"] in found:
            found[row["series_id"]][1].append(row)
    return found


def _from_outline(
    session: Session,
    curve: Curve,
    rows: tuple[list[Any], list[Any]],
    start: Scalar | None,
    end: Scalar | None,
    few: int,
    resolution: int,
) -> Envelope:
    import numpy as np

    outline, partial = rows
    steps, values = _between(*_arrays(partial), start, end)
    low = -np.inf if start is None else start
    high = np.inf if end is None else end
    pieces = _decoded(outline, resolution)
    if pieces is not None:
        pieces = _chosen(pieces, (pieces.highs >= low) & (pieces.lows <= high))
    if pieces is None or int(pieces.counts.sum()) + len(steps) <= few:
        groups = [] if pieces is None else [int(group) for group in np.unique(pieces.groups)]
        more_steps, more_values = _between(*_blocks(session, curve.series, groups), start, end)
        steps, values = np.concatenate([more_steps, steps]), np.concatenate([more_values, values])
        return _from_points(curve.key, steps, values, resolution)
    whole = (pieces.lows >= low) & (pieces.highs <= high)
    parts = [pieces]
    if not whole.all():
        parts = [_chosen(pieces, whole), *_cut(session, curve, pieces, ~whole, start, end)]
    if len(steps):
        parts.append(_made(steps, values))
    parts = sorted((part for part in parts if len(part.lows)), key=lambda part: part.lows[0])
    return _bucketed(curve.key, _joined(parts), resolution)


def _cut(
    session: Session,
    curve: Curve,
    pieces: _Pieces,
    chosen: "NDArray[np.bool_]",
    start: Scalar | None,
    end: Scalar | None,
) -> list[_Pieces]:
    """Return the parts of pieces that are in the range, from their points."""
    import numpy as np

    groups, firsts = pieces.groups[chosen], pieces.firsts[chosen]
    ends = firsts + pieces.counts[chosen]
    rows = session.arrays(
        "chosen_blocks",
        series=curve.series,
        groups=session.as_list(np.unique(groups).tolist()),
    )
    blocks = {row["group_id"]: _arrays([row]) for row in rows}
    parts: list[_Pieces] = []
    for group, first, last in zip(groups.tolist(), firsts.tolist(), ends.tolist(), strict=True):
        steps, values = (array[first:last] for array in blocks[group])
        steps, values = _between(steps, values, start, end)
        if len(steps):
            parts.append(_made(steps, values))
    return parts


def _decoded(rows: Sequence[Any], resolution: int) -> _Pieces | None:
    """Return the pieces of rows of an outline; None if there are none. Of very many, those of a block are combined."""
    import numpy as np

    if not rows:
        return None
    kind = np.dtype([("least", "<f8"), ("greatest", "<f8"), ("mean", "<f4")])
    packed = np.frombuffer(b"".join([row["pieces"] for row in rows]), dtype=kind)
    blocks = np.array([row["blocks"] for row in rows])
    counts = np.tile(np.diff(BOUNDS), int(blocks.sum()))
    nans = np.zeros(len(packed), dtype=np.int64)
    if any(row["nans"] is not None for row in rows):
        known = [
            bytes(row["blocks"] * PIECES) if row["nans"] is None else row["nans"] for row in rows
        ]
        nans = np.frombuffer(b"".join(known), dtype=np.uint8).astype(np.int64)
    least, greatest = packed["least"].astype(np.float64), packed["greatest"].astype(np.float64)
    means = np.clip(packed["mean"].astype(np.float64), least, greatest)
    each, bounds = PIECES, np.array(BOUNDS)
    if blocks.sum() > 4 * resolution:
        each, bounds = 1, np.array([0, BLOCK])
        numbers = counts - nans
        with np.errstate(invalid="ignore", divide="ignore"):
            sums = np.where(numbers > 0, means * numbers, 0.0).reshape(-1, PIECES).sum(axis=1)
            means = sums / numbers.reshape(-1, PIECES).sum(axis=1)
        least = np.fmin.reduce(least.reshape(-1, PIECES), axis=1)
        greatest = np.fmax.reduce(greatest.reshape(-1, PIECES), axis=1)
        counts, nans = (array.reshape(-1, PIECES).sum(axis=1) for array in (counts, nans))
    lows, highs, firsts = _steps_of_pieces(rows, blocks, each, bounds)
    groups = np.array([group for row in rows for group in _integers(row["group_ids"])])
    return _Pieces(
        lows, highs, counts, nans, least, greatest, means, np.repeat(groups, each), firsts
    )


def _steps_of_pieces(
    rows: Sequence[Any], blocks: "NDArray[np.int64]", each: int, bounds: "NDArray[np.int64]"
) -> "tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]":
    """Return the least and the greatest step of each piece, and the place of its first point in its block."""
    import numpy as np

    sizes = blocks * each
    place = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    piece, begins = place % each, place // each * BLOCK
    first_steps = np.array([row["first_step"] for row in rows], dtype=np.float64).repeat(sizes)
    strides = np.array([row["stride"] for row in rows], dtype=np.float64).repeat(sizes)
    one = first_steps + strides * (begins + bounds[piece])
    other = first_steps + strides * (begins + bounds[piece + 1] - 1)
    lows, highs = np.minimum(one, other), np.maximum(one, other)
    for row, end in zip(rows, np.cumsum(sizes).tolist(), strict=True):
        if row["steps"] is not None:
            held = np.array(_numbers(row["steps"]), dtype=np.float64).reshape(-1, PIECES, 2)
            if each == 1:
                held = np.stack([held[..., 0].min(axis=1), held[..., 1].max(axis=1)], axis=-1)
            part = slice(end - row["blocks"] * each, end)
            lows[part], highs[part] = held[..., 0].ravel(), held[..., 1].ravel()
    return lows, highs, bounds[piece]


def _made(steps: "NDArray[Any]", values: "NDArray[np.float64]") -> _Pieces:
    """Return points as pieces of up to 73 points."""
    import numpy as np

    starts = np.arange(0, len(steps), BLOCK // PIECES)
    counts = np.diff(np.append(starts, len(steps)))
    missing = np.isnan(values)
    nans = np.add.reduceat(missing, starts, dtype=np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.add.reduceat(np.where(missing, 0.0, values), starts) / (counts - nans)
    return _Pieces(
        np.minimum.reduceat(steps, starts).astype(np.float64),
        np.maximum.reduceat(steps, starts).astype(np.float64),
        counts,
        nans,
        np.fmin.reduceat(values, starts),
        np.fmax.reduceat(values, starts),
        means,
        np.full(len(starts), -1),
        starts,
    )


def _chosen(pieces: _Pieces, kept: "NDArray[Any]") -> _Pieces:
    """Return the pieces at some places: a mask, or an order. Views suffice if they follow each other."""
    import numpy as np

    part: Any = kept
    if kept.dtype == np.bool_ and len(places := np.flatnonzero(kept)):
        first, last = int(places[0]), int(places[-1]) + 1
        if len(places) == len(kept):
            return pieces
        if len(places) == last - first:
            part = slice(first, last)
    return _Pieces(*(getattr(pieces, name)[part] for name in pieces.__struct_fields__))


def _joined(parts: Sequence[_Pieces]) -> _Pieces:
    import numpy as np

    if len(parts) == 1:
        return parts[0]
    names = parts[0].__struct_fields__
    return _Pieces(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _bucketed(key: str, pieces: _Pieces, resolution: int) -> Envelope:
    """Combine consecutive pieces."""
    import numpy as np

    size = len(pieces.lows)
    if size > 1 and not bool((pieces.lows[1:] >= pieces.lows[:-1]).all()):
        pieces = _chosen(pieces, np.argsort(pieces.lows, kind="stable"))
    buckets = min(resolution, size)
    starts = np.arange(buckets) * size // max(buckets, 1)
    numbers = pieces.counts - pieces.nans
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = np.add.reduceat(np.where(numbers > 0, pieces.means * numbers, 0.0), starts)
        total = np.add.reduceat(numbers, starts)
        least, greatest = (
            np.fmin.reduceat(pieces.least, starts),
            np.fmax.reduceat(pieces.greatest, starts),
        )
        mean = np.clip(np.where(total > 0, sums / total, np.nan), least, greatest)
    return Envelope(
        key,
        np.minimum.reduceat(pieces.lows, starts),
        np.maximum.reduceat(pieces.highs, starts),
        least,
        greatest,
        mean,
        np.add.reduceat(pieces.counts, starts),
    )


def _from_points(
    key: str, steps: "NDArray[Any]", values: "NDArray[np.float64]", resolution: int
) -> Envelope:
    import numpy as np

    count = len(steps)
    if not count:
        none = np.empty(0)
        return Envelope(key, none, none, none, none, none, np.empty(0, dtype=np.int64))
    if count > 1 and not bool((steps[1:] > steps[:-1]).all()):
        order = np.argsort(steps, kind="stable")
        steps, values = steps[order], values[order]
    buckets = min(resolution, count)
    # Bucket i begins at floor(i * count / buckets): the numbers of points differ by at most one.
    starts = np.arange(buckets) * count // buckets
    ends = np.append(starts[1:], count) - 1
    missing = np.isnan(values)
    numbers = np.add.reduceat(~missing, starts, dtype=np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = np.add.reduceat(np.where(missing, 0.0, values), starts)
        mean = np.where(numbers > 0, sums / numbers, np.nan)
    least, greatest = np.fmin.reduceat(values, starts), np.fmax.reduceat(values, starts)
    return Envelope(
        key,
        steps[starts].astype(np.float64),
        steps[ends].astype(np.float64),
        least,
        greatest,
        np.clip(mean, least, greatest),  # a sum is rounded
        ends - starts + 1,
    )


def _points(
    session: Session, series: int, start: Scalar | None, end: Scalar | None
) -> "tuple[NDArray[Any], NDArray[np.float64]]":
    rows = session.arrays("numbers_of_series", series=series, start=start, stop=end)
    return _between(*_arrays(rows), start, end)


def _blocks(
    session: Session, series: int, groups: Sequence[int]
) -> "tuple[NDArray[Any], NDArray[np.float64]]":
    rows: list[Any] = []
    if groups:
        rows = session.arrays("chosen_blocks", series=series, groups=session.as_list([*groups]))
    return _arrays(rows)


def _between(
    steps: "NDArray[Any]", values: "NDArray[np.float64]", start: Scalar | None, end: Scalar | None
) -> "tuple[NDArray[Any], NDArray[np.float64]]":
    if (start is None and end is None) or not len(steps):
        return steps, values
    kept = (steps >= (steps.min() if start is None else start)) & (
        steps <= (steps.max() if end is None else end)
    )
    return steps[kept], values[kept]


def _arrays(rows: Sequence[Any]) -> "tuple[NDArray[Any], NDArray[np.float64]]":
    """Return steps and values of blocks, as they were logged."""
    import numpy as np

    if not rows:
        return np.empty(0, dtype=np.int64), np.empty(0)
    return (
        np.concatenate([steps_of(row) for row in rows]),
        np.concatenate([numbers_of(row["numbers"]) for row in rows]),
    )


def steps_of(row: Mapping[str, Any]) -> "NDArray[Any]":
    """Return the steps of a group."""
    import numpy as np

    if row["steps"] is None:
        return row["first_step"] + np.arange(cast("int", row["count"])) * row["stride"]
    held = row["steps"]
    return np.array(_numbers(held) if isinstance(held, str) else held)


def numbers_of(text: Any) -> "NDArray[np.float64]":
    """Return an array of a row, which is JSON text if the dialect has no arrays."""
    import numpy as np

    if not isinstance(text, str):
        return text
    try:
        return np.array(_floats(text), dtype=np.float64)
    except (msgspec.ValidationError, msgspec.DecodeError):  # null is NaN, and 9e999 is infinity
        return np.array(json.loads(text), dtype=np.float64)
