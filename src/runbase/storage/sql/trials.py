"""Trials: queue, claim, release, retry and end them.

A trial counts its attempts. Reports of earlier attempts are ignored (see `last_status`), so that a machine that was marked
as lost and continues cannot end an attempt that another machine has started since.
"""

import time as clock
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from msgspec import Struct

from runbase.events import Points
from runbase.status import Phase, Status
from runbase.storage.sql import attributes, points_write, runs, typed_values
from runbase.storage.sql.session import Session
from runbase.storage.types import Claimed, NewTrial, Observation, TrialRow, TrialUpdate


def add(session: Session, experiment: str, trials: Sequence[NewTrial]) -> Callable[[], int]:
    """Add trials to the end of the queue, numbered after the last run without gaps; returns a function for the first number."""
    now = clock.time()
    moment = session.time(now)
    session.run("lock_experiment", id=experiment)
    configs: dict[str, str] = {}
    params: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for trial in trials:
        typed, digest, document = runs.config(trial.params)
        if typed:
            configs[digest] = document
        params += [
            {"run_id": trial.id, **row, "suggested": trial.suggested.get(row["key"])}
            for row in typed
        ]
        rows.append(_row(session, experiment, trial, digest, moment))
    if configs:
        session.many("insert_config", [{"hash": h, "params": d} for h, d in configs.items()])
    first = _insert(session, experiment, rows)
    session.bulk_insert("add_param", "params", params)
    tags = [{"run": t.id, "key": k, "value": v} for t in trials for k, v in t.tags.items()]
    session.many("set_tag", tags)
    session.many(
        "add_status",
        [
            {
                "run": row["run"],
                "time": (row["started"] if row["status"] == "RUNNING" else None) or moment,
                "status": row["status"],
                "reason": None,
                "inferred": 0,
                "attempt": 1,
            }
            for row in rows
        ],
    )
    for scope in {scope: None for trial in trials for scope in trial.attributes}:
        kept = {t.id: t.attributes[scope] for t in trials if scope in t.attributes}
        attributes.put_all(session, "run", scope, kept)
    session.run("touch_experiment", id=experiment, time=moment)
    return first


def _insert(session: Session, experiment: str, rows: list[dict[str, Any]]) -> Callable[[], int]:
    """Insert the runs of trials; for a single one, the next statement does not wait for the result."""
    if len(rows) == 1:
        inserted = session.send("insert_next_trial", **rows[0])
        return lambda: inserted()[0]["number"]
    first = session.row("next_number", experiment=experiment)["number"]
    session.many("insert_trial", [{**row, "number": n} for n, row in enumerate(rows, first)])
    return lambda: first


def _row(
    session: Session, experiment: str, trial: NewTrial, digest: str, moment: Any
) -> dict[str, Any]:
    return {
        "run": trial.id,
        "experiment": experiment,
        "name": trial.name,
        "hash": digest,
        "time": moment,
        "due": None if trial.due is None else session.time(trial.due),
        "priority": trial.priority,
        "retries": trial.retries,
        "runner": trial.runner,
        "status": "RUNNING" if trial.running else "PENDING",
        "started": _started(session, trial, moment),
    }


def _started(session: Session, trial: NewTrial, moment: Any) -> Any:
    """Return when a trial started; None if it has not."""
    if trial.started is not None:
        return session.time(trial.started)
    return moment if trial.running else None


def has_work(session: Session, experiment: str, runner: str) -> bool:
    """Return whether a trial can be claimed, or a claim has expired."""
    now = session.time(server_time(session))
    row = session.row("work_there_is", experiment=experiment, runner=runner, now=now)
    return row is not None


_LISTS = {
    "open": "lock_open",
    "reserved": "lock_reserved",
    "few_due": "lock_few_due",
    "many_due": "lock_many_due",
}
"""The lists of waiting trials, with the statement that takes the first trial of each."""


