"""Store whole runs of another database, or of this one, which `dump` returned.

Ids of runs and experiments are kept; numeric row ids (of series, groups, configs) are assigned again. A run that exists
already is completed, not duplicated.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from runbase.model import Experiment
from runbase.storage.sql import edits, outlines, points_write, runs
from runbase.storage.sql.dump import (
    DOCUMENTS,
    PLAIN,
    TIMES,
    Around,
    RunDump,
    without,
)
from runbase.storage.sql.session import Session


def load_related(session: Session, around: Around, places: Mapping[str, str]) -> None:
    """Store links and attributes of experiments; existing ones are kept. `places`: each experiment's id in this database."""
    links = [(places.get(a, a), kind, places.get(b, b)) for a, kind, b in around.links]
    ids = session.as_list(sorted({end for a, _, b in links for end in (a, b)}))
    there = {row["id"] for row in session.rows("experiments_there", ids=ids)}
    rows = [
        {"from_id": a, "kind": k, "to_id": b} for a, k, b in links if a != b and {a, b} <= there
    ]
    session.many("link_experiments", rows)
    session.many(
        "add_experiment_attribute",
        [{**row, "of": places[row["of"]]} for row in around.attributes],
    )


def load_run(session: Session, dump: RunDump, experiment: str) -> tuple[bool, bool]:
    """Store a run; returns whether it is new, and whether some of its points are."""
    there = session.row("run_of_id", run=dump.id)
    if there is None:
        _insert_run(session, dump, experiment)
    else:
        _complete_run(session, dump)
    fuller = there is None or _is_fuller(session, dump)
    if fuller:
        if there is not None:
            _clear_points(session, dump.id)
        _insert_points(session, dump)
    _insert_around(session, dump, new=there is None)
    own = session.own.of(session, "runs")
    values = {name: value for name, value in dump.own.items() if name in own}
    if values and there is None:
        from runbase.storage.sql import edits

        fields = {**values, "updated_at": dump.fields["updated_at"]}
        edits.set_run(session, dump.id, fields)
    return there is None, fuller


def load_experiment(session: Session, record: Experiment, *, by_name: bool) -> tuple[str, bool]:
    """Return the id of an experiment in this database, and whether it is new. `by_name`: an experiment of its name matches too."""
    if session.row("experiment_of_id", id=record.id) is not None:
        return record.id, False
    session.rows("lock_name", name=record.name)
    row = session.row("experiment_by_name", name=record.name)
    if by_name and row is not None:
        return row["id"], False
    fields: dict[str, Any] = {
        name: getattr(record, name)
        for name in (
            "description",
            "base_model",
            "method",
            "status",
            "notes",
            "checkpoint",
            "config",
            "metrics",
            "tags",
            "objectives",
            "space",
            "limits",
            "created_at",
            "updated_at",
        )
    }
    own = session.own.of(session, "experiments")
    fields |= {
        name: value for name, value in record.columns.items() if name in own and value is not None
    }
    created = record.created_at.timestamp()
    edits.create_experiment(session, record.name, fields, record.id, created=created)
    return record.id, True


def load_experiments(
    session: Session, records: Sequence[Experiment], *, by_name: bool
) -> dict[str, str]:
    """Store experiments of another database; returns their ids there → their ids here."""
    placed = [
        (record, *load_experiment(session, record, by_name=by_name))
        for record in sorted(records, key=lambda record: record.created_at)
    ]
    for record, here, new in placed:
        if new and record.parent_id is not None:
            load_descent(session, here, record.parent_id)
    return {record.id: here for record, here, _ in placed}


def load(session: Session, dumps: Sequence[RunDump], places: Mapping[str, str]) -> tuple[int, int]:
    """Store runs of another database.

    Args:
        session: a session that writes.
        dumps: the runs.
        places: id of an experiment in the other database → its id here.

    Returns:
        How many runs are new, and how many had points that were not here.
    """
    runs.lock(session, {dump.id for dump in dumps})
    done = [load_run(session, dump, places[dump.experiment_id]) for dump in dumps]
    load_links(session, dumps)
    return sum(new for new, _ in done), sum(fuller for _, fuller in done)


def load_descent(session: Session, experiment: str, parent: str) -> None:
    """Set an experiment's parent, once both exist."""
    from runbase.storage.sql import edits

    if session.row("experiment_of_id", id=parent) is not None:
        edits.set_parent(session, experiment, parent)


def _insert_run(session: Session, dump: RunDump, experiment: str) -> None:
    fields = dict(dump.fields)
    fields["system"], packages = runs.split_packages(fields["system"] or {})
    session.rows("lock_experiment", id=experiment)
    taken = session.row("run_of_number", experiment=experiment, number=dump.number)
    number = (
        dump.number
        if taken is None
        else session.row("next_number", experiment=experiment)["number"]
    )
    session.run(
        "load_run",
        id=dump.id,
        experiment=experiment,
        number=number,
        **{name: fields[name] for name in PLAIN},
        **{name: _moment(session, fields[name]) for name in TIMES},
        **{
            name: None if fields[name] is None else session.json(fields[name]) for name in DOCUMENTS
        },
    )
    runs.set_packages(session, dump.id, packages)
    session.run("forget_purged", id=dump.id)
    session.many("add_param", [{"run_id": dump.id, **row} for row in dump.params])
    if dump.params:
        runs.store_config(session, dump.id)


