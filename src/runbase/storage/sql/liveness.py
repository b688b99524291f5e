"""Heartbeats of runs, and marking runs as lost or alive."""

import time as clock
from collections.abc import Sequence
from datetime import datetime
from typing import cast

from runbase.events import Process
from runbase.status import Status
from runbase.storage.sql import runs
from runbase.storage.sql.session import Session
from runbase.storage.sql.trials import server_time
from runbase.storage.types import LiveRun


def live_runs(session: Session) -> list[LiveRun]:
    """Return the runs in an active state, and those that are marked as lost."""
    live: dict[str, LiveRun] = {}
    for row in session.rows("active_runs"):
        seen = session.moment(row["seen_at"] or row["updated_at"])
        run = live.setdefault(
            row["id"],
            LiveRun(
                id=row["id"],
                folder=row["folder"],
                lost=row["lost_at"] is not None,
                seen=cast("datetime", seen).timestamp(),
                silent=None if row["silent"] is None else float(row["silent"]),
                endless=row["host"] == "" and not row["source_status"],
                processes=[],
            ),
        )
        if row["host"] is not None:
            started, boot = row["process_started"], row["boot"]
            run.processes.append(Process(row["host"], row["pid"], started, boot))
    return list(live.values())


def beat(session: Session, alive: Sequence[str]) -> None:
    """Record a heartbeat of runs, using the database clock; lost runs are marked as alive."""
    now = server_time(session)
    rows = session.rows("beat_runs", runs=session.as_list(alive), now=session.time(now))
    for row in rows:
        if row["lost_at"] is not None:
            mark_alive(session, row["id"], clock.time())


def mark_lost(
    session: Session,
    run: str,
    seen_at: float,
    reason: str,
    status: Status = Status.NODE_FAIL,
) -> None:
    """Give a run the status of a lost or ended run since its last heartbeat."""
    state = session.row("run_state", run=run)
    if state is None or state["lost_at"] is not None:
        return
    last = session.row("last_status", run=run)
    if last is not None and last["phase"] != "active":
        return
    moment = session.time(seen_at)
    if state["queued_at"] is not None and state["attempt"] <= state["retries"]:
        runs.requeue(session, run, clock.time(), reason)
        return
    session.run(
        "add_status",
        run=run,
        time=moment,
        status=status.value,
        reason=reason,
        inferred=1,
        attempt=None,
    )
    session.run(
        "settle_run",
        run=run,
        status=status.value,
        started=None,
        ended=moment,
        lost=moment,
        held=0,
    )


def mark_alive(session: Session, run: str, seen_at: float) -> None:
    """Return a lost run to the status that it reported last."""
    state = session.row("run_state", run=run)
    if state is None or state["lost_at"] is None:
        return
    session.run(
        "add_status",
        run=run,
        time=session.time(seen_at),
        status="RUNNING",
        reason="heartbeat received; the run is alive",
        inferred=1,
        attempt=None,
    )
    runs.refresh_status(session, run)
