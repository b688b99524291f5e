"""Runs: how each event changes a run, and how its status is derived from its history."""

import hashlib
import re
import time as clock
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast

from runbase.errors import Ambiguous, InTrash, NotFound, UsageError, suggestion
from runbase.events import (
    Captured,
    Ended,
    Noted,
    Opened,
    Params,
    RecordLogged,
    Started,
    StatusChanged,
    Tags,
)
from runbase.model import Change
from runbase.status import Status
from runbase.storage.sql import experiments, typed_values
from runbase.storage.sql.session import Session
from runbase.values import flatten


def lock(session: Session, ids: Collection[str]) -> None:
    """Prevent other transactions from adding to runs, or creating them, until this one ends.

    Runs are locked in the order of their ids. Those that do not exist cannot be locked: if there are several, only one
    transaction at a time gets past this, so that none waits for another that waits for it.
    """
    listed = session.as_list(sorted(ids))
    if len(ids) > 1:
        session.rows("lock_creation", runs=listed, many=len(ids))
    session.rows("lock_runs", runs=listed)


def opened(
    session: Session, event: Opened, folder: str | None, experiment: str | None = None
) -> None:
    """Store the beginning of a journal; create the run if this is its first event."""
    moment = session.time(event.time)
    process = event.process
    if session.row("run_exists", run=event.run) is None:
        if experiment is None:
            experiment = experiments.get_or_create(session, event.experiment, event.time)
        session.rows("lock_experiment", id=experiment)
        session.run(
            "insert_run",
            run=event.run,
            experiment=experiment,
            name=event.name,
            time=moment,
            host=process.host,
            pid=process.pid,
            folder=folder,
        )
        session.run("touch_experiment", id=experiment, time=moment)
    else:
        session.run("earlier_run", run=event.run, time=moment, host=process.host, pid=process.pid)
    if folder is not None:
        session.run("place_run", run=event.run, folder=folder)


def started(session: Session, run: str, event: Started, attempt: int) -> None:
    """Record that a run started or resumed."""
    session.run("start_run", run=run, parent=event.parent, username=event.user)
    reason = "resumed" if event.resumed else None
    report(session, run, Status.RUNNING, event.time, reason, attempt)


def captured(session: Session, run: str, event: Captured) -> None:
    """Add captured facts to those already stored."""
    facts = {name: getattr(event, name) for name in ("git", "args", "env", "system")}
    facts["system"], installed = split_packages(facts["system"] or {})
    set_packages(session, run, installed)
    session.run("capture_run", run=run, **{k: session.json(v or {}) for k, v in facts.items()})


