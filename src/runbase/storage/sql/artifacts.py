"""Artifacts: log, version by name, record uses, remove."""

import time
from typing import Any, cast

from runbase.errors import NotFound, suggestion
from runbase.events import ArtifactLogged, ArtifactRemoved, ArtifactUsed
from runbase.model import Artifact, Use
from runbase.storage.sql.session import Session
from runbase.values import stored_key


def logged(session: Session, run: str, event: ArtifactLogged) -> None:
    """Store a file of a run; a changed file with the same name becomes the next version of the name."""
    version = None if event.name is None else _version(session, run, event)
    session.run(
        "set_artifact",
        run=run,
        path=stored_key(event.path),
        kind=event.kind,
        uri=event.uri,
        size=event.size,
        sha256=event.sha256,
        mime=event.mime,
        step=event.step,
        metadata=session.json(event.metadata),
        time=session.time(event.time),
        name=event.name,
        version=version,
    )


def used(session: Session, run: str, event: ArtifactUsed) -> None:
    """Record that a run used an artifact of another run."""
    time = session.time(event.time)
    session.run("use_artifact", run=run, owner=event.owner, path=stored_key(event.path), time=time)


def removed(session: Session, run: str, event: ArtifactRemoved) -> None:
    """Record that the content of an artifact was removed; its row is kept."""
    session.run(
        "remove_artifact", run=run, path=stored_key(event.path), time=session.time(event.time)
    )


def listing(session: Session, run: str) -> list[Artifact]:
    """Return the artifacts of a run, by path."""
    return [record(session, row) for row in session.rows("artifacts_of_run", run=run)]


def versions(session: Session, name: str, experiment: str | None = None) -> list[Artifact]:
    """Return the versions of a name, oldest first."""
    rows = session.rows("artifact_versions", name=name, experiment=experiment)
    if not rows:
        names = [row["name"] for row in session.rows("artifact_names")]
        raise NotFound(f"no artifact is named {name!r}{suggestion(name, names)}")
    return [record(session, row) for row in rows]


def uses(session: Session, run: str) -> list[Use]:
    """Return which artifacts a run used, and which runs used its own."""
    return [
        Use(
            run_id=row["run_id"],
            owner_id=row["owner_id"],
            path=row["path"],
            time=cast("Any", session.moment(row["time"])),
        )
        for row in session.rows("uses_of_run", run=run)
    ]


def roots(session: Session) -> list[str]:
    """Return the folders below which files of imported and scanned runs may be read."""
    return [row["path"] for row in session.rows("artifact_roots")]


def add_root(session: Session, path: str) -> None:
    """Allow files of imported and scanned runs to be read below a folder."""
    session.run("add_artifact_root", path=path, time=session.time(time.time()))


def record(session: Session, row: Any) -> Artifact:
    """Convert a row to a record."""
    fields: dict[str, Any] = dict(row)
    fields["metadata"] = session.document(row["metadata"])
    fields["created_at"] = session.moment(row["created_at"])
    fields["removed_at"] = session.moment(row["removed_at"])
    return Artifact(**fields)


def _version(session: Session, run: str, event: ArtifactLogged) -> int:
    """Return the number of this version: that of the version with the same content, else the next."""
    row = session.row("run_experiment", run=run)
    session.rows("lock_experiment", id=row["experiment_id"])
    last = session.row(
        "version_of_artifact",
        name=event.name,
        experiment=row["experiment_id"],
        sha256=event.sha256,
        run=run,
        path=stored_key(event.path),
    )
    return last["same"] or (last["newest"] or 0) + 1
