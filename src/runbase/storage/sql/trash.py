"""Deletion in two steps: move to the trash, from which everything can be restored; and purge, which is permanent."""

import time
from collections.abc import Sequence

from runbase.storage.sql.session import Session


def put(session: Session, kind: str, ids: Sequence[str], *, back: bool = False) -> int:
    """Move runs or experiments to the trash, or `back` out of it; returns how many were moved.

    An experiment takes along its runs that are not yet in the trash; restoring it restores only these.
    """
    statement = {"run": "trash_runs", "experiment": "trash_experiments"}[kind]
    moment = None if back else session.time(time.time())
    if kind == "experiment":
        below = "restore_runs_of_experiments" if back else "trash_runs_of_experiments"
        session.run(below, ids=session.as_list(ids), **({} if back else {"time": moment}))
    return session.changed(statement, ids=session.as_list(ids), time=moment)


def purge_runs(session: Session, ids: Sequence[str]) -> list[str]:
    """Delete runs permanently, with all points; returns the folders that contained only their files.

    Children of the runs, and runs that used their artifacts, are not changed.
    """
    listed = session.as_list(ids)
    there = [row["id"] for row in session.rows("runs_there", ids=listed)]
    folders = [row["folder"] for row in session.rows("folders_of_runs", ids=listed)]
    # Delete blocks first, by series: the cascade would look up each group's blocks one by one.
    session.run("purge_blocks", ids=listed)
    session.run("purge_groups", ids=listed)
    session.run("purge_runs", ids=listed)
    now = session.time(time.time())
    session.many("record_purged", [{"id": id, "time": now} for id in there])
    return folders


def purge_experiments(session: Session, ids: Sequence[str]) -> list[str]:
    """Delete experiments permanently, with all their runs; returns the folders that contained the runs' files."""
    listed = session.as_list(ids)
    below = [row["id"] for row in session.rows("runs_of_experiments", ids=listed)]
    folders = purge_runs(session, below) if below else []
    session.run("purge_experiments", ids=listed)
    return folders


def old(session: Session, before: float) -> tuple[list[str], list[str]]:
    """Return the ids of runs, and of experiments, that were moved to the trash before a time."""
    moment = session.time(before)
    runs = [row["id"] for row in session.rows("runs_deleted_before", before=moment)]
    experiments = [row["id"] for row in session.rows("experiments_deleted_before", before=moment)]
    return runs, experiments


def purge(session: Session, kind: str, ids: Sequence[str]) -> list[str]:
    """Delete permanently, with all that belongs to it; returns the folders that contained the runs' files."""
    return (purge_runs if kind == "run" else purge_experiments)(session, ids)


def purged(session: Session, ids: Sequence[str]) -> set[str]:
    """Return which of some runs were deleted permanently."""
    return {row["id"] for row in session.rows("purged_of", ids=session.as_list(ids))}


def folders(session: Session, ids: Sequence[str]) -> list[str]:
    """Return the folders that only these runs have files in."""
    return [row["folder"] for row in session.rows("folders_of_runs", ids=session.as_list(ids))]


def uploads(session: Session, ids: Sequence[str]) -> list[str]:
    """Return the URLs of files that these runs uploaded and no other run refers to."""
    return [row["uri"] for row in session.rows("uploads_of_runs", ids=session.as_list(ids))]


def runs_of_experiments(session: Session, experiments: Sequence[str]) -> list[str]:
    """Return the ids of the runs of experiments, deleted ones included."""
    rows = session.rows("runs_of_experiments", ids=session.as_list(experiments))
    return [row["id"] for row in rows]