def split_packages(system: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the facts about a machine without the installed packages, and the packages."""
    rest = dict(system)
    packages = rest.pop("packages", None)
    if isinstance(packages, dict) and packages:
        return rest, cast("dict[str, Any]", packages)
    return dict(system), {}


def set_packages(session: Session, run: str, packages: Mapping[str, Any]) -> None:
    """Set the packages of a run; they are stored once for all runs with the same ones."""
    if packages:
        document = typed_values.document(packages)
        session.run("insert_packages", hash=_digest(document), packages=document)
        session.run("set_packages", run=run, hash=_digest(document))


def packages(session: Session, rows: Iterable[Any]) -> dict[int, dict[str, str]]:
    """Return the sets of packages that rows of runs refer to, by id."""
    ids = {row["packages_id"] for row in rows} - {None}
    if not ids:
        return {}
    found = session.rows("package_sets_by_id", ids=session.as_list(sorted(ids)))
    return {row["id"]: session.document(row["packages"]) for row in found}


def system_of(session: Session, row: Any, sets: Mapping[int, Mapping[str, str]]) -> dict[str, Any]:
    """Return the facts about the machine of a run, with its packages."""
    system: dict[str, Any] = session.document(row["system"]) or {}
    if row["packages_id"] is not None and "packages" not in system:
        system["packages"] = dict(sets.get(row["packages_id"], {}))
    return system


def params(session: Session, run: str, event: Params) -> None:
    """Store parameters, flattened with / and typed; each distinct set of parameters is stored once."""
    set_params(session, run, event.values)


def set_params(session: Session, run: str, values: Mapping[str, Any]) -> None:
    """Set or change parameters of a run."""
    session.many(
        "set_param", [{"run": run, "key": k, **typed_values.typed(v)} for k, v in flatten(values)]
    )
    store_config(session, run)


def store_config(session: Session, run: str) -> None:
    """Store a run's current set of parameters, once per content, and refer to it."""
    session.run("set_config", run=run, hash=insert_config(session, run))


def insert_config(session: Session, run: str) -> str:
    """Store a run's current set of parameters, once per content; returns its hash."""
    document = _document(parameters(session.rows("params_of_run", run=run)))
    session.run("insert_config", hash=_digest(document), params=document)
    return _digest(document)


def config(params: Mapping[str, Any]) -> tuple[list[dict[str, Any]], str, str]:
    """Return parameters as typed rows, and the hash and the document of the set."""
    rows = sorted(
        ({"key": key, **typed_values.typed(value)} for key, value in flatten(params)),
        key=lambda r: r["key"],
    )
    document = _document(parameters(rows))
    return rows, _digest(document), document


def _document(params: Mapping[str, Any]) -> str:
    return typed_values.document(params)


def _digest(document: str) -> str:
    return hashlib.sha256(document.encode()).hexdigest()


def tags(session: Session, run: str, event: Tags) -> None:
    """Set and remove tags."""
    for key, value in event.set.items():
        session.run("set_tag", run=run, key=key, value=value)
    for key in event.remove:
        session.run("remove_tag", run=run, key=key)


def noted(session: Session, run: str, event: Noted) -> None:
    """Set the notes of a run, or add a line to them."""
    if event.append:
        session.run("append_note", run=run, text=event.text, newline="\n")
    else:
        session.run("note_run", run=run, text=event.text)


def status_changed(session: Session, run: str, event: StatusChanged, attempt: int) -> None:
    """Record that a run changed to another status."""
    report(session, run, event.status, event.time, event.reason, attempt)


def ended(session: Session, run: str, event: Ended, attempt: int) -> None:
    """Record the end of a run; of several ends (a resumed run has several), the latest counts."""
    moment = session.time(event.time)
    reason = None if event.error is None else str(event.error.get("type", "error"))
    report(session, run, event.status, event.time, reason, attempt)
    last = session.row("last_status", run=run)
    if last["time"] == moment and last["attempt"] == attempt:
        error = None if event.error is None else session.json(event.error)
        session.run("end_run", run=run, error=error, exit_code=event.exit_code)


def recorded(session: Session, run: str, event: RecordLogged) -> None:
    """Store a record that is not a number."""
    session.run(
        "set_record",
        run=run,
        key=event.key,
        kind=event.kind,
        step=event.step,
        time=session.time(event.time),
        value=None if event.path and event.value is None else session.json(event.value),
        path=event.path,
    )


def seen(session: Session, run: str, time: float, journal: str | None = None) -> None:
    """Record a heartbeat of a run; if a journal is given, of the process that writes it."""
    moment = session.time(time)
    session.run("seen_run", run=run, time=moment)
    if journal is not None:
        session.run("seen_journal", id=journal, time=moment)
        session.run("set_dead_seconds", run=run)


def requeue(session: Session, run: str, time: float, reason: str) -> None:
    """Queue the next attempt at a trial; reports of earlier attempts are ignored from now on."""
    session.run("next_attempt", run=run)
    report(session, run, Status.PENDING, time, reason)


def report(
    session: Session,
    run: str,
    status: Status,
    time: float,
    reason: str | None,
    attempt: int | None = None,
) -> None:
    """Store a status that a run, or another process for it, reports; of a trial, for the current attempt unless given."""
    session.run(
        "add_status",
        run=run,
        time=session.time(time),
        status=status.value,
        reason=reason,
        inferred=0,
        attempt=attempt,
    )
    refresh_status(session, run)


def refresh_status(session: Session, run: str) -> None:
    """Set a run's status to the one that its history determines."""
    last = session.row("last_status", run=run)
    if last is None:
        return
    started_at = session.row("first_running", run=run)["time"]
    ended_at = last["time"] if last["phase"] == "ended" else None
    session.run(
        "settle_run",
        run=run,
        status=last["status"],
        started=started_at,
        ended=ended_at,
        lost=None,
        held=int(last["phase"] == "active"),
    )
    if ended_at is None:
        session.run("end_run", run=run, error=None, exit_code=None)


def create(
    session: Session,
    experiment: str,
    name: str,
    fields: Mapping[str, Any],
    run: str,
) -> None:
    """Create a run that waits for its start."""
    now = clock.time()
    if session.row("run_of_id", run=run) is not None:
        raise UsageError(f"run {run} exists already")
    session.run("forget_purged", id=run)
    session.rows("lock_experiment", id=experiment)
    session.run(
        "make_run",
        run=run,
        experiment=experiment,
        name=name,
        parent=fields.get("parent_id"),
        username=fields.get("user"),
        notes=fields.get("notes") or "",
        time=session.time(now),
    )
    report(session, run, Status.PENDING, now, None)


_ID = re.compile("[0-9a-f]{32}")
"""A whole id, as runbase makes them."""


def find(
    session: Session, word: str, experiment: str | None = None, *, deleted: bool = False
) -> str:
    """Return the id of the run with this id, unique prefix, or name (the newest of that name)."""
    if deleted:
        return _find_deleted(session, word)
    if _ID.fullmatch(word) and session.rows("kept_run_of_id", id=word):
        return word
    by_name = session.rows("ids_of_name", name=word, experiment=experiment)
    if by_name:
        return by_name[0]["id"]
    by_prefix = session.rows("ids_of_prefix", low=word, high=word + "\U0010ffff") if word else []
    if len(by_prefix) == 1:
        return by_prefix[0]["id"]
    if by_prefix:
        fits = ", ".join(f"{row['id'][:16]}… ({row['name']})" for row in by_prefix[:5])
        raise Ambiguous(f"the id prefix {word!r} matches several runs: {fits}; give more of it")
    if word and session.rows("deleted_runs_of_word", word=word, low=word, high=word + "\U0010ffff"):
        raise InTrash(f"run {word!r} is in the trash; `runbase restore {word}` restores it")
    names = [row["name"] for row in session.rows("names_of_runs")]
    raise NotFound(f"no run matches {word!r}{suggestion(word, names)}")


def _find_deleted(session: Session, word: str) -> str:
    rows = session.rows("deleted_runs_of_word", word=word, low=word, high=word + "\U0010ffff")
    if len(rows) != 1:
        what = "is not a run" if not rows else "matches several runs"
        raise NotFound(f"{word!r} {what} in the trash")
    return rows[0]["id"]


def parameters(rows: Sequence[Any]) -> dict[str, Any]:
    """Convert rows of parameters to key → value, each with the type that was logged."""
    return {row["key"]: typed_values.value(row["type"], row["number"], row["text"]) for row in rows}


def history(session: Session, run: str) -> list[Change]:
    """Return a run's states, oldest first."""
    return [
        Change(
            status=Status(row["status"]),
            time=cast("Any", session.moment(row["time"])),
            reason=row["reason"],
            attempt=row["attempt"],
        )
        for row in session.rows("history_of_run", run=run)
    ]


def records(session: Session, run: str, key: str | None = None) -> list[dict[str, Any]]:
    """Return a run's records, by key and step."""
    return [
        {**dict(row), "value": session.document(row["value"]), "time": session.moment(row["time"])}
        for row in session.rows("records_of_run", run=run, key=key)
    ]