def claim(session: Session, experiment: str, runner: str, lease: float) -> Claimed | None:
    """Claim the next trial in the queue for one runner alone; expired claims are released first."""
    now = server_time(session)
    expire(session, experiment, now)
    began = clock.time()
    of = {"experiment": experiment, "runner": runner, "now": session.time(now)}
    # Each list is looked at in the order of its first trial; another claimer may have locked that one.
    for head in session.rows("queue_heads", **of):
        found = session.row(_LISTS[head["list"]], **of)
        if found is not None:
            times = {"until": session.time(now + lease), "time": session.time(began)}
            row = session.row("claim_trial", run=found["id"], runner=runner, **times)
            return _claimed(session, row, runner, began)
    return None


def expire(session: Session, experiment: str, now: float) -> None:
    """Return trials with expired claims to the queue, or mark them as lost if they have no retries left."""
    for row in session.rows("expired_trials", experiment=experiment, now=session.time(now)):
        reason = f"{row['runner']}'s lease expired"
        if row["attempt"] <= row["retries"]:
            runs.requeue(session, row["id"], clock.time(), reason)
        else:
            runs.report(session, row["id"], Status.NODE_FAIL, clock.time(), reason)


def take(session: Session, run: str, runner: str, lease: float) -> Claimed | None:
    """Claim a certain trial for one runner alone; None if it is not waiting (any more)."""
    now, began = server_time(session), clock.time()
    times = {"until": session.time(now + lease), "time": session.time(began)}
    row = session.row("take_trial", run=run, runner=runner, **times)
    return None if row is None else _claimed(session, row, runner, began)


def untake(session: Session, run: str, attempt: int) -> bool:
    """Undo a claim that was made only to look at the trial; False if the claim is lost."""
    if not session.changed("untake_trial", run=run, attempt=attempt):
        return False
    session.run("forget_claim", run=run, attempt=attempt)
    runs.refresh_status(session, run)
    return True


def _claimed(session: Session, row: Any, runner: str, began: float) -> Claimed:
    session.run(
        "add_status",
        run=row["id"],
        time=session.time(began),
        status="RUNNING",
        reason=f"claimed by {runner}",
        inferred=0,
        attempt=row["attempt"],
    )
    return Claimed(run=row["id"], attempt=row["attempt"])


def renew(session: Session, run: str, attempt: int, lease: float) -> bool:
    """Extend a claim; False if it is lost: expired and claimed by another runner, or cancelled."""
    now = server_time(session)
    return bool(
        session.changed(
            "renew_claim",
            run=run,
            attempt=attempt,
            now=session.time(now),
            until=session.time(now + lease),
        )
    )


def release(session: Session, run: str, attempt: int, reason: str) -> bool:
    """Release a claimed trial without using up a retry; False if the claim is lost."""
    if not session.changed("release_claim", run=run, attempt=attempt):
        return False
    runs.requeue(session, run, clock.time(), reason)
    return True


def requeue(session: Session, run: str, reason: str) -> None:
    """Put a run into the queue (again), whatever its status."""
    session.run("queue_run", run=run, time=session.time(clock.time()))
    runs.requeue(session, run, clock.time(), reason)


def cancel(session: Session, run: str, reason: str) -> bool:
    """End a waiting or running trial; False if it has ended. Its runner is notified when it renews its claim."""
    state = session.row("run_state", run=run)
    if state is None or Status(state["status"]).phase is Phase.ENDED:
        return False
    runs.report(session, run, Status.CANCELLED, clock.time(), reason)
    return True


def end(
    session: Session,
    run: str,
    attempt: int,
    status: Status,
    error: Mapping[str, Any] | None,
    time: float | None = None,
) -> bool:
    """End a claimed trial; False, without any change, if the claim is lost."""
    session.rows("lock_runs", runs=session.as_list([run]))
    state = session.row("run_state", run=run)
    if state is None or state["attempt"] != attempt:
        return False
    if Status(state["status"]).phase is Phase.ENDED:
        return False
    when = clock.time() if time is None else time
    reason = None if error is None else str(error.get("type", "error"))
    runs.report(session, run, status, when, reason, attempt)
    document = None if error is None else session.json(dict(error))
    session.run("end_run", run=run, error=document, exit_code=None)
    runs.seen(session, run, when)
    return True


def finish(
    session: Session,
    run: str,
    attempt: int,
    status: Status,
    *,
    error: Mapping[str, Any] | None = None,
    metrics: Points | None = None,
) -> bool:
    """Store the last metrics of a claimed trial and its end; False, without any change, if the claim is lost."""
    if not end(session, run, attempt, status, error):
        return False
    if metrics is not None:
        log(session, run, metrics)
    return True


