"""Runs and experiments as records: whole rows with what belongs to them, in a fixed number of queries."""

import math
from collections.abc import Sequence
from typing import Any, cast

from runbase.model import Experiment, Link, Metric, Objective, Run
from runbase.space import Parameter
from runbase.status import SILENCE, Phase, Status
from runbase.storage.sql import runs, search_spaces
from runbase.storage.sql.session import Session

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
_DOCUMENTS = ("git", "args", "env", "system")


def runs_of(session: Session, ids: Sequence[str], own: Sequence[str]) -> list[Run]:
    """The runs of these ids, in their order; five queries in all."""
    listed = session.each(ids)
    names = ("runs_by_id", "params_of_runs", "tags_of_runs", "series_of_runs")
    run_rows, param_rows, tag_rows, series_rows = (
        session.later(name, runs=listed) for name in names
    )
    rows = {row["id"]: row for row in run_rows()}
    found_params: dict[str, list[Any]] = {}
    for row in param_rows():
        found_params.setdefault(row["run_id"], []).append(row)
    tags: dict[str, dict[str, str | None]] = {}
    for row in tag_rows():
        tags.setdefault(row["run_id"], {})[row["key"]] = row["value"]
    metrics: dict[str, dict[str, Metric]] = {}
    for row in series_rows():
        metrics.setdefault(row["run_id"], {})[row["key"]] = _metric(session, row)
    return [
        _run(
            session,
            rows[run],
            own,
            params=runs.parameters(found_params.get(run, [])),
            tags=tags.get(run, {}),
            metrics=metrics.get(run, {}),
        )
        for run in ids
        if run in rows
    ]


def experiments_of(session: Session, ids: Sequence[str], own: Sequence[str]) -> list[Experiment]:
    """The experiments of these ids, in their order; five queries in all."""
    listed = session.each(ids)
    rows = {row["id"]: row for row in session.rows("experiments_by_id", experiments=listed)}
    tags: dict[str, dict[str, str | None]] = {}
    for row in session.rows("tags_of_experiments", experiments=listed):
        tags.setdefault(row["experiment_id"], {})[row["key"]] = row["value"]
    objectives: dict[str, list[Objective]] = {}
    for row in session.rows("objectives_of_experiments", experiments=listed):
        made = Objective(metric=row["metric"], direction=row["direction"], weight=row["weight"])
        objectives.setdefault(row["experiment_id"], []).append(made)
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
            rows[each],
            own,
            tags=tags.get(each, {}),
            objectives=objectives.get(each, []),
            space=space.get(each, {}),
            limits=limits.get(each, {}),
        )
        for each in ids
        if each in rows
    ]


def links(session: Session, statement: str, key: str) -> list[Link]:
    """What an object points to, and what points to it."""
    return [
        Link(from_id=row["from_id"], kind=row["kind"], to_id=row["to_id"])
        for row in session.rows(statement, id=key)
    ]


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


def _metric(session: Session, row: Any) -> Metric:
    count, nans = row["count"], row["nans"]
    last_time = row["last_time"]
    mean = row["sum"] / (count - nans) if row["sum"] is not None and count > nans else None
    # A NaN that was logged last is NULL in the table, as a metric without points is.
    first, last = (math.nan if row[n] is None and count else row[n] for n in ("first", "last"))
    return Metric(
        key=row["key"],
        type=row["type"],
        count=count,
        nans=nans,
        first=first,
        first_step=row["first_step"],
        last=last,
        last_step=row["last_step"],
        last_time=None if last_time is None else session.moment(session.time(last_time)),
        min=row["min"],
        min_step=row["min_step"],
        max=row["max"],
        max_step=row["max_step"],
        mean=mean,
    )
