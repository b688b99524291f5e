"""Deleting in two steps: into the bin, from where all comes back; and purging, which is for good."""

import time
from collections.abc import Sequence

from runbase.storage.sql.session import Session


def put(session: Session, kind: str, ids: Sequence[str], *, back: bool = False) -> int:
    """Runs or experiments into the bin, or `back` out of it; how many there were.

    An experiment takes those of its runs along that are not there yet, and brings just them back.
    """
    statement = {"run": "trash_runs", "experiment": "trash_experiments"}[kind]
    moment = None if back else session.time(time.time())
    if kind == "experiment":
        below = "restore_runs_of_experiments" if back else "trash_runs_of_experiments"
        session.run(below, ids=session.as_list(ids), **({} if back else {"time": moment}))
    return session.changed(statement, ids=session.as_list(ids), time=moment)


def purge_runs(session: Session, ids: Sequence[str]) -> list[str]:
    """Runs for good, with all their points; the folders that held their files and nobody else's.

    Children and whoever used their artifacts stay as they are.
    """
    listed = session.as_list(ids)
    there = [row["id"] for row in session.rows("runs_there", ids=listed)]
    folders = [row["folder"] for row in session.rows("folders_of_runs", ids=listed)]
    # Blocks first and by their series: the cascade would look for each group's blocks one by one.
    session.run("purge_blocks", ids=listed)
    session.run("purge_groups", ids=listed)
    session.run("purge_runs", ids=listed)
    now = session.time(time.time())
    session.many("record_purged", [{"id": id, "time": now} for id in there])
    return folders


def purge_experiments(session: Session, ids: Sequence[str]) -> list[str]:
    """Experiments for good, with all their runs; the folders that held the runs' files."""
    listed = session.as_list(ids)
    below = [row["id"] for row in session.rows("runs_of_experiments", ids=listed)]
    folders = purge_runs(session, below) if below else []
    session.run("purge_experiments", ids=listed)
    return folders


def old(session: Session, before: float) -> tuple[list[str], list[str]]:
    """Ids of runs, and of experiments, that went into the bin before a moment."""
    moment = session.time(before)
    runs = [row["id"] for row in session.rows("runs_deleted_before", before=moment)]
    experiments = [row["id"] for row in session.rows("experiments_deleted_before", before=moment)]
    return runs, experiments


def purge(session: Session, kind: str, ids: Sequence[str]) -> list[str]:
    """Delete permanently, with all that belongs to it; the folders that held the runs' files."""
    return (purge_runs if kind == "run" else purge_experiments)(session, ids)


def purged(session: Session, ids: Sequence[str]) -> set[str]:
    """Which of some runs were deleted permanently."""
    return {row["id"] for row in session.rows("purged_of", ids=session.as_list(ids))}


def folders(session: Session, ids: Sequence[str]) -> list[str]:
    """The folders that only these runs have files in."""
    return [row["folder"] for row in session.rows("folders_of_runs", ids=session.as_list(ids))]


def uploads(session: Session, ids: Sequence[str]) -> list[str]:
    """The URLs of what these runs uploaded and no other run refers to."""
    return [row["uri"] for row in session.rows("uploads_of_runs", ids=session.as_list(ids))]


def runs_of_experiments(session: Session, experiments: Sequence[str]) -> list[str]:
    """The ids of the runs of experiments, deleted ones included."""
    rows = session.rows("runs_of_experiments", ids=session.as_list(experiments))
    return [row["id"] for row in rows]
