"""A Parquet lake: the points of ended runs, and tables of these runs, as plain files that any engine reads.

`points/month=2026-11/part-….parquet` has one row a point, sorted by run, key and step; the month is that of the first run in it.
`runs.parquet`, `params.parquet`, `metrics.parquet` and `artifacts.parquet` have the rest. The metadata of each file of points
say which runs it has with how many points, so that a run is written once, whatever is interrupted: a file appears whole, and a run
that got more points is written again into the file that has it.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC
from typing import Any

from msgspec import Struct, field

from runbase.analysis import parquet_files
from runbase.errors import StoreError, UsageError
from runbase.model import Run, Series
from runbase.status import Phase, Status
from runbase.storage.places import Place
from runbase.store.store import Store
from runbase.typing import ExperimentLike

MOST_POINTS = 16 * 2**20
"""Points of a file: about 100 MB."""
BATCH = 50
"""Runs that are read at a time."""
CATALOGUE = "runbase.json"
"""What the lake was made from: where the list of changes of the store ended, for the next export."""
RUNS = {
    "run_id": "string", "name": "string", "experiment": "string", "status": "string", "parent_id": "string",
    "user": "string", "host": "string", "created_at": "time", "started_at": "time", "ended_at": "time",
    "seconds": "double", "notes": "string", "tags": "string", "git_commit": "string", "error": "string",
}  # fmt: skip
PARAMS = {"run_id": "string", "key": "string", "text": "string", "number": "double"}
METRICS = {
    "run_id": "string", "key": "string", "points": "int64", "last": "double", "last_step": "double", "min": "double",
    "min_step": "double", "max": "double", "max_step": "double", "mean": "double",
}  # fmt: skip
ARTIFACTS = {
    "run_id": "string", "path": "string", "kind": "string", "size": "int64", "sha256": "string", "uri": "string",
    "name": "string", "version": "int64", "step": "double",
}  # fmt: skip
TABLES = {"runs": RUNS, "params": PARAMS, "metrics": METRICS, "artifacts": ARTIFACTS}
"""The tables beside the points: name → columns."""
Progress = Callable[[int, int], None]


class LakeReport(Struct, kw_only=True):
    """What an export to a lake did.

    Attributes:
        url: the lake.
        new: runs that were written for the first time.
        grown: runs that had got more points, and were written again.
        unchanged: runs that the lake had already.
        running: runs that match and have not ended: they are left for a later export.
        points: points that were written.
        files: files of points that were written.
        bytes: their size.
        gone: runs of the lake that the store does not have any more.
        pruned: such runs that were removed from the lake.
        unreadable: runs whose points cannot be read, such as those in an archive that is missing: id → the reason. A later
            export writes them. What the lake had of them stays.
    """

    url: str
    new: int = 0
    grown: int = 0
    unchanged: int = 0
    running: int = 0
    points: int = 0
    files: int = 0
    bytes: int = 0
    gone: int = 0
    pruned: int = 0
    unreadable: dict[str, str] = field(default_factory=dict[str, str])


def export_lake(
    store: Store,
    url: str,
    where: str | None = None,
    *,
    experiment: ExperimentLike | None = None,
    prune: bool = False,
    progress: Progress | None = None,
) -> LakeReport:
    """Write the ended runs that match a filter to a lake; those that it has already are not written again.

    It can be interrupted at any time and started again. One export at a time may write to a lake.

    Args:
        store: the store.
        url: a folder, or a URL that fsspec supports, such as `s3://lab/lake`.
        where: only runs that match this filter.
        experiment: only runs of this experiment.
        prune: remove runs from the lake that the store does not have any more.
        progress: called with (runs done, all runs).

    Returns:
        What was written.

    Raises:
        UsageError: the lake is that of another store.
        MissingPackage: PyArrow, or fsspec for a URL, is not installed.
    """
    return _Export(store, Place(url), url).run(
        where, experiment, prune, progress or (lambda done, total: None)
    )


class _Export:
    def __init__(self, store: Store, place: Place, url: str) -> None:
        self._store, self._place = store, place
        place.remove_partial("points")
        self._report = LakeReport(url=url)
        self._parts = {
            name: parquet_files.runs_in(place, name)
            for name in place.list("points")
            if name.endswith(".parquet")
        }
        self._home = {run: name for name, runs in self._parts.items() for run in runs}

    def run(
        self, where: str | None, experiment: ExperimentLike | None, prune: bool, progress: Progress
    ) -> LakeReport:
        cursor, changed = self._changes()
        found = self._store.table(
            where, columns=["id", "status"], experiment=experiment, order_by="id asc"
        )
        ended = [
            run
            for run, status in zip(found.ids, found.columns["status"], strict=True)
            if Status(str(status)).phase is Phase.ENDED
        ]
        self._report.running = len(found.ids) - len(ended)
        new = [run for run in ended if run not in self._home]
        known = [run for run in ended if run in self._home and (changed is None or run in changed)]
        self._report.unchanged = len(ended) - len(new) - len(known)
        total = len(new) + len(known)
        self._write_new(new, progress, total)
        self._write_grown(known, lambda done, _: progress(len(new) + done, total))
        there = self._look_for_gone(prune)
        unreadable = self._report.unreadable
        self._write_tables([run for run in (*new, *known) if run not in unreadable])
        missed = (there & self._home.keys()) - (set(found.ids) - unreadable.keys())
        if changed is not None:
            missed &= changed
        if missed:  # the filter left them out, or they cannot be read: a later export looks at their changes
            cursor = self._note().get("cursor")
        note = {"cursor": cursor, "store": self._store.url}
        self._place.write(CATALOGUE, lambda file: file.write(json.dumps(note).encode()))
        return self._report

    def _changes(self) -> tuple[str, set[str] | None]:
        """Return where the list of changes ends now, and the runs that changed since the last export; None: unknown."""
        note = self._note()
        if note and note.get("store") != self._store.url:
            raise UsageError(
                f"the lake {self._report.url} was made from {note.get('store')}, not from {self._store.url}; use another folder"
            )
        try:
            seen = self._store.changes(note.get("cursor"))
        except UsageError:  # the cursor is of another database
            seen = self._store.changes(None)
        return seen.cursor, None if seen.reset else set(seen.runs)

    def _note(self) -> dict[str, Any]:
        return json.loads(self._place.read(CATALOGUE) or b"{}")

    def _write_new(self, runs: Sequence[str], progress: Progress, total: int) -> None:
        """Write runs that the lake does not have, month by month, in files of at most `MOST_POINTS` points."""
        held: list[str] = []
        month, points, done = "", 0, 0

        def write() -> None:
            nonlocal held, points, done
            if not held:
                return
            done += len(held)
            try:
                self._write(f"points/month={month}/{_part_name(held)}", held)
            except StoreError as error:
                held = self._without_unreadable(held, error)
                if held:
                    self._write(f"points/month={month}/{_part_name(held)}", held)
            self._report.new += len(held)
            held, points = [], 0
            progress(done, total)

        for start in range(0, len(runs), BATCH):
            for run in self._store.storage.get_runs(runs[start : start + BATCH]):
                if _month(run) != month or points + _points(run) > MOST_POINTS:
                    write()
                month, points = _month(run), points + _points(run)
                held.append(run.id)
        write()

    def _write(self, name: str, runs: Sequence[str], old: Mapping[str, str] | None = None) -> None:
        """Write a file of points.

        Args:
            name: the name of the file.
            runs: the ids of its runs, sorted.
            old: run → the file of the lake that has its points, for runs that did not grow.
        """
        counts: dict[str, int] = dict.fromkeys(runs, 0)

        def series() -> Iterator[tuple[str, str, Series]]:
            for start in range(0, len(runs), BATCH):
                part = [run for run in runs[start : start + BATCH] if not old or run not in old]
                found = self._store.reader.points(part, None, every=True) if part else {}
                kept = {run: old[run] for run in runs[start : start + BATCH] if old and run in old}
                all_series = [(run, key, points) for (run, key), points in found.items()]
                all_series += [
                    (run, key, points)
                    for run, file in kept.items()
                    for key, points in parquet_files.points_in(self._place, file, run)
                ]
                for run, key, points in sorted(all_series, key=lambda one: one[:2]):
                    counts[run] += len(points.steps)
                    yield run, key, points

        size = parquet_files.write_points(self._place, name, series(), lambda: counts)
        self._parts[name] = counts
        self._home.update(dict.fromkeys(runs, name))
        self._report.points += sum(counts.values())
        self._report.files += 1
        self._report.bytes += size

    def _write_grown(self, runs: Sequence[str], progress: Progress) -> None:
        """Write the files again that have runs with more points now."""
        stale, grown = set[str](), set[str]()
        for start in range(0, len(runs), BATCH):
            for run in self._store.storage.get_runs(runs[start : start + BATCH]):
                if _points(run) != self._parts[self._home[run.id]][run.id]:
                    stale.add(self._home[run.id])
                    grown.add(run.id)
                else:
                    self._report.unchanged += 1
            progress(min(start + BATCH, len(runs)), len(runs))
        for name in sorted(stale):
            ids = sorted(self._parts[name])
            longer = [run for run in ids if run in grown]
            try:
                self._write(name, ids, dict.fromkeys(set(ids).difference(longer), name))
            except StoreError as error:
                readable = self._without_unreadable(longer, error)
                if readable:
                    self._write(name, ids, dict.fromkeys(set(ids).difference(readable), name))
        self._report.grown += len(grown - self._report.unreadable.keys())

    def _without_unreadable(self, runs: Sequence[str], error: StoreError) -> list[str]:
        """Return the runs whose points can be read, and report the others; raise the error if that is not what failed."""
        reasons: dict[str, str] = {}
        for run in runs:
            try:
                self._store.reader.points([run], None, every=True)
            except StoreError as reason:
                if type(reason) is not StoreError:  # of the database, and not of an archive
                    raise
                reasons[run] = str(reason)
        if not reasons:
            raise error
        self._report.unreadable |= reasons
        return [run for run in runs if run not in reasons]

    def _look_for_gone(self, prune: bool) -> set[str]:
        """Count the runs of the lake that the store does not have any more, and remove them if asked.

        Returns:
            The runs of the store.
        """
        there = set(self._store.table(None, columns=["id"]).ids)
        gone = [run for run in self._home if run not in there]
        self._report.gone = len(gone)
        if not prune or not gone:
            return there
        lost = set(gone)
        for name in sorted({self._home[run] for run in gone}):
            kept = sorted(run for run in self._parts[name] if run not in lost)
            if kept:
                self._write(name, kept, dict.fromkeys(kept, name))
            else:
                self._place.remove(name)
        for name, columns in TABLES.items():
            parquet_files.merge_rows(self._place, f"{name}.parquet", [], columns, lost)
        self._report.pruned, self._report.gone = len(gone), 0
        return there

    def _write_tables(self, runs: Sequence[str]) -> None:
        """Write the rows of runs into the tables beside the points."""
        if not runs and self._place.read("runs.parquet") is not None:
            return
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
        for start in range(0, len(runs), BATCH):
            part = list(runs[start : start + BATCH])
            for run in self._store.storage.get_runs(part):
                rows["runs"].append(_run_row(run))
                rows["params"] += [
                    _param_row(run.id, key, value) for key, value in run.params.items()
                ]
                rows["metrics"] += [
                    _metric_row(run.id, key, metric) for key, metric in run.metrics.items()
                ]
            rows["artifacts"] += self._artifact_rows(part)
        for name, columns in TABLES.items():
            parquet_files.merge_rows(self._place, f"{name}.parquet", rows[name], columns, set(runs))

    def _artifact_rows(self, runs: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {"run_id": run}
            | {name: getattr(artifact, name) for name in ARTIFACTS if name != "run_id"}
            for run in runs
            for artifact in self._store.artifacts(run)
        ]


def _points(run: Run) -> int:
    return sum(metric.count for metric in run.metrics.values())


def _month(run: Run) -> str:
    moment = run.started_at or run.created_at
    return moment.astimezone(UTC).strftime("%Y-%m")


def _part_name(runs: Sequence[str]) -> str:
    """Return a name with the first and the last run; runs can have ids of any form."""
    digest = hashlib.sha256("\0".join(runs).encode()).hexdigest()[:8]
    first, last = (re.sub(r"[^A-Za-z0-9]", "_", run)[:32] for run in (runs[0], runs[-1]))
    return f"part-{first}-{last}-{digest}.parquet"


def _run_row(run: Run) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(run, name) for name in RUNS if hasattr(run, name)}
    return row | {
        "run_id": run.id,
        "status": run.status.value,
        "seconds": run.seconds,
        "tags": json.dumps(run.tags),
        "git_commit": run.git.get("commit"),
        "error": None
        if run.error is None
        else str(run.error.get("message") or run.error.get("type")),
    }


def _param_row(run: str, key: str, value: object) -> dict[str, Any]:
    number = (
        float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    )
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return {"run_id": run, "key": key, "text": text, "number": number}


def _metric_row(run: str, key: str, metric: Any) -> dict[str, Any]:
    figures = {
        name: getattr(metric, name) for name in METRICS if name not in ("run_id", "key", "points")
    }
    return {"run_id": run, "key": key, "points": metric.count, **figures}
