"""Locate the content of artifacts, and copy it to this machine.

The functions take a storage and a home; the classes for runs and stores both use them.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from runbase.artifacts import remote
from runbase.artifacts.hashes import digest_once
from runbase.artifacts.objects import SCHEMES
from runbase.artifacts.partial import resumable
from runbase.errors import NotFound, RunbaseError, StoreError, UsageError, suggestion
from runbase.ingest.untrusted import is_inside
from runbase.model import Artifact, Run
from runbase.settings import load
from runbase.storage.protocol import Storage
from runbase.storage.remote import files

if TYPE_CHECKING:
    from runbase.storage.remote.client import Client

_BUCKETS = tuple(f"{scheme}://" for scheme in SCHEMES)
ArtifactLike = Artifact | str
"""A record; ``name`` for the newest version, ``name:v3`` for that version; ``RUN/path``."""


def find(storage: Storage, what: ArtifactLike, experiment: str | None = None) -> Artifact:
    """Find an artifact.

    Args:
        storage: the database.
        what: its record; ``name`` or ``name:latest`` (the newest version), ``name:v3``, or ``RUN/path``.
        experiment: the id of the experiment that names are looked up in; None: all.

    Raises:
        NotFound: no artifact matches.
        UsageError: the name is empty.
    """
    if isinstance(what, Artifact):
        return what
    named = re.fullmatch(r"(.+?)(?::(?:v?(\d+)|latest))?", what, re.DOTALL)
    if named is None:
        raise UsageError("the name of an artifact is empty; use its name, name:v3, or RUN/path")
    try:
        versions = storage.artifact_versions(named[1], experiment)
    except NotFound:
        by_path = _by_path(storage, what)
        if by_path is None:
            raise
        return by_path
    if named[2] is None:
        return versions[-1]
    for artifact in versions:
        if artifact.version == int(named[2]):
            return artifact
    newest = versions[-1].version
    raise NotFound(f"{named[1]!r} has no version {named[2]}; its newest is v{newest}")


def locate(storage: Storage, home: Path | None, artifact: Artifact) -> str:
    """Return where the content of an artifact is: a path if it is on this machine, else a URL.

    A path must be in the run's folder, below the setting `artifacts`, or in a folder that was imported or scanned, so that a
    record from another system cannot refer to other files.

    Raises:
        NotFound: the content was removed, is in a folder of another machine, or is outside all of these folders.
    """
    if artifact.removed_at is not None:
        raise NotFound(f"the bytes of {artifact.path!r} were removed at {artifact.removed_at:%c}")
    run = storage.get_runs([artifact.run_id])[0]
    folder = None if home is None or run.folder is None else home / run.folder
    if folder is not None:
        for local in (artifact.uri, f"artifacts/{artifact.path}", artifact.path):
            place = folder / local
            if "://" not in local and place.exists() and is_inside(place, folder):
                return str(place)
    path = _local_path(artifact.uri)
    if path is None:
        return artifact.uri
    if path.is_absolute() and path.exists():
        if _may_read(storage, home, path, run):
            return str(path)
        raise NotFound(
            f"{artifact.path!r} of run {run.name} is recorded at {path}, which is outside of the home and "
            "of every folder that was imported or scanned; set `artifacts` to a folder above it to allow it"
        )
    raise NotFound(
        f"{artifact.path!r} of run {run.name} is not on this machine: it is in {run.folder} of the home "
        f"on {run.host or 'another host'}; set `artifacts` to a URL that all hosts can reach"
    )


def check_served(storage: Storage, artifact: Artifact) -> None:
    """Refuse an artifact that a server must not read with its own credentials: anybody who may log can record any URL.

    A URL must be below the setting `artifacts`, below a folder that was imported or scanned, or have the run's id as a part, as
    runbase's own uploads and MLflow's files have. Paths are checked by `locate`.

    Raises:
        NotFound: it is elsewhere.
    """
    if not _is_served(storage, artifact):
        raise NotFound(
            f"{artifact.path!r} of run {artifact.run_id} is recorded at {artifact.uri}, which is not a place of this "
            "server's artifacts; set `artifacts` of the server to a URL above it to allow it"
        )


def _is_served(storage: Storage, artifact: Artifact) -> bool:
    scheme, mark, rest = artifact.uri.partition("://")
    if not mark:
        return True
    parts = unquote(rest).split("/")
    if ".." in parts:
        return False
    roots = [*storage.artifact_roots(), load().text("artifacts") or ""]
    url = f"{scheme}://{rest}"
    below = any("://" in root and url.startswith(root.rstrip("/") + "/") for root in roots)
    return below or artifact.run_id in parts[1:]


def _may_read(storage: Storage, home: Path | None, path: Path, run: Run) -> bool:
    """Return whether the file of a record is in a folder that may contain files of runs."""
    places = [*storage.artifact_roots()]
    if home is not None:
        places.append(str(home))
    if (setting := load().text("artifacts")) and "://" not in setting:
        places.append(str(Path(setting).expanduser().absolute()))
    if any(is_inside(path, Path(root)) for root in places):
        return True
    # runbase's own uploads, and MLflow's files, are in a folder that has the run's id as its name.
    return run.id in path.resolve().parts


def download(
    storage: Storage,
    home: Path | None,
    artifact: Artifact,
    to: "str | os.PathLike[str] | None" = None,
) -> Path:
    """Return the content of an artifact as a file (or folder) on this machine, checked against its SHA-256.

    Without `to`, a local file is returned where it is, and others are kept in the user's cache.

    Raises:
        NotFound: the content is not available.
        StoreError: the content is not the one that was logged.
    """
    if artifact.path.endswith("/"):
        return _download_folder(storage, home, artifact, to)
    client: Client | None = getattr(storage, "client", None)
    try:
        place = locate(storage, home, artifact)
    except NotFound:
        if client is None or artifact.removed_at is not None:
            raise
        place = f"{client.server}/api/runs/{artifact.run_id}/files/{artifact.path}"
    if to is None and "://" not in place:
        _check(Path(place), artifact)
        return Path(place)
    target = remote.cached(artifact.sha256, artifact.path) if to is None else Path(to)
    if target.is_dir():
        target /= Path(artifact.path).name
    if to is None and target.exists() and digest_once(target) == artifact.sha256:
        return target

    def fetch(path: Path) -> None:
        if client is not None and place.startswith((f"{client.server}/", *_BUCKETS)):
            try:
                files.download(client, artifact.run_id, artifact.path, path)
                return
            except RunbaseError:
                if not place.startswith(_BUCKETS):
                    raise  # else this machine may have credentials that the server lacks
        remote.fetch(place, path, resume=True)

    with resumable(target, artifact.sha256) as partial:
        _fetch_whole(fetch, partial, artifact)
    return target


def _fetch_whole(fetch: Callable[[Path], None], partial: Path, artifact: Artifact) -> None:
    """Fetch what a file lacks, and check it; one that is wrong is fetched once more from its beginning, if it was resumed.

    Raises:
        StoreError: the content is not the one that was logged.
    """
    resumed = partial.exists() and partial.stat().st_size > 0
    if not resumed or partial.stat().st_size != artifact.size:
        fetch(partial)
    try:
        _check(partial, artifact)
    except StoreError:
        os.truncate(partial, 0)
        if not resumed:
            raise
        fetch(partial)
        _check(partial, artifact)


def _download_folder(
    storage: Storage, home: Path | None, found: Artifact, to: "str | os.PathLike[str] | None"
) -> Path:
    """Download every file of an artifact that was logged as a folder."""
    target = remote.cached(found.sha256, found.path) if to is None else Path(to)
    for part in storage.artifacts(found.run_id):
        inner = part.path.removeprefix(found.path)
        if inner and inner != part.path and part.removed_at is None:
            download(storage, home, part, target / inner)
    return target


def _by_path(storage: Storage, what: str) -> Artifact | None:
    word, slash, path = what.partition("/")
    if not slash:
        return None
    try:
        artifacts = storage.artifacts(storage.find_run(word, None, deleted=False))
    except NotFound:
        return None
    for artifact in artifacts:
        if artifact.path == path:
            return artifact
    raise NotFound(
        f"run {word!r} has no artifact {path!r}{suggestion(path, [a.path for a in artifacts])}"
    )


def _local_path(uri: str) -> Path | None:
    """Return the local path of a URI; None if it is not on this machine."""
    scheme, separator, rest = uri.rpartition("::")[2].partition("://")
    if not separator:
        return Path(uri)
    return Path(unquote(rest)) if scheme in ("file", "local") else None


def _check(path: Path, artifact: Artifact) -> None:
    if artifact.sha256 is not None and digest_once(path) != artifact.sha256:
        raise StoreError(
            f"the bytes of {artifact.path!r} are not those that were logged: {path} has another SHA-256"
        )
