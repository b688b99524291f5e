"""Load runs and experiments as records, with all that belongs to them, in a fixed number of queries."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

from msgspec.structs import replace

from runbase.model import Experiment, Metric, Objective, Run
from runbase.processes import without_collection
from runbase.space import Parameter
from runbase.status import SILENCE, Phase, Status
from runbase.storage.sql import artifacts, attributes, links, runs, search_spaces, typed_values
from runbase.storage.sql.search import fields, find
from runbase.storage.sql.session import Session
from runbase.storage.types import Kind, Page, Query

_MOMENTS = (
    "created_at",
    "started_at",
    "ended_at",
    "updated_at",
    "seen_at",
    "deleted_at",
    "missing_at",
    "queued_at",
    "due_at",
    "lease_until",
)
_NOT_DELETED = {"run": "r.deleted_at is null", "experiment": "e.deleted_at is null"}
_DELETED = {"run": "r.deleted_at is not null", "experiment": "e.deleted_at is not null"}
EVERYTHING = Query()
_DOCUMENTS = ("git", "args", "env")


def runs_of(session: Session, ids: Sequence[str]) -> list[Run]:
    """Return the runs with these ids, in this order, in six queries."""
    with without_collection():
        return _runs_of(session, ids)


def _runs_of(session: Session, ids: Sequence[str]) -> list[Run]:
    own = list(session.own.of(session, "runs"))
    listed = session.as_list(ids)
    names = ("runs_by_id", "params_of_runs", "tags_of_runs", "series_of_runs")
    run_rows, param_rows, tag_rows, series_rows = (
        session.send(name, runs=listed) for name in names
    )
    rows = {row["id"]: row for row in run_rows()}
    sets = runs.packages(session, rows.values())
    # Columns by position: by name, they cost a third of all the time.
    params: dict[str, dict[str, Any]] = {}
    for run, key, kind, number, text, _ in param_rows():
        params.setdefault(run, {})[key] = typed_values.value(kind, number, text)
    tags: dict[str, dict[str, str | None]] = {}
    for run, key, value in tag_rows():
        tags.setdefault(run, {})[key] = value
    metrics: dict[str, dict[str, Metric]] = {}
    for run, _, _, key, *figures in series_rows():
        metrics.setdefault(run, {})[key] = _metric(key, figures)
    return [
        _run(
            session,
            rows[run],
            own,
            system=runs.system_of(session, rows[run], sets),
            params=params.get(run, {}),
            tags=tags.get(run, {}),
            metrics=metrics.get(run, {}),
        )
        for run in ids
        if run in rows
    ]


def experiments_of(session: Session, ids: Sequence[str]) -> list[Experiment]:
    """Return the experiments with these ids, in this order, in five queries."""
    own = list(session.own.of(session, "experiments"))
    listed = session.as_list(ids)
    rows = {row["id"]: row for row in session.rows("experiments_by_id", experiments=listed)}
    tags: dict[str, dict[str, str | None]] = {}
    for row in session.rows("tags_of_experiments", experiments=listed):
        tags.setdefault(row["experiment_id"], {})[row["key"]] = row["value"]
    objectives: dict[str, list[Objective]] = {}
    for row in session.rows("objectives_of_experiments", experiments=listed):
        objective = Objective(
            metric=row["metric"], direction=row["direction"], weight=row["weight"]
        )
        objectives.setdefault(row["experiment_id"], []).append(objective)
    space: dict[str, dict[str, Parameter]] = {}
    for row in session.rows("spaces_of_experiments", experiments=listed):
        parameter = search_spaces.parameter(session, row)
        space.setdefault(row["experiment_id"], {})[row["key"]] = parameter
    limits: dict[str, dict[str, tuple[float | None, float | None]]] = {}
    for row in session.rows("limits_of_experiments", experiments=listed):
        limits.setdefault(row["experiment_id"], {})[row["metric"]] = (row["low"], row["high"])
    return [
        _experiment(
            session,
            rows[id_],
            own,
            tags=tags.get(id_, {}),
            objectives=objectives.get(id_, []),
            space=space.get(id_, {}),
            limits=limits.get(id_, {}),
        )
        for id_ in ids
        if id_ in rows
    ]


def search_runs(session: Session, query: Query = EVERYTHING) -> Page[Run]:
    """Return the runs that match a query, newest first unless ordered."""
    page = find.search(
        session, fields.RUNS, conditions(query, "run"), session.own.of(session, "runs")
    )
    return Page(runs_of(session, page.ids), page.cursor)


def search_experiments(session: Session, query: Query = EVERYTHING) -> Page[Experiment]:
    """Return the experiments that match a query, newest first unless ordered."""
    own = session.own.of(session, "experiments")
    page = find.search(session, fields.EXPERIMENTS, conditions(query, "experiment"), own)
    return Page(experiments_of(session, page.ids), page.cursor)


def count_runs(session: Session, query: Query) -> int:
    """Count the runs that match a query's filter."""
    own = session.own.of(session, "runs")
    return find.count(session, fields.RUNS, conditions(query, "run"), own)


