"""Changes of runs and experiments: set fields, add keys, remove keys.

Columns are set by name, from an allow-list and the columns that users added. Names from callers are never put into SQL
unchecked; values are always bound.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct

from runbase.errors import UsageError, suggestion
from runbase.ids import name_for, new_id
from runbase.model import Objective
from runbase.status import Status
from runbase.storage.sql import experiments, runs, search_spaces
from runbase.storage.sql.quoting import select_of, update_of
from runbase.storage.sql.runs import lock
from runbase.storage.sql.session import Session
from runbase.storage.types import Kind
from runbase.values import to_seconds


class Table(Struct, frozen=True):
    """The fields of a table that can be set: field name → column, by kind."""

    name: str
    plain: Mapping[str, str]
    times: Sequence[str]
    documents: Mapping[str, str]
    required: frozenset[str]


RUNS = Table(
    "runs",
    plain={
        "name": "name",
        "notes": "notes",
        "user": "username",
        "host": "host",
        "pid": "pid",
        "folder": "folder",
        "checkpoint": "checkpoint",
        "exit_code": "exit_code",
        "parent_id": "parent_id",
        "source_status": "source_status",
    },
    times=("created_at", "started_at", "ended_at", "updated_at", "seen_at"),
    documents={"git": "git", "args": "args", "env": "env", "system": "system", "error": "error"},
    required=frozenset(
        ["name", "notes", "created_at", "updated_at", "git", "args", "env", "system"]
    ),
)
EXPERIMENTS = Table(
    "experiments",
    plain={
        "name": "name",
        "description": "description",
        "base_model": "base_model",
        "method": "method",
        "status": "status",
        "notes": "notes",
        "checkpoint": "checkpoint",
    },
    times=("created_at", "updated_at"),
    documents={"config": "config", "metrics": "metrics"},
    required=frozenset(
        ["name", "description", "status", "notes", "created_at", "updated_at", "config", "metrics"]
    ),
)


def set_run(session: Session, run: str, changes: Mapping[str, Any]) -> None:
    """Set fields of a run; parameters, tags and documents are replaced as a whole."""
    rest = dict(changes)
    separate = {name: rest.pop(name) for name in ("status", "params", "tags") if name in rest}
    if "params" in separate:
        session.run("clear_params", run=run)
        _params(session, run, separate["params"] or {})
    if "tags" in separate:
        session.run("clear_tags", run=run)
        _tags(session, "set_tag", {"run": run}, separate["tags"] or {})
    if "status" in separate:
        set_status(session, run, separate["status"])
    if "system" in rest:
        session.run("clear_packages", run=run)
    if isinstance(rest.get("system"), Mapping):
        rest["system"], packages = runs.split_packages(rest["system"])
        runs.set_packages(session, run, packages)
    _set_columns(session, RUNS, run, rest, session.own.of(session, "runs"))


def add_to_run(session: Session, run: str, more: Mapping[str, Mapping[str, Any]]) -> None:
    """Merge keys into parameters, tags and documents of a run."""
    for field, values in more.items():
        if field == "params":
            _params(session, run, values)
        elif field == "tags":
            _tags(session, "set_tag", {"run": run}, values)
        else:
            _merge(session, RUNS, run, field, values, ())
    touch(session, "run", run)


def remove_from_run(session: Session, run: str, keys: Mapping[str, Sequence[str]]) -> None:
    """Remove keys from parameters, tags and documents of a run."""
    for field, names in keys.items():
        if field == "params":
            session.many("remove_param", [{"run": run, "key": key} for key in names])
            runs.store_config(session, run)
        elif field == "tags":
            session.many("remove_tag", [{"run": run, "key": key} for key in names])
        else:
            if field == "system" and "packages" in names:
                session.run("clear_packages", run=run)
            _merge(session, RUNS, run, field, {}, names)
    touch(session, "run", run)


def set_status(
    session: Session,
    run: str,
    status: Status | str,
    reason: str | None = None,
    at: float | None = None,
) -> None:
    """Store a new status of a run, and add it to the run's history."""
    runs.report(session, run, parse_status(status), time.time() if at is None else at, reason)
    touch(session, "run", run)


