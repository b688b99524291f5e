"""Find what a source gained since the last import: points, records, files and telemetry that are not in the database.

A source may gain points anywhere: after the last known step, between known steps, before them, or at a known step.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from runbase.ingest.foreign import ImportedRun
from runbase.model import Run, Series
from runbase.storage.protocol import Storage
from runbase.typing import JsonObject
from runbase.values import plain_text, plain_texts

Point = tuple[float, int | float, float]
"""(time in seconds since the epoch, step, value)"""


def with_stored_keys(run: ImportedRun) -> None:
    """Convert all keys of a run to the form that the database stores, so that they can be compared with stored keys."""
    run.metrics = {plain_text(key): rows for key, rows in run.metrics.items()}
    run.progress = {plain_text(key): shares for key, shares in run.progress.items()}
    run.types = {plain_text(key): kind for key, kind in run.types.items()}
    run.params = plain_texts(run.params)
    run.tags = plain_texts(run.tags)
    run.notes = plain_text(run.notes)


def new_points(
    storage: Storage, run: ImportedRun, known: Run | None, *, changed: bool = False
) -> dict[str, list[int]]:
    """Return the points of each metric that are not in the database, as indices into the lists of `run.metrics`.

    Args:
        storage: the database that the run is imported into.
        run: the run as the source has it now.
        known: the run as the database has it; None: not stored yet.
        changed: whether the source reports that values of the run may have changed.
    """
    changed = changed and run.upserts
    places_of: dict[str, list[int]] = {}
    compared: list[str] = []
    for key, rows in run.metrics.items():
        metric = None if known is None else known.metrics.get(key)
        if metric is None:
            places_of[key] = list(range(len(rows)))
        elif run.by_step or changed or len(rows) > metric.count:
            compared.append(key)
    if compared:
        for key in compared:
            series = storage.series(run.id, key, every=True)
            rows = run.metrics[key]
            if run.by_step:
                steps = set(series.steps.tolist())
                places_of[key] = [n for n, (_, step, _) in enumerate(rows) if step not in steps]
            else:
                places_of[key] = unseen(rows, series, upserts=run.upserts)
    return {key: places for key, places in places_of.items() if places}


def unseen(rows: Sequence[Point], series: Series, *, upserts: bool = False) -> list[int]:
    """Return the indices of points that a series lacks, in order.

    If the source has more points of a step than the series, the difference is the number of new points. New are those that do
    not equal a stored point in time and value, or in value alone; if there are more of these, the last ones. So each point is
    stored once, also if a source changes the times of its points with every change of the run.

    Args:
        rows: all points of the source.
        series: all points of the same metric in the database.
        upserts: whether a value that differs from the latest of its step is a new point, too.
    """
    columns = (series.steps.tolist(), series.times.tolist(), series.values.tolist())
    there: dict[float, list[tuple[int, float | None]]] = {}
    for step, time, value in zip(*columns, strict=True):
        there.setdefault(step, []).append(_content(time, value))
    by_step: dict[float, list[int]] = {}
    for place, (_, step, _) in enumerate(rows):
        by_step.setdefault(step, []).append(place)
    new: list[int] = []
    for step, places in by_step.items():
        known = there.get(step)
        if known is None:
            new += places
        elif len(places) > len(known):
            new += _more(rows, places, known)
        elif upserts and len(places) == 1:
            _, value = _content(0.0, rows[places[0]][2])
            if value != max(reversed(known), key=lambda content: content[0])[1]:
                new += places
    return sorted(new)


def _more(
    rows: Sequence[Point], places: list[int], known: list[tuple[int, float | None]]
) -> list[int]:
    """Return the indices of new points among the points of one step."""
    exact = Counter(known)
    unmatched: list[int] = []
    for place in places:
        content = _content(rows[place][0], rows[place][2])
        if exact[content]:
            exact[content] -= 1
        else:
            unmatched.append(place)
    values = Counter(value for _, value in exact.elements())
    new: list[int] = []
    for place in unmatched:
        _, value = _content(rows[place][0], rows[place][2])
        if values[value]:
            values[value] -= 1
        else:
            new.append(place)
    return new[len(known) - len(places) :]


def _content(time: float, value: float) -> tuple[int, float | None]:
    """Return what points are compared by: the time in microseconds, and the value (None for NaN)."""
    return round(time * 1e6), value if value == value else None


class Held:
    """How many records, files and samples of some runs are in the database."""

    def __init__(self, storage: Storage, runs: Sequence[ImportedRun]) -> None:
        self._counts: Counter[tuple[Any, ...]] = Counter()
        self._attributes: dict[tuple[str, str], JsonObject] = {}
        ids = [run.id for run in runs]
        for scope in {scope for run in runs for scope in run.attributes}:
            for run, values in storage.attributes("run", ids, scope).items():
                self._attributes[run, scope] = values
        if not runs:
            return
        names = {f"r{n}": run for n, run in enumerate(ids)}
        among = ", ".join(f":{name}" for name in names)
        query = (
            f"select 'record', run_id, key, cast(step as double precision), count(*) from records "  # noqa: S608
            f"where run_id in ({among}) group by 2, 3, 4 "
            f"union all select 'file', run_id, path, cast(size as double precision), count(*) from artifacts "
            f"where run_id in ({among}) group by 2, 3, 4 "
            f"union all select 'sample', run_id, '', 0.0, count(*) from samples "
            f"where run_id in ({among}) group by 2"
        )
        for kind, run, name, figure, count in storage.sql(query, names):
            self._counts[(kind, run) if kind == "sample" else (kind, run, name, figure)] = count

    def takes(self, kind: str, run: str, name: str, figure: float) -> bool:
        """Return whether a record (by key and step) or a file (by path and size) is stored; each stored one matches once."""
        mark = kind, run, plain_text(name), float(figure)
        if self._counts[mark] > 0:
            self._counts[mark] -= 1
            return True
        return False

    def new_attributes(self, run: ImportedRun) -> Mapping[str, JsonObject]:
        """Return attributes of a run that are not in the database, or have another value: scope → key → value."""
        changed: dict[str, JsonObject] = {}
        for scope, values in run.attributes.items():
            stored = self._attributes.get((run.id, scope), {})
            new = {k: v for k, v in values.items() if repr(stored.get(k, _NONE)) != repr(v)}
            if new:
                changed[scope] = new
        return changed

    def has_more_samples(self, run: ImportedRun) -> bool:
        """Return whether a run has telemetry that is not in the database."""
        return len({sample[:2] for sample in run.samples}) > self._counts["sample", run.id]


_NONE = object()
