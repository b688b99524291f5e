"""Scanned folders: their stamps, and the runs whose folders were removed."""

import time as clock
from collections.abc import Sequence

from runbase.storage.sql import runs
from runbase.storage.sql.session import Session
from runbase.storage.types import Scanned


def below(session: Session, root: str) -> dict[str, Scanned]:
    """Return scanned folders at or below a root, by path."""
    below = root.rstrip("/") + "/"
    rows = session.rows("scans_below", root=root, below=below, length=len(below))
    return {
        row["path"]: Scanned(
            path=row["path"], format=row["format"], run=row["run_id"], stamp=row["stamp"]
        )
        for row in rows
    }


def put(session: Session, found: Sequence[Scanned]) -> int:
    """Record folders as they were read; returns how many of their runs had been missing."""
    now = session.time(clock.time())
    found = sorted(found, key=lambda folder: folder.path)
    ids = {folder.run for folder in found}
    runs.lock(session, ids)
    session.many(
        "put_scan",
        [
            {"path": f.path, "format": f.format, "run": f.run, "stamp": f.stamp, "time": now}
            for f in found
        ],
    )
    session.many("place_run", [{"run": f.run, "folder": f.place} for f in found if f.place])
    return session.changed("folder_found", runs=session.as_list(sorted(ids)))


def gone(session: Session, missing: Sequence[Scanned]) -> int:
    """Record that folders were removed; returns how many runs have no folder left."""
    now = session.time(clock.time())
    ids = {folder.run for folder in missing}
    runs.lock(session, ids)
    session.many("forget_scan", [{"path": path} for path in sorted(f.path for f in missing)])
    return sum(session.changed("folder_missing", run=run, time=now) for run in sorted(ids))
