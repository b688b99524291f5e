"""Read points: a metric's blocks as NumPy arrays, or as an envelope for a chart."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from runbase.errors import NotFound, UsageError, suggestion
from runbase.model import Envelope, Scalar, Series
from runbase.storage.sql.points_write import statistics
from runbase.storage.sql.session import Session
from runbase.values import plain_text, stored_key

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POINTS_PER_BUCKET = 256
"""From this many points per bucket, blocks of up to 1,024 points are used as buckets, without reading their points."""

_floats = msgspec.json.Decoder(list[float]).decode
_numbers = msgspec.json.Decoder(list[int | float]).decode


def series(
    session: Session,
    run: str,
    key: str,
    start: Scalar | None = None,
    end: Scalar | None = None,
    *,
    every: bool = False,
    kind: str = "metric",
) -> Series:
    """Return the points of a metric between two steps, both included, by step.

    Of several points with one step, the latest is returned, or all of them with `every`.
    """
    row = _find(session, run, key, kind)
    rows = session.arrays("read_blocks", series=row["id"], start=start, stop=end)
    return _series(key, rows, start, end, every)


def many(
    session: Session, runs: Sequence[str], keys: Sequence[str] | None, kind: str = "metric"
) -> dict[tuple[str, str], Series]:
    """Return all points of many metrics of many runs, by run and key, in one query."""
    rows = session.arrays(
        "blocks_of_runs",
        runs=session.as_list(runs),
        kind=kind,
        keys=session.as_list([stored_key(plain_text(key)) for key in keys or []]),
        all=int(keys is None),
    )
    blocks: dict[tuple[str, str], list[Any]] = {}
    for row in rows:
        blocks.setdefault((row["run_id"], row["key"]), []).append(row)
    return {
        (run, key): _series(key, rows_of_series, None, None, False)
        for (run, key), rows_of_series in blocks.items()
    }


def _series(
    key: str, rows: list[Any], start: Scalar | None, end: Scalar | None, every: bool
) -> Series:
    import numpy as np

    if not rows:
        empty = np.empty(0, dtype=np.float64)
        return Series(key, np.empty(0, dtype=np.int64), empty, empty)
    steps, times, values = _arrays(rows)
    if start is not None or end is not None:
        low = steps.min() if start is None else start
        high = steps.max() if end is None else end
        kept = (steps >= low) & (steps <= high)
        steps, times, values = steps[kept], times[kept], values[kept]
    if len(steps) > 1 and not bool((steps[1:] > steps[:-1]).all()):
        order = np.lexsort((times, steps))
        steps, times, values = steps[order], times[order], values[order]
        if not every:
            latest = np.append(steps[1:] != steps[:-1], True)
            steps, times, values = steps[latest], times[latest], values[latest]
    return Series(key, steps, times, values)


def envelope(
    session: Session,
    run: str,
    key: str,
    start: Scalar | None = None,
    end: Scalar | None = None,
    resolution: int = 1000,
    kind: str = "metric",
) -> Envelope:
    """Return least, greatest and mean value in at most `resolution` buckets of consecutive points.

    With many points per bucket, whole blocks are combined from their stored statistics. Points are read only of blocks that
    are partly outside the range.
    """
    if resolution < 1:
        raise UsageError(f"resolution is {resolution}, and a chart needs at least one bucket")
    found = _find(session, run, key, kind)
    rows = session.rows("block_statistics", series=found["id"], start=start, stop=end)
    if sum(row["count"] for row in rows) < POINTS_PER_BUCKET * resolution:
        points = series(session, run, key, start, end, every=True, kind=kind)
        return _from_points(points, resolution)
    blocks = [_whole_or_cut(session, row, start, end) for row in rows]
    return _from_blocks(key, [block for block in blocks if block is not None], resolution)


def _whole_or_cut(
    session: Session, row: Any, start: Scalar | None, end: Scalar | None
) -> tuple[Any, ...] | None:
    """Return a block's statistics; if an end of the range is inside the block, those of the part in the range."""
    low, high = row["lowest_step"], row["highest_step"]
    if (start is None or low >= start) and (end is None or high <= end):
        return tuple(row)[:7]
    block = session.arrays("read_block", series=row["series_id"], group=row["group_id"])
    steps, _, values = _arrays(block)
    kept = (steps >= (low if start is None else start)) & (steps <= (high if end is None else end))
    if not kept.any():
        return None
    figures = statistics(values[kept].tolist())
    names = ("count", "nans", "min", "max", "sum")
    return (steps[kept].min(), steps[kept].max(), *(figures[name] for name in names))