def add_one(session: Session, experiment: str, new: NewTrial) -> int:
    """Queue a trial; returns its number."""
    return add(session, experiment, [new])()


def enqueue(session: Session, run: str, due: float) -> None:
    """Put a waiting run into its experiment's queue of trials, due at a time in seconds since the epoch."""
    session.run("enqueue_run", run=run, due=session.time(due))


def set_attribute_once(session: Session, run: str, scope: str, key: str, value: Any) -> Any:
    """Set an attribute unless it is set and the trial runs or has ended; returns the attribute's value."""
    row = {"of": run, "scope": scope, "key": key, **typed_values.typed(value)}
    session.run("assign_attribute", **row)
    return attributes.get(session, "run", [run], scope)[run][key]


def expire_and_list_due(session: Session, experiment: str, by: float) -> list[TrialRow]:
    """Release expired claims to the queue, and return the trials that are due."""
    expire(session, experiment, server_time(session))
    return due(session, experiment, by)[0]


def count_on(session: Session, name: str) -> int:
    """Return the next number of a counter, starting at 1; no number is returned twice."""
    return session.row("count_on", name=name)["value"]


def log(session: Session, run: str, event: Points) -> None:
    """Store points of a trial that has no journal."""
    session.rows("lock_runs", runs=session.as_list([run]))
    points_write.whole(session, run, f"run:{run}", [event])
    runs.seen(session, run, max(event.times))


def observations(
    session: Session, after: Mapping[str, int], statuses: Sequence[str], metrics: Sequence[str]
) -> list[Observation]:
    """Return runs that ended with one of some statuses, after a given number in each experiment, in two queries."""
    by_run: dict[str, Observation] = {}
    params: dict[int | None, dict[str, Any]] = {}
    given = {
        "experiments": session.as_list(list(after)),
        "statuses": session.as_list(statuses),
        "least": min(after.values(), default=0),
    }
    for row in session.rows("observed_runs", **given):
        if row["number"] <= after[row["experiment_id"]]:
            continue
        if row["config_id"] not in params:  # many runs share one configuration
            params[row["config_id"]] = session.document(row["params"]) or {}
        by_run[row["id"]] = Observation(
            run=row["id"],
            experiment=row["experiment_id"],
            number=row["number"],
            status=Status(row["status"]),
            params=dict(params[row["config_id"]]),
            metrics={},
        )
    ids, keys = session.as_list(list(by_run)), session.as_list(metrics)
    for row in session.rows("observed_metrics", runs=ids, keys=keys):
        by_run[row["run_id"]].metrics[row["key"]] = row["last"]
    return list(by_run.values())


def rows(session: Session, experiment: str, number: int | None = None) -> list[TrialRow]:
    """Return an experiment's trials and runs by number, or the one with a number."""
    if number is None:
        return _rows(session, session.rows("trials_of_experiment", experiment=experiment))
    selected = session.rows("trial_of_number", experiment=experiment, number=number)
    return _rows(session, selected)


def due(session: Session, experiment: str, by: float) -> tuple[list[TrialRow], bool]:
    """Return waiting or running trials that started or are due by a time, and whether a claim on one has expired."""
    open_rows = session.rows("due_trials", experiment=experiment, by=session.time(by))
    trials = _rows(session, open_rows)
    claims = [row.claimed_until.timestamp() for row in trials if row.claimed_until is not None]
    return trials, bool(claims) and min(claims) < server_time(session)


def _rows(session: Session, found: Sequence[Any]) -> list[TrialRow]:
    return [
        TrialRow(
            id=row["id"],
            number=row["number"],
            status=Status(row["status"]),
            source_status=row["source_status"],
            began=cast("datetime", session.moment(row["began"])),
            ended=session.moment(row["ended_at"]),
            claimed_until=session.moment(row["lease_until"]),
            config=row["config_id"],
        )
        for row in found
    ]


