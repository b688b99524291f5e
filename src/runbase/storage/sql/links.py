"""Links between runs, and between experiments."""

from runbase.errors import UsageError
from runbase.model import Link
from runbase.storage.sql.edits import touch
from runbase.storage.sql.session import Session
from runbase.storage.types import Kind


def link(session: Session, kind: Kind, from_id: str, name: str, to_id: str) -> None:
    """Link one run or experiment to another; a repeated call has no effect."""
    if from_id == to_id:
        raise UsageError(f"a {kind} cannot link to itself")
    statement = "link_runs" if kind == "run" else "link_experiments"
    session.run(statement, from_id=from_id, kind=name, to_id=to_id)
    touch(session, kind, from_id)


def unlink(session: Session, kind: Kind, from_id: str, name: str | None, to_id: str) -> int:
    """Remove links; returns how many were removed."""
    statement = "unlink_runs" if kind == "run" else "unlink_experiments"
    removed = session.changed(statement, from_id=from_id, kind=name, to_id=to_id)
    touch(session, kind, from_id)
    return removed


def of(session: Session, kind: Kind, key: str) -> list[Link]:
    """Return the links that begin or end at a run or an experiment."""
    statement = "links_of_run" if kind == "run" else "links_of_experiment"
    return [
        Link(from_id=row["from_id"], kind=row["kind"], to_id=row["to_id"])
        for row in session.rows(statement, id=key)
    ]
