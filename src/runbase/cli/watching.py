"""The data behind `runbase top`: the active runs, their progress, and the latest values of their metrics."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from runbase.analysis import headline
from runbase.capture import slurm
from runbase.model import Run
from runbase.status import ACTIVE, Phase, Status
from runbase.store.store import Store

WIDTH = 16
"""The width of a sparkline in characters."""
STALE = 5.0
"""Seconds after which runs are read again though nothing was written: a run that stops writing becomes silent."""
RECENT = "1 hour"
"""How long a lost run is shown."""
_ACTIVE = ", ".join(f"'{status}'" for status in sorted(ACTIVE))
_BARS = "▁▂▃▄▅▆▇█"
_TOTALS = ("max_steps", "total_steps", "num_train_steps", "num_steps", "n_steps", "max_iters")
"""The parameters, by the last part of their name, that contain the total number of steps."""
_PROGRESS = """
select progress from groups where run_id = :run and progress is not null order by first_time desc, seq desc limit 1
"""


class Figure(Struct, frozen=True):
    """A metric of a run: its latest value and a sparkline."""

    key: str
    value: float | None
    course: str


class Row(Struct, frozen=True, kw_only=True):
    """A run as shown in the table."""

    run: Run
    state: str
    """alive, silent, lost, or waiting."""
    progress: float | None
    """From 0 to 1, as logged by the run, or its last step divided by the parameter with the total."""
    took: float
    """Seconds since its start; for a run that is not alive, until its last heartbeat."""
    left: float | None
    """The estimated remaining time in seconds."""
    job_left: float | None = None
    """Seconds until the run's Slurm job reaches its time limit, if that is known and the run is alive."""
    step: float | None
    age: float | None
    """Seconds since the last point."""
    figures: list[Figure]


class Watch:
    """Reads the active runs of a store; metrics that did not change are not read again."""

    def __init__(
        self,
        store: Store,
        *,
        where: str | None = None,
        experiment: str | None = None,
        metrics: Sequence[str] = (),
        limit: int = 200,
    ) -> None:
        self.where = where
        self._store, self._experiment, self._limit = store, experiment, limit
        self._metrics = list(metrics)
        self._cursor: str | None = None
        self._read: tuple[float, str | None, list[Run]] = (-math.inf, None, [])
        """When the runs were read, the filter, and the runs."""
        self._courses: dict[tuple[str, str], tuple[int, str]] = {}
        self._shares: dict[str, tuple[int, float | None]] = {}

    def look(self) -> list[Row]:
        """Return the current rows, newest run first; raise FilterError for an invalid filter."""
        under_way = (
            f"(status in ({_ACTIVE}) or "
            f"status = 'NODE_FAIL' and ended_at > now() - interval '{RECENT}')"
        )
        where = under_way if not self.where else f"{under_way} and ({self.where})"
        runs = self._runs(where)
        keys = self._metrics or headline.metrics(runs)[:2]
        now = datetime.now(UTC)
        rows = [self._row(run, keys, now) for run in runs]
        seen = {run.id for run in runs}
        self._courses = {k: v for k, v in self._courses.items() if k[0] in seen}
        self._shares = {k: v for k, v in self._shares.items() if k in seen}
        return rows

    def _runs(self, where: str) -> list[Run]:
        """Return the runs: read again if the database changed, and for their heartbeats every few seconds."""
        seen = self._store.changes(self._cursor)
        self._cursor = seen.cursor
        at, before, runs = self._read
        if seen or where != before or time.monotonic() - at > STALE:
            runs = self._store.runs(where, experiment=self._experiment, limit=self._limit)
            self._read = time.monotonic(), where, runs
        return runs

    def _row(self, run: Run, keys: Sequence[str], now: datetime) -> Row:
        latest = max((m.last_time for m in run.metrics.values() if m.last_time), default=None)
        steps = [m.last_step for m in run.metrics.values() if m.last_step is not None]
        step = max(steps, default=None)
        progress = self._progress(run, step)
        took = run.seconds or 0.0
        if run.alive and run.started_at is not None:
            took = (now - run.started_at).total_seconds()
        return Row(
            run=run,
            state=state_of(run),
            progress=progress,
            took=took,
            left=took / progress - took if progress else None,
            job_left=slurm.seconds_left(run.system.get("slurm") or {}, now) if run.alive else None,
            step=step,
            age=None if latest is None else max((now - latest).total_seconds(), 0.0),
            figures=[self._figure(run, key) for key in keys],
        )

    def _figure(self, run: Run, key: str) -> Figure:
        metric = run.metrics.get(key)
        if metric is None:
            return Figure(key, None, "")
        known = self._courses.get((run.id, key))
        if known is None or known[0] != metric.count:
            curve = self._store.metrics(run, key, resolution=WIDTH)
            known = (metric.count, sparkline(curve.mean.tolist()))
            self._courses[run.id, key] = known
        return Figure(key, metric.last, known[1])

    def _progress(self, run: Run, step: float | None) -> float | None:
        logged = self._logged(run)
        if logged is not None:
            return min(max(logged, 0.0), 1.0)
        for key, value in run.params.items():
            if key.split("/")[-1] in _TOTALS and isinstance(value, int | float) and value > 0:
                return None if step is None else min((step + 1) / value, 1.0)
        return None

    def _logged(self, run: Run) -> float | None:
        """Return the progress that the run logged with its latest point, or None."""
        points = sum(metric.count for metric in run.metrics.values())
        known = self._shares.get(run.id)
        if known is None or known[0] != points:
            rows = self._store.sql(_PROGRESS, {"run": run.id})
            shares: Any = rows[0][0] if rows else []
            shares = json.loads(shares) if isinstance(shares, str) else shares
            share = next((float(value) for value in reversed(shares) if value is not None), None)
            known = self._shares[run.id] = (points, share)
        return known[1]


def state_of(run: Run) -> str:
    """Return the state of a run: alive, silent, lost or waiting."""
    if run.status is Status.NODE_FAIL:
        return "lost"
    if run.status.phase is not Phase.ACTIVE:
        return "waiting"
    return "alive" if run.alive else "silent"


def sparkline(values: Sequence[float]) -> str:
    """Return numbers as bars of eight heights, from minimum to maximum; NaN and infinities are blank."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, high = min(finite), max(finite)
    span = high - low
    return "".join(
        " "
        if not math.isfinite(value)
        else _BARS[3]
        if not span
        else _BARS[min(int((value - low) / span * len(_BARS)), len(_BARS) - 1)]
        for value in values
    )


def sort_rows(rows: Sequence[Row], by: str, *, descending: bool = False) -> list[Row]:
    """Sort rows by `started`, `experiment`, `name`, `age`, `progress`, `step`, or a metric; rows without it come last."""

    def value(row: Row) -> Any:
        plain: Mapping[str, Any] = {
            "started": row.run.started_at or row.run.created_at,
            "experiment": (row.run.experiment, row.run.number),
            "name": row.run.name,
            "age": row.age,
            "progress": row.progress,
            "step": row.step,
        }
        if by in plain:
            return plain[by]
        return next((f.value for f in row.figures if f.key == by and f.value == f.value), None)

    having = [row for row in rows if value(row) is not None]
    lacking = [row for row in rows if value(row) is None]
    return sorted(having, key=value, reverse=descending) + lacking
