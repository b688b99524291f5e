"""Artifacts: listed, found by name and version, located, fetched with their bytes checked."""

import os
import re
from pathlib import Path
from urllib.parse import unquote

from runbase.artifacts import roots
from runbase.artifacts.files import digest
from runbase.errors import NotFound, StoreError, UsageError, suggestion
from runbase.ingest.untrusted import is_inside
from runbase.model import Artifact, Run, Use
from runbase.settings import load
from runbase.store.base import ExperimentLike, RunLike, Shelf

ArtifactLike = Artifact | str
"""A record of one; ``name`` for the newest version, ``name:v3`` for that one; ``RUN/path``."""


class ArtifactShelf(Shelf):
    """The artifacts of a store's runs."""

    def artifacts(self, run: RunLike) -> list[Artifact]:
        """A run's files, those whose bytes were let go of (`removed_at`) among them."""
        return self._storage.artifacts(self._run_id(run))

    def artifact_versions(
        self, name: str, experiment: ExperimentLike | None = None
    ) -> list[Artifact]:
        """The versions of an artifact's name, oldest first."""
        found = None if experiment is None else self._experiment_id(experiment)
        return self._storage.artifact_versions(name, found)

    def artifact(self, what: ArtifactLike, experiment: ExperimentLike | None = None) -> Artifact:
        """One artifact: ``name`` or ``name:latest`` (the newest version), ``name:v3``, or ``RUN/path``,
        where RUN is a run's id or name. Raises NotFound.
        """
        if isinstance(what, Artifact):
            return what
        named = re.fullmatch(r"(.+?)(?::(?:v?(\d+)|latest))?", what, re.DOTALL)
        if named is None:
            raise UsageError(
                "an artifact is named by its name, name:v3, or RUN/path, not by nothing"
            )
        try:
            versions = self.artifact_versions(named[1], experiment)
        except NotFound:
            found = self._by_path(what)
            if found is None:
                raise
            return found
        if named[2] is None:
            return versions[-1]
        for artifact in versions:
            if artifact.version == int(named[2]):
                return artifact
        newest = versions[-1].version
        raise NotFound(f"{named[1]!r} has no version {named[2]}; its newest is v{newest}")

    def uses(self, run: RunLike) -> list[Use]:
        """What a run used of other runs, and which runs used what it made."""
        return self._storage.uses(self._run_id(run))

    def locate(self, artifact: ArtifactLike) -> str:
        """Where its bytes are: a path on this machine if they are here, else a URL.

        A path lies in the run's folder, below the setting `artifacts`, or in a folder that was imported
        or scanned: a record that somebody else wrote cannot point at other files. Raises NotFound where
        the bytes were removed, are in a folder of another machine, or outside of all of these.
        """
        found = self.artifact(artifact)
        if found.removed_at is not None:
            raise NotFound(f"the bytes of {found.path!r} were removed at {found.removed_at:%c}")
        run = self._runs_by_id([found.run_id])[0]
        folder = None if self.home is None or run.folder is None else self.home / run.folder
        if folder is not None:
            for local in (found.uri, f"artifacts/{found.path}", found.path):
                place = folder / local
                if "://" not in local and place.exists() and is_inside(place, folder):
                    return str(place)
        path = _local_path(found.uri)
        if path is None:
            return found.uri
        if path.is_absolute() and path.exists():
            if self._may_read(path, run):
                return str(path)
            raise NotFound(
                f"{found.path!r} of run {run.name} is said to be {path}, which lies outside of the home and "
                "of every folder that was imported or scanned; set `artifacts` to a folder above it to allow it"
            )
        raise NotFound(
            f"{found.path!r} of run {run.name} is not on this machine: it is in {run.folder} of the home "
            f"on {run.host or 'another host'}; set `artifacts` to a URL that all can reach"
        )

    def _may_read(self, path: Path, run: Run) -> bool:
        """Whether a file that a record names lies where files of runs do."""
        places = [*self._storage.artifact_roots()]
        if self.home is not None:
            places.append(str(self.home))
        if (setting := load().text("artifacts")) and "://" not in setting:
            places.append(str(Path(setting).expanduser().absolute()))
        if any(is_inside(path, Path(root)) for root in places):
            return True
        # Our own uploads, and MLflow's files, are in a folder that has the run's id as its name.
        return run.id in path.resolve().parts

    def download(self, artifact: ArtifactLike, to: "str | os.PathLike[str] | None" = None) -> Path:
        """Its bytes as a file (or a folder of files) on this machine, checked against their SHA-256.

        Without `to`, files that are here are given as they are, and others kept in the user's cache.
        Raises NotFound, and StoreError where the bytes are not those that were logged.
        """
        found = self.artifact(artifact)
        if found.path.endswith("/"):
            return self._download_folder(found, to)
        place = self.locate(found)
        if to is None and "://" not in place:
            _check(Path(place), found)
            return Path(place)
        target = roots.cached(found.sha256, found.path) if to is None else Path(to)
        if target.is_dir():
            target /= Path(found.path).name
        if to is None and target.exists() and digest(target) == found.sha256:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            roots.fetch(place, partial)
            _check(partial, found)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return target

    def _download_folder(self, found: Artifact, to: "str | os.PathLike[str] | None") -> Path:
        """Every file of a folder that was logged as one."""
        target = roots.cached(found.sha256, found.path) if to is None else Path(to)
        for part in self.artifacts(found.run_id):
            inner = part.path.removeprefix(found.path)
            if inner and inner != part.path and part.removed_at is None:
                self.download(part, target / inner)
        return target

    def _by_path(self, what: str) -> Artifact | None:
        word, slash, path = what.partition("/")
        if not slash:
            return None
        try:
            artifacts = self.artifacts(word)
        except NotFound:
            return None
        for artifact in artifacts:
            if artifact.path == path:
                return artifact
        raise NotFound(
            f"run {word!r} has no artifact {path!r}{suggestion(path, [a.path for a in artifacts])}"
        )


def _local_path(uri: str) -> Path | None:
    """The path that a URI names on this machine; None for one of another place."""
    scheme, separator, rest = uri.rpartition("::")[2].partition("://")
    if not separator:
        return Path(uri)
    return Path(unquote(rest)) if scheme in ("file", "local") else None


def _check(path: Path, artifact: Artifact) -> None:
    if artifact.sha256 is not None and digest(path) != artifact.sha256:
        raise StoreError(
            f"the bytes of {artifact.path!r} are not those that were logged: {path} has another SHA-256"
        )