def create_experiment(
    session: Session,
    name: str,
    fields: Mapping[str, Any],
    experiment: str | None = None,
    *,
    created: float | None = None,
) -> str:
    """Create an experiment and return its id; `fields` are those of `set_experiment`."""
    key = experiments.create(session, name, created, experiment)
    if fields:
        began = time.time() if created is None else created
        set_experiment(session, key, {"created_at": began, **fields})
    return key


def get_or_create_experiment(
    session: Session, name: str, fields: Mapping[str, Any], experiment: str | None = None
) -> str:
    """Return the id of the newest experiment of a name; create one from the other arguments if none exists."""
    session.rows("lock_name", name=name)
    row = session.row("experiment_by_name", name=name)
    return row["id"] if row else create_experiment(session, name, fields, experiment)


def create_run(
    session: Session,
    experiment: str,
    name: str | None,
    fields: Mapping[str, Any],
    run: str | None = None,
) -> str:
    """Create a run that waits for its start; returns its id."""
    key = run or new_id()
    runs.create(session, experiment, name or name_for(key), fields, key)
    rest = {
        field: value
        for field, value in fields.items()
        if field not in ("parent_id", "user", "notes")
    }
    if rest:
        set_run(session, key, rest)
    return key


def update(session: Session, kind: Kind, key: str, changes: Mapping[str, Any]) -> None:
    """Set fields; tags, parameters, objectives and documents are replaced as a whole."""
    (set_run if kind == "run" else set_experiment)(session, key, changes)


