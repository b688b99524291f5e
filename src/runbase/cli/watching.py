"""What `runbase top` shows, as plain data: the runs under way, how far each is, and the latest of its metrics."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from runbase.cli.common import headline
from runbase.model import Run
from runbase.status import ACTIVE, Phase, Status
from runbase.store.store import Store

WIDTH = 16
"""Characters of a sparkline."""
RECENT = "1 hour"
"""For how long a run that died stays in sight."""
_ACTIVE = ", ".join(f"'{status}'" for status in sorted(ACTIVE))
_BARS = "▁▂▃▄▅▆▇█"
_TOTALS = ("max_steps", "total_steps", "num_train_steps", "num_steps", "n_steps", "max_iters")
"""Parameters, by their last part, that say after how many steps a run is done."""
_PROGRESS = """
select progress from groups where run_id = :run and progress is not null order by first_time desc, seq desc limit 1
"""


class Figure(Struct, frozen=True):
    """A metric of a run: its latest value, and its course."""

    key: str
    value: float | None
    course: str


class Row(Struct, frozen=True, kw_only=True):
    """A run as it is shown."""

    run: Run
    state: str
    """alive, silent, lost, or waiting."""
    progress: float | None
    """From 0 to 1, as the run logged it, or by its last step and the parameter that says how many there are."""
    took: float
    """Seconds since it began, or until it was last heard of."""
    left: float | None
    """Seconds that it will go on for, if it goes on as it did."""
    step: float | None
    age: float | None
    """Seconds since its last point."""
    figures: list[Figure]


class Watch:
    """The runs of a store that are under way; what did not change is not read again."""

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
        self._courses: dict[tuple[str, str], tuple[int, str]] = {}
        self._shares: dict[str, tuple[int, float | None]] = {}

    def look(self) -> list[Row]:
        """The rows as they are now, the newest run first. Raises FilterError for a filter that is none."""
        under_way = (
            f"(status in ({_ACTIVE}) or "
            f"status = 'NODE_FAIL' and ended_at > now() - interval '{RECENT}')"
        )
        where = under_way if not self.where else f"{under_way} and ({self.where})"
        runs = self._store.runs(where, experiment=self._experiment, limit=self._limit)
        keys = self._metrics or headline(runs, 2)
        now = datetime.now(UTC)
        rows = [self._row(run, keys, now) for run in runs]
        seen = {run.id for run in runs}
        self._courses = {k: v for k, v in self._courses.items() if k[0] in seen}
        self._shares = {k: v for k, v in self._shares.items() if k in seen}
        return rows

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
        """The share of its work that the run said was done, with its latest point."""
        points = sum(metric.count for metric in run.metrics.values())
        known = self._shares.get(run.id)
        if known is None or known[0] != points:
            rows = self._store.sql(_PROGRESS, {"run": run.id})
            shares: Any = rows[0][0] if rows else []
            shares = json.loads(shares) if isinstance(shares, str) else shares
            share = next((float(each) for each in reversed(shares) if each is not None), None)
            known = self._shares[run.id] = (points, share)
        return known[1]


def state_of(run: Run) -> str:
    """How it is, in a word."""
    if run.status is Status.NODE_FAIL:
        return "lost"
    if run.status.phase is not Phase.ACTIVE:
        return "waiting"
    return "alive" if run.alive else "silent"


def sparkline(values: Sequence[float]) -> str:
    """Numbers as bars of eight heights, from the least to the greatest; what is no number is a blank."""
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
    """Rows by `started`, `experiment`, `name`, `age`, `progress`, `step`, or a metric; what lacks it comes last."""

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
