"""Artifacts: logged, versioned by name, used by other runs, let go of."""

import time
from typing import Any, cast

from runbase.errors import NotFound, suggestion
from runbase.events import ArtifactLogged, ArtifactRemoved, ArtifactUsed
from runbase.model import Artifact, Use
from runbase.storage.sql.session import Session
from runbase.values import stored_key


def logged(session: Session, run: str, event: ArtifactLogged) -> None:
    """A file of the run; one of a name that changed is the name's next version."""
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
    """The run read an artifact of another."""
    time = session.time(event.time)
    session.run("use_artifact", run=run, owner=event.owner, path=stored_key(event.path), time=time)


def removed(session: Session, run: str, event: ArtifactRemoved) -> None:
    """Its bytes are gone; that it was there stays known."""
    session.run(
        "remove_artifact", run=run, path=stored_key(event.path), time=session.time(event.time)
    )


def listing(session: Session, run: str) -> list[Artifact]:
    """A run's files, by path."""
    return [record(session, row) for row in session.rows("artifacts_of_run", run=run)]


def versions(session: Session, name: str, experiment: str | None = None) -> list[Artifact]:
    """The versions of a name, oldest first."""
    rows = session.rows("artifact_versions", name=name, experiment=experiment)
    if not rows:
        names = [row["name"] for row in session.rows("artifact_names")]
        raise NotFound(f"no artifact is named {name!r}{suggestion(name, names)}")
    return [record(session, row) for row in rows]


def uses(session: Session, run: str) -> list[Use]:
    """What a run used, and by whom its own artifacts were used."""
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
    """The folders below which files of imported and scanned runs may be read."""
    return [row["path"] for row in session.rows("artifact_roots")]


def add_root(session: Session, path: str) -> None:
    """Allow files of imported and scanned runs to be read below a folder."""
    session.run("add_artifact_root", path=path, time=session.time(time.time()))


def record(session: Session, row: Any) -> Artifact:
    """A row as a record."""
    fields: dict[str, Any] = dict(row)
    fields["metadata"] = session.document(row["metadata"])
    fields["created_at"] = session.moment(row["created_at"])
    fields["removed_at"] = session.moment(row["removed_at"])
    return Artifact(**fields)


def _version(session: Session, run: str, event: ArtifactLogged) -> int:
    """The number of this version: that of the one with the same bytes, else the next."""
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