def _complete_run(session: Session, dump: RunDump) -> None:
    """Add what the other database has and this one lacks; edits that users made here are kept."""
    have = {row["key"] for row in session.rows("params_of_run", run=dump.id)}
    new = [{"run_id": dump.id, **row} for row in dump.params if row["key"] not in have]
    if new:
        session.many("add_param", new)
        runs.store_config(session, dump.id)
    fields = dump.fields
    session.run(
        "complete_run",
        id=dump.id,
        notes=fields["notes"],
        folder=fields["folder"],
        seen_at=_moment(session, fields["seen_at"]),
        updated_at=_moment(session, fields["updated_at"]),
        exit_code=fields["exit_code"],
        error=None if fields["error"] is None else session.json(fields["error"]),
    )


def _is_fuller(session: Session, dump: RunDump) -> bool:
    """Return whether a dump has points that the stored run lacks."""
    here = {row["id"]: row["offset"] for row in session.rows("offsets_of_run", run=dump.id)}
    there = {row["id"]: row["offset"] for row in dump.journals}
    if any(offset > here.get(journal, -1) for journal, offset in there.items()):
        return all(offset <= there.get(journal, -1) for journal, offset in here.items())
    points = sum(row["count"] for row in dump.series)
    return not there and points > session.row("points_of_run", run=dump.id)["points"]


def _clear_points(session: Session, run: str) -> None:
    ids = session.as_list([run])
    for statement in (
        "delete_archives",
        "purge_blocks",
        "purge_groups",
        "purge_series",
        "purge_problems",
        "purge_records",
        "purge_journals",
    ):
        session.run(statement, ids=ids)


def _insert_points(session: Session, dump: RunDump) -> None:
    series = dict(
        zip(
            (row["id"] for row in dump.series),
            points_write.reserve(session, "reserve_series", len(dump.series)),
            strict=True,
        )
    )
    groups = dict(
        zip(
            (row["id"] for row in dump.groups),
            points_write.reserve(session, "reserve_groups", len(dump.groups)),
            strict=True,
        )
    )
    session.many(
        "load_series", [{**row, "id": series[row["id"]], "run": dump.id} for row in dump.series]
    )
    session.many(
        "load_group",
        [
            {
                **row,
                "id": groups[row["id"]],
                "run": dump.id,
                "steps": None if row["steps"] is None else session.array(row["steps"]),
                "times": session.array(row["times"]),
                "progress": None if row["progress"] is None else session.array(row["progress"]),
            }
            for row in dump.groups
        ],
    )
    session.many(
        "insert_block",
        [
            {
                **without(row, "series_id", "group_id"),
                "series": series[row["series_id"]],
                "group": groups[row["group_id"]],
                "numbers": session.floats_of(row["numbers"]),
            }
            for row in dump.blocks
        ],
    )
    full = [row for row in dump.blocks if row["count"] == outlines.BLOCK]
    outlines.build_all(session, Counter(series[row["series_id"]] for row in full))
    session.many(
        "add_problem",
        [{**row, "run": dump.id, "time": _moment(session, row["time"])} for row in dump.problems],
    )
    session.many(
        "load_journal",
        [
            {
                **row,
                "run": dump.id,
                "opened_at": _moment(session, row["opened_at"]),
                "closed_at": _moment(session, row["closed_at"]),
                "seen_at": _moment(session, row["seen_at"]),
                "state_at": _moment(session, row["state_at"]),
            }
            for row in dump.journals
        ],
    )
    session.many(
        "load_record",
        [
            {
                **row,
                "run": dump.id,
                "time": _moment(session, row["time"]),
                "value": None if row["value"] is None else session.json(row["value"]),
            }
            for row in dump.records
        ],
    )


def _insert_around(session: Session, dump: RunDump, *, new: bool) -> None:
    have = (
        set[str]()
        if new
        else {row["key"] for row in session.rows("tags_of_runs", runs=session.as_list([dump.id]))}
    )
    tags = [{"run": dump.id, "key": k, "value": v} for k, v in dump.tags.items() if k not in have]
    session.many("set_tag", tags)
    session.many(
        "add_status",
        [{**row, "run": dump.id, "time": _moment(session, row["time"])} for row in dump.history],
    )
    if not new and dump.history:
        runs.refresh_status(session, dump.id)
    session.many(
        "set_artifact",
        [
            {
                **without(row, "created_at", "removed_at"),
                "run": dump.id,
                "metadata": session.json(row["metadata"]),
                "time": _moment(session, row["created_at"]),
            }
            for row in dump.artifacts
        ],
    )
    session.many("set_attribute", [{**row, "of": dump.id} for row in dump.attributes])
    session.many(
        "insert_alert",
        [
            {
                **row,
                "run": dump.id,
                "time": _moment(session, row["time"]),
                "stored_at": _moment(session, row["stored_at"]),
            }
            for row in dump.alerts
        ],
    )
    session.many("set_sample", [{**row, "run_id": dump.id} for row in dump.samples])
    session.many(
        "use_artifact",
        [
            {
                "run": dump.id,
                "owner": row["owner_id"],
                "path": row["path"],
                "time": _moment(session, row["time"]),
            }
            for row in dump.uses
        ],
    )


def load_links(session: Session, dumps: Sequence[RunDump]) -> None:
    """Store links between runs, once all runs exist."""
    wanted = [link for dump in dumps for link in dump.links]
    if not wanted:
        return
    ids = session.as_list(sorted({end for a, _, b in wanted for end in (a, b)}))
    there = {row["id"] for row in session.rows("runs_there", ids=ids)}
    rows = [
        {"from_id": a, "kind": k, "to_id": b} for a, k, b in wanted if a in there and b in there
    ]
    session.many("link_runs", rows)


def _moment(session: Session, value: float | None) -> Any:
    return None if value is None or math.isnan(value) else session.time(value)


Fields = Mapping[str, Any]
