"""What changed since a place in the list of changes."""

from runbase.errors import UsageError
from runbase.storage.sql.session import Session
from runbase.storage.types import Changes


def since(session: Session, cursor: str | None = None) -> Changes:
    """Return the runs and experiments that changed, oldest change first, and the new cursor.

    Without a cursor, and with one of a database that was replaced since, nothing is listed: `reset` is true, and the caller
    reads everything that it shows.
    """
    if cursor is None:
        return Changes([], [], str(session.row("last_change")["seq"]), reset=True)
    try:
        place = int(cursor)
    except ValueError:
        raise UsageError(f"{cursor!r} is not a cursor of a list of changes") from None
    if session.dialect == "sqlite":  # one statement, if nothing changed
        rows = session.rows("changes_since", since=place)
        last = rows[-1]["seq"] if rows else place
        replaced = not rows and session.row("last_change")["seq"] < place
    else:
        last = session.row("last_change")["seq"]
        rows = session.rows("changes_since", since=place)
        replaced = place > last
    if replaced:
        return Changes([], [], str(session.row("last_change")["seq"]), reset=True)
    ids: dict[str, list[str]] = {"run": [], "experiment": []}
    for row in rows:
        ids[row["kind"]].append(row["id"])
    return Changes(ids["run"], ids["experiment"], str(last))