def update_runs(session: Session, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Set fields of many runs."""
    lock(session, changes.keys())
    for run, values in changes.items():
        set_run(session, run, values)


def add(session: Session, kind: Kind, key: str, more: Mapping[str, Mapping[str, Any]]) -> None:
    """Merge keys into tags, parameters and documents."""
    (add_to_run if kind == "run" else add_to_experiment)(session, key, more)


def remove(session: Session, kind: Kind, key: str, keys: Mapping[str, Sequence[str]]) -> None:
    """Remove keys from tags, parameters and documents."""
    (remove_from_run if kind == "run" else remove_from_experiment)(session, key, keys)


def tag_runs(
    session: Session,
    runs: Sequence[str],
    tags: Mapping[str, str | None],
    remove: Sequence[str] = (),
) -> int:
    """Set tags of many runs, and remove others, one statement a tag; return how many of the runs exist."""
    lock(session, set(runs))
    ids = session.as_list(runs)
    found = session.changed("touch_runs", runs=ids, time=session.time(time.time()))
    for key, value in tags.items():
        session.run("set_tag_of_runs", runs=ids, key=key, value=value)
    for key in remove:
        session.run("remove_tag_of_runs", runs=ids, key=key)
    return found


def set_experiment(session: Session, experiment: str, changes: Mapping[str, Any]) -> None:
    """Set fields of an experiment; tags, objectives and documents are replaced as a whole."""
    rest = dict(changes)
    session.rows(
        "lock_experiment", id=experiment
    )  # otherwise two processes that replace a list would both add their items
    if "tags" in rest:
        session.run("clear_experiment_tags", id=experiment)
        _tags(session, "set_experiment_tag", {"id": experiment}, rest.pop("tags") or {})
    if "objectives" in rest:
        set_objectives(session, experiment, rest.pop("objectives") or [])
    if "space" in rest:
        search_spaces.set_space(session, experiment, rest.pop("space") or {})
    if "limits" in rest:
        search_spaces.set_limits(session, experiment, rest.pop("limits") or {})
    if "parent_id" in rest:
        set_parent(session, experiment, rest.pop("parent_id"))
    own = session.own.of(session, "experiments")
    _set_columns(session, EXPERIMENTS, experiment, rest, own)


def add_to_experiment(
    session: Session, experiment: str, more: Mapping[str, Mapping[str, Any]]
) -> None:
    """Merge keys into tags, config and metrics of an experiment."""
    for field, values in more.items():
        if field == "tags":
            _tags(session, "set_experiment_tag", {"id": experiment}, values)
        else:
            _merge(session, EXPERIMENTS, experiment, field, values, ())
    touch(session, "experiment", experiment)


def remove_from_experiment(
    session: Session, experiment: str, keys: Mapping[str, Sequence[str]]
) -> None:
    """Remove keys from tags, config and metrics of an experiment."""
    for field, names in keys.items():
        if field == "tags":
            rows = [{"id": experiment, "key": key} for key in names]
            session.many("remove_experiment_tag", rows)
        else:
            _merge(session, EXPERIMENTS, experiment, field, {}, names)
    touch(session, "experiment", experiment)


def set_objectives(session: Session, experiment: str, objectives: Sequence[Objective]) -> None:
    """Set the objectives of an experiment, in order."""
    session.run("clear_objectives", id=experiment)
    rows = [
        {
            "id": experiment,
            "position": n,
            "metric": o.metric,
            "direction": o.direction,
            "weight": o.weight,
        }
        for n, o in enumerate(objectives)
    ]
    session.many("add_objective", rows)


def set_parent(session: Session, experiment: str, parent: str | None) -> None:
    """Set the parent of an experiment."""
    if parent is not None:
        above = [row["id"] for row in session.rows("ancestors", id=parent)]
        if experiment == parent or experiment in above:
            raise UsageError("an experiment cannot descend from itself")
    session.run("set_parent", id=experiment, parent=parent)
    session.run("clear_lineage", id=experiment)
    if parent is not None:
        session.run("descend", id=experiment, parent=parent)


def parse_status(status: Status | str) -> Status:
    """Return the status with this name; raise UsageError if it does not exist."""
    try:
        return Status.parse(status)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _set_columns(
    session: Session, table: Table, key: str, changes: Mapping[str, Any], own: Collection[str]
) -> None:
    columns: dict[str, Any] = {}
    for field, value in changes.items():
        if value is None and field in table.required:
            empty: Any = "" if field in table.plain else {}
            if field in table.times or field == "name":
                raise UsageError(f"{field} cannot be empty")
            value = empty  # noqa: PLW2901
        if field == "name" and not str(value).strip():
            raise UsageError("a name cannot be empty")
        if field in table.plain:
            columns[table.plain[field]] = value
        elif field in table.times:
            columns[field] = None if value is None else session.time(to_seconds(value))
        elif field in table.documents:
            columns[table.documents[field]] = None if value is None else session.json(value)
        elif field in own:
            columns[field] = value
        else:
            known = [*table.plain, *table.times, *table.documents, *own, "tags"]
            raise UsageError(f"{table.name} have no field {field!r}{suggestion(field, known)}")
    if "updated_at" not in columns:
        columns["updated_at"] = session.time(time.time())
    values = {f"v{n}": value for n, value in enumerate(columns.values())}
    session.query(update_of(table.name, columns), {**values, "key": key})


def _merge(
    session: Session,
    table: Table,
    key: str,
    field: str,
    more: Mapping[str, Any],
    less: Sequence[str],
) -> None:
    if field not in table.documents:
        known = [*table.documents, "tags"]
        raise UsageError(f"{table.name} have no document {field!r}{suggestion(field, known)}")
    column = table.documents[field]
    # The row stays locked from the read to the write, so that concurrent additions are all stored.
    row = session.query(select_of(table.name, column) + session.for_update, {"key": key})
    document: dict[str, Any] = session.document(row[0][0]) or {}
    document |= more
    for name in less:
        document.pop(name, None)
    session.query(update_of(table.name, [column]), {"v0": session.json(document), "key": key})


def touch(session: Session, kind: Kind, key: str) -> None:
    """Record that a run or an experiment changes now, so that it is in the list of changes."""
    statement = "touch_run" if kind == "run" else "touch_experiment"
    session.run(statement, id=key, time=session.time(time.time()))


def _params(session: Session, run: str, values: Mapping[str, Any]) -> None:
    runs.set_params(session, run, values)


def _tags(session: Session, statement: str, key: dict[str, Any], tags: Mapping[str, Any]) -> None:
    rows = [
        {**key, "key": name, "value": None if value is None else str(value)}
        for name, value in tags.items()
    ]
    session.many(statement, rows)