def _find(session: Session, run: str, key: str, kind: str) -> Any:
    found = session.row("series_of_key", run=run, kind=kind, key=key)
    if found is None:
        keys = [row["key"] for row in session.rows("keys_of_run", run=run, kind=kind)]
        none = "; it has logged none" if not keys else suggestion(key, keys)
        raise NotFound(f"the run has no {kind} {key!r}{none}")
    return found


def _arrays(
    rows: Sequence[Any],
) -> "tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]":
    import numpy as np

    steps: list[NDArray[Any]] = []
    times: list[NDArray[np.float64]] = []
    values: list[NDArray[np.float64]] = []
    for row in rows:
        if row["steps"] is None:
            count = cast("int", row["count"])
            steps.append(row["first_step"] + np.arange(count) * row["stride"])
        else:
            held = row["steps"]
            steps.append(np.array(_numbers(held) if isinstance(held, str) else held))
        times.append(_values(row["times"]) * 1e-6 + row["first_time"])
        values.append(_values(row["numbers"]))
    return np.concatenate(steps), np.concatenate(times), np.concatenate(values)


def _values(text: Any) -> "NDArray[np.float64]":
    """Return an array of a row, which is JSON text if the dialect has no arrays."""
    import numpy as np

    if not isinstance(text, str):
        return text
    try:
        return np.array(_floats(text), dtype=np.float64)
    except (msgspec.ValidationError, msgspec.DecodeError):  # null is NaN, and 9e999 is infinity
        return np.array(json.loads(text), dtype=np.float64)


def _from_points(points: Series, resolution: int) -> Envelope:
    import numpy as np

    count = len(points)
    buckets = min(resolution, count)
    # Bucket i begins at floor(i * count / buckets): the numbers of points differ by at most one.
    starts = np.arange(buckets) * count // max(buckets, 1)
    ends = np.append(starts[1:], count) - 1
    if not count:
        none = np.empty(0)
        return Envelope(points.key, none, none, none, none, none, starts)
    missing = np.isnan(points.values)
    numbers = np.add.reduceat(~missing, starts, dtype=np.int64)
    with np.errstate(invalid="ignore", divide="ignore"):
        sums = np.add.reduceat(np.where(missing, 0.0, points.values), starts)
        mean = np.where(numbers > 0, sums / numbers, np.nan)
    return Envelope(
        points.key,
        points.steps[starts].astype(np.float64),
        points.steps[ends].astype(np.float64),
        np.fmin.reduceat(points.values, starts),
        np.fmax.reduceat(points.values, starts),
        mean,
        ends - starts + 1,
    )


def _from_blocks(key: str, rows: Sequence[tuple[Any, ...]], resolution: int) -> Envelope:
    import numpy as np

    table = np.array(rows, dtype=np.float64)  # None becomes NaN
    lowest, highest, counts, nans, least, greatest, sums = table.T
    buckets = min(resolution, len(table))
    starts = np.arange(buckets) * len(table) // buckets
    numbers = np.add.reduceat(counts - nans, starts)
    with np.errstate(invalid="ignore", divide="ignore"):
        totals = np.add.reduceat(np.where(np.isnan(sums), 0.0, sums), starts)
        mean = np.where(numbers > 0, totals / numbers, np.nan)
    return Envelope(
        key,
        np.minimum.reduceat(lowest, starts),
        np.maximum.reduceat(highest, starts),
        np.fmin.reduceat(least, starts),
        np.fmax.reduceat(greatest, starts),
        mean,
        np.add.reduceat(counts, starts).astype(np.int64),
    )
