"""Read metrics as envelopes for charts: from points if there are few, else from outlines.

All curves of a chart are read together. A curve is summarized from its pieces (see `outlines`), from the points of blocks
that are not full, and from the points of pieces that are partly outside the range.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runbase.errors import UsageError
from runbase.model import Envelope, Scalar
from runbase.storage.sql import archived_blocks
from runbase.storage.sql.pieces import (
    Pieces,
    decoded,
    envelope_of_pieces,
    envelope_of_points,
    joined,
    of_points,
    select,
)
from runbase.storage.sql.points_read import missing, numbers_of, steps_of
from runbase.storage.sql.session import Session
from runbase.values import plain_text, stored_key

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

POINTS_PER_BUCKET = 64
"""Up to this many points per bucket, a curve is made from its points."""
MOST_POINTS = 400_000
"""Points that all curves of a chart read together; a curve reads at least two points per bucket."""


class Curve(Struct, frozen=True):
    """A metric to be read: its run, kind, key, id, and number of points, and whether its run is archived."""

    run: str
    kind: str
    key: str
    series: int
    count: int
    archived: bool


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
    plain = [curve for curve in found if curve.series not in outlined]
    archived = _archived(session, plain, start, end)
    for curve, rows in _archived(
        session, [curve for curve in long if curve.series in outlined], start, end, partial=True
    ).items():
        outlined[curve.series][1].extend(rows)
    return [
        _from_outline(session, curve, outlined[curve.series], start, end, few, resolution)
        if curve.series in outlined
        else envelope_of_points(
            curve.key, *_points(session, curve, archived.get(curve, []), start, end), resolution
        )
        for curve in found
    ]


def _archived(
    session: Session,
    curves: Sequence[Curve],
    start: Scalar | None,
    end: Scalar | None,
    *,
    partial: bool = False,
) -> dict[Curve, list[Any]]:
    """Return the blocks of curves that are in archives, `partial`: those that are not full."""
    chosen = [curve for curve in curves if curve.archived]
    if not chosen:
        return {}
    rows = archived_blocks.of_runs(
        session, _keys_by_run(chosen), chosen[0].kind, start, end, partial=partial, times=False
    )
    return {curve: rows.get((curve.run, plain_text(curve.key)), []) for curve in chosen}


def _keys_by_run(curves: Sequence[Curve]) -> dict[str, set[str]]:
    keys: dict[str, set[str]] = {}
    for curve in curves:
        keys.setdefault(curve.run, set()).add(plain_text(curve.key))
    return keys


def clocks(
    session: Session, curves: Sequence[tuple[str, str]], kind: str = "metric"
) -> list[tuple[list[float], list[float]]]:
    """Return steps and times of metrics: those of the first call of each group, and the last."""

    found = _find(session, curves, kind)
    series = session.as_list([*{curve.series for curve in found}])
    known: dict[int, list[tuple[float, float]]] = {}
    for row in session.rows("clocks_of_series", series=series):
        known.setdefault(row["series_id"], []).append((row["lowest_step"], row["first_time"]))
    archived = [curve for curve in found if curve.archived]
    pairs = archived_blocks.clocks(session, _keys_by_run(archived), kind) if archived else {}
    for curve in {curve.series: curve for curve in archived}.values():
        more = pairs.get((curve.run, plain_text(curve.key)), [])
        known[curve.series] = sorted([*more, *known.get(curve.series, [])])
    for row in session.rows("ends_of_series", series=series):
        known.setdefault(row["series_id"], []).append((row["last_step"], row["last_time"]))
    return [_clock(known.get(curve.series, [])) for curve in found]


def _clock(pairs: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    """Return steps and times of pairs. A time is at least the one before: clocks of machines differ."""
    steps = [float(step) for step, _ in pairs]
    return steps, list(accumulate((float(time) for _, time in pairs), max))


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
        Curve(run, kind, original, row["id"], row["count"], bool(row["archived"]))
        for (run, key), (_, original) in zip(plain, curves, strict=True)
        for row in [known[run, key]]
    ]


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
    pieces = decoded(outline, resolution)
    if pieces is not None:
        pieces = select(pieces, (pieces.highs >= low) & (pieces.lows <= high))
    if pieces is None or int(pieces.counts.sum()) + len(steps) <= few:
        groups = [] if pieces is None else [int(group) for group in np.unique(pieces.groups)]
        more_steps, more_values = _between(*_arrays(_chosen(session, curve, groups)), start, end)
        steps, values = np.concatenate([more_steps, steps]), np.concatenate([more_values, values])
        return envelope_of_points(curve.key, steps, values, resolution)
    whole = (pieces.lows >= low) & (pieces.highs <= high)
    parts = [pieces]
    if not whole.all():
        parts = [select(pieces, whole), *_cut(session, curve, pieces, ~whole, start, end)]
    if len(steps):
        parts.append(of_points(steps, values))
    parts = sorted((part for part in parts if len(part.lows)), key=lambda part: part.lows[0])
    return envelope_of_pieces(curve.key, joined(parts), resolution)


def _cut(
    session: Session,
    curve: Curve,
    pieces: Pieces,
    chosen: "NDArray[np.bool_]",
    start: Scalar | None,
    end: Scalar | None,
) -> list[Pieces]:
    """Return the parts of pieces that are in the range, from their points."""
    import numpy as np

    groups, firsts = pieces.groups[chosen], pieces.firsts[chosen]
    ends = firsts + pieces.counts[chosen]
    rows = _chosen(session, curve, np.unique(groups).tolist())
    blocks = {row["group_id"]: _arrays([row]) for row in rows}
    parts: list[Pieces] = []
    for group, first, last in zip(groups.tolist(), firsts.tolist(), ends.tolist(), strict=True):
        steps, values = (array[first:last] for array in blocks[group])
        steps, values = _between(steps, values, start, end)
        if len(steps):
            parts.append(of_points(steps, values))
    return parts


def _points(
    session: Session,
    curve: Curve,
    archived: Sequence[Any],
    start: Scalar | None,
    end: Scalar | None,
) -> "tuple[NDArray[Any], NDArray[np.float64]]":
    rows = session.arrays("numbers_of_series", series=curve.series, start=start, stop=end)
    return _between(*_arrays([*archived, *rows]), start, end)


def _chosen(session: Session, curve: Curve, groups: Sequence[int]) -> list[Any]:
    """Return the blocks of a curve in some groups."""
    if not groups:
        return []
    rows = session.arrays("chosen_blocks", series=curve.series, groups=session.as_list([*groups]))
    if curve.archived and len(rows) < len(groups):
        key = plain_text(curve.key)
        wanted = set(groups) - {row["group_id"] for row in rows}
        found = archived_blocks.of_runs(
            session, {curve.run: [key]}, curve.kind, groups=wanted, times=False
        )
        rows = [*found.get((curve.run, key), []), *rows]
    return rows


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