def configs(session: Session, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return the parameters of configurations, by id."""
    return {
        row["id"]: session.document(row["params"]) or {}
        for row in session.rows("configs_by_id", ids=session.as_list(ids))
    }


def server_time(session: Session) -> float:
    """Return the database's time in seconds since the epoch, which all runners compare with."""
    return float(session.row("server_time")["now"])


# Trials that a tool runs itself, without a claim


def begin(session: Session, run: str) -> bool:
    """Start a waiting trial; False if it is not waiting (any more)."""
    now = clock.time()
    moment = session.time(now)
    if not session.changed("begin_trial", run=run, time=moment):
        return False
    session.run(
        "add_status",
        run=run,
        time=moment,
        status="RUNNING",
        reason=None,
        inferred=0,
        attempt=None,
    )
    return True


def tell(session: Session, run: str, status: Status, time: float, source: str) -> bool:
    """Store a status that a tool reports; False if the trial was running already, or has ended."""
    moment = session.time(time)
    fields = {"run": run, "time": moment, "status": status.value}
    session.run("add_status", **fields, reason=None, inferred=0, attempt=None)
    return bool(session.changed("tell_trial", **fields, source=source))


class Ending(Struct, frozen=True, kw_only=True):
    """How an unclaimed trial ends, and the last data to store with it."""

    status: Status
    attributes: Mapping[str, Mapping[str, Any]] = {}
    metrics: Sequence[Points] = ()
    ended: float | None = None
    attempt: int | None = None
    source: str | None = None
    params: Mapping[str, Any] | None = None
    """The trial's parameters, if known: then they are not read."""
    bare: bool = False
    """Whether the trial is known to have no metrics yet."""


def close(session: Session, run: str, ending: Ending) -> bool:
    """End a trial, with its last attributes and metrics; False if it has ended."""
    now = session.time(clock.time() if ending.ended is None else ending.ended)
    if ending.params is None:
        digest = runs.insert_config(session, run)
    else:
        _, digest, document = runs.config(ending.params)
        session.run("insert_config", hash=digest, params=document)
    status = ending.status.value
    closed = {"run": run, "status": status, "time": now, "hash": digest}
    if not session.changed("close_trial", **closed, attempt=ending.attempt, source=ending.source):
        return False
    fields = {"run": run, "time": now, "status": status, "reason": None, "inferred": 0}
    session.run("add_status", **fields, attempt=None)
    for scope, values in ending.attributes.items():
        attributes.put(session, "run", run, scope, values)
    if ending.metrics:
        points_write.whole(session, run, f"run:{run}", ending.metrics, bare=ending.bare)
    return True


def told(
    session: Session, experiment: str, after: int, also: Sequence[str] = ()
) -> list[TrialUpdate]:
    """Return runs with all their attributes, by number, in three queries that are sent together."""
    # Query states first: a trial that has ended by then does not change any more.
    which = {"experiment": experiment, "after": after, "also": session.as_list(also)}
    rows = session.send("trials_behind", **which)
    param_rows = session.send("params_behind", **which)
    attribute_rows = session.send("attributes_behind", **which)
    session.wait()
    run_rows = rows()
    params: dict[str, list[Any]] = {}
    for row in param_rows():
        params.setdefault(row["run_id"], []).append(row)
    kept: dict[str, dict[str, dict[str, Any]]] = {}
    for row in attribute_rows():
        scope = kept.setdefault(row["run_id"], {}).setdefault(row["scope"], {})
        scope[row["key"]] = typed_values.value(row["type"], row["number"], row["text"])
    return [
        TrialUpdate(
            id=row["id"],
            number=row["number"],
            status=Status(row["status"]),
            started_at=session.moment(row["started_at"]),
            ended_at=session.moment(row["ended_at"]),
            params=runs.parameters(params.get(row["id"], [])),
            suggested={
                param["key"]: param["suggested"]
                for param in params.get(row["id"], [])
                if param["suggested"] is not None
            },
            attributes=kept.get(row["id"], {}),
        )
        for row in run_rows
    ]


def silent(session: Session, experiment: str, seconds: float) -> list[int]:
    """Return the numbers of running trials without a heartbeat for so many seconds."""
    since = session.time(server_time(session) - seconds)
    rows = session.rows("silent_trials", experiment=experiment, since=since)
    return [row["number"] for row in rows]
