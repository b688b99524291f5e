"""How far journals have been ingested, and which of their lines or events could not be stored."""

from collections.abc import Collection, Mapping, Sequence

from runbase.events import Problem
from runbase.storage.sql.session import Session


def problems(
    session: Session, run: str | None = None, limit: int = 100
) -> list[tuple[str, Problem]]:
    """Return what could not be stored, of a run or of all (the newest first): run id and problem."""
    if run is None:
        rows = session.rows("newest_problems", limit=limit)
    else:
        rows = session.rows("problems_of_run", run=run)[:limit]
    return [
        (row["run_id"], Problem(row["file"], row["offset"], row["reason"], row["line"]))
        for row in rows
    ]


def offsets(session: Session, journals: Sequence[str]) -> dict[str, int]:
    """Return how many bytes of each journal have been ingested; unknown journals are left out."""
    rows = session.rows("journal_offsets", journals=session.as_list(journals))
    return {row["id"]: row["offset"] for row in rows}


def totals(session: Session) -> dict[str, int]:
    """Count experiments, runs, points, journals, lines and damaged lines."""
    return dict(session.row("totals")) | dict(session.row("journal_totals"))


def synced_folders(session: Session) -> dict[str, int]:
    """Return run folders whose journals are all closed and ingested: path below the home → modification time (ns)."""
    return dict(tuple(row) for row in session.rows("synced_folders"))


def plain_folders(session: Session, before: float, most: int) -> list[str]:
    """Return paths of such folders with plain journals that have not changed since a time (seconds since the epoch)."""
    rows = session.rows("plain_folders", before=int(before * 1e9), most=most)
    return [row["path"] for row in rows]


def put_synced_folders(
    session: Session, folders: Mapping[str, int], packed: Collection[str] = ()
) -> None:
    """Record folders whose journals are all closed and ingested: path below the home → modification time (ns).

    `packed`: those of them whose journals are all packed.
    """
    rows = [
        {"path": path, "changed": changed, "packed": int(path in packed)}
        for path, changed in folders.items()
    ]
    session.many("put_synced_folder", rows)
