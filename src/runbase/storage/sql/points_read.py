"""Read points: a metric's blocks as NumPy arrays."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from runbase.errors import NotFound, suggestion
from runbase.model import Scalar, Series
from runbase.storage.arrays import decode_numbers
from runbase.storage.sql import archived_blocks
from runbase.storage.sql.session import Session
from runbase.values import plain_text, stored_key

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
    if row["archived"]:
        rows = [
            *archived_blocks.of_series(session, run, plain_text(key), kind, start, end),
            *rows,
        ]
    return _series(key, rows, start, end, every)


def many(
    session: Session,
    runs: Sequence[str],
    keys: Sequence[str] | None,
    kind: str = "metric",
    *,
    every: bool = False,
) -> dict[tuple[str, str], Series]:
    """Return the points of many metrics of many runs, by run and key, in one query.

    Of a step, the latest point counts, or all with `every`. Telemetry has times instead of steps, so all of it is returned.
    """
    rows = session.arrays(
        "blocks_of_runs",
        runs=session.as_list(runs),
        kind=kind,
        keys=session.as_list([stored_key(plain_text(key)) for key in keys or []]),
        all=int(keys is None),
    )
    names = None if keys is None else {plain_text(key) for key in keys}
    blocks = archived_blocks.of_runs(session, dict.fromkeys(runs, names), kind)
    for row in rows:
        blocks.setdefault((row["run_id"], row["key"]), []).append(row)
    return {
        (run, key): _series(key, rows_of_series, None, None, every or kind == "telemetry")
        for (run, key), rows_of_series in sorted(blocks.items())
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


def _find(session: Session, run: str, key: str, kind: str) -> Any:
    found = session.row("series_of_key", run=run, kind=kind, key=key)
    if found is None:
        raise missing(session, run, key, kind)
    return found


def _arrays(
    rows: Sequence[Any],
) -> "tuple[NDArray[Any], NDArray[np.float64], NDArray[np.float64]]":
    import numpy as np

    steps: list[NDArray[Any]] = []
    times: list[NDArray[np.float64]] = []
    values: list[NDArray[np.float64]] = []
    for row in rows:
        steps.append(steps_of(row))
        times.append(numbers_of(row["times"]) * 1e-6 + row["first_time"])
        values.append(numbers_of(row["numbers"]))
    return np.concatenate(steps), np.concatenate(times), np.concatenate(values)


def missing(session: Session, run: str, key: str, kind: str) -> NotFound:
    """Return the error for a metric that a run has not logged."""
    keys = [row["key"] for row in session.rows("keys_of_run", run=run, kind=kind)]
    none = "; it has logged none" if not keys else suggestion(key, keys)
    return NotFound(f"the run has no {kind} {key!r}{none}")


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
    return np.array(decode_numbers(text), dtype=np.float64)