def unknown_keys(session: Session, query: Query, columns: Sequence[str] = ()) -> list[str]:
    """Return a message for each key in a query for runs, or in names of columns, that no run has."""
    own = session.own.of(session, "runs")
    return find.unknown_keys(session, fields.RUNS, conditions(query, "run"), own, columns)


def whole_run(session: Session, run: str) -> Run | None:
    """Return a run with its artifacts, states, attributes, links and uses; None if the id is unknown."""
    records = runs_of(session, [run])
    if not records:
        return None
    return replace(
        records[0],
        artifacts=artifacts.listing(session, run),
        history=runs.history(session, run),
        attributes=attributes.of_run(session, run),
        links=links.of(session, "run", run),
        uses=artifacts.uses(session, run),
    )


def conditions(query: Query, kind: Kind) -> find.Query:
    """Return a query with the conditions that its other fields imply."""
    conditions = [(_DELETED if query.deleted else _NOT_DELETED)[kind]]
    values: dict[str, Any] = {}
    if query.experiment is not None:
        conditions.append(
            "r.experiment_id = :experiment" if kind == "run" else "e.id = :experiment"
        )
        values["experiment"] = query.experiment
    return find.Query(
        where=query.where,
        order_by=query.order_by,
        limit=query.limit,
        offset=query.offset,
        after=query.after,
        conditions=tuple(conditions),
        values=values,
    )


def _experiment(
    session: Session,
    row: Any,
    own: Sequence[str],
    **parts: Any,
) -> Experiment:
    plain = (
        "id",
        "name",
        "description",
        "base_model",
        "method",
        "status",
        "parent_id",
        "notes",
        "checkpoint",
        "runs",
    )
    moments = {
        name: cast("Any", session.moment(row[name]))
        for name in ("created_at", "updated_at", "deleted_at")
    }
    fields: dict[str, Any] = {name: row[name] for name in plain}
    return Experiment(
        **fields,
        **moments,
        config=session.document(row["config"]),
        metrics=session.document(row["metrics"]),
        **parts,
        columns={name: row[name] for name in own},
    )


def _run(session: Session, row: Any, own: Sequence[str], **parts: Any) -> Run:
    plain = (
        "id",
        "experiment_id",
        "number",
        "name",
        "parent_id",
        "host",
        "pid",
        "folder",
        "notes",
        "exit_code",
        "checkpoint",
        "source_status",
        "priority",
        "attempt",
        "retries",
        "runner",
        "dead_seconds",
    )
    fields: dict[str, Any] = {name: row[name] for name in plain}
    fields |= {name: session.moment(row[name]) for name in _MOMENTS}
    fields |= {name: session.document(row[name]) for name in _DOCUMENTS}
    status = Status(row["status"])
    return Run(
        **fields,
        **parts,
        experiment=row["experiment_name"],
        status=status,
        alive=status.phase is Phase.ACTIVE and row["silent"] < SILENCE,
        user=row["username"],
        error=session.document(row["error"]),
        columns={name: row[name] for name in own},
    )


def _metric(key: str, figures: Sequence[Any]) -> Metric:
    """A metric from the columns of `series_of_runs` after its key."""
    kind, count, nans, first, first_step, last, last_step, last_time = figures[:8]
    low, low_step, high, high_step, total = figures[8:]
    return Metric(
        key=key,
        type=kind,
        count=count,
        nans=nans,
        # If the first or last logged value is NaN, the table contains NULL, as for a metric without points.
        first=math.nan if first is None and count else first,
        first_step=first_step,
        last=math.nan if last is None and count else last,
        last_step=last_step,
        last_time=None if last_time is None else datetime.fromtimestamp(last_time, UTC),
        min=low,
        min_step=low_step,
        max=high,
        max_step=high_step,
        mean=total / (count - nans) if total is not None and count > nans else None,
    )
