"""Artifacts: listed, found by name and version, located, fetched with their bytes checked."""

import os
from pathlib import Path

from runbase.artifacts import resolve
from runbase.artifacts.resolve import ArtifactLike
from runbase.model import Artifact, Use
from runbase.store.base import ExperimentLike, RunLike, StoreBase


class ArtifactMethods(StoreBase):
    """The artifacts of a store's runs."""

    def artifacts(self, run: RunLike) -> list[Artifact]:
        """A run's files, those whose bytes were let go of (`removed_at`) among them."""
        return self.storage.artifacts(self._run_id(run))

    def artifact_versions(
        self, name: str, experiment: ExperimentLike | None = None
    ) -> list[Artifact]:
        """The versions of an artifact's name, oldest first."""
        found = None if experiment is None else self._experiment_id(experiment)
        return self.storage.artifact_versions(name, found)

    def artifact(self, what: ArtifactLike, experiment: ExperimentLike | None = None) -> Artifact:
        """One artifact: ``name`` or ``name:latest`` (the newest version), ``name:v3``, or ``RUN/path``,
        where RUN is a run's id or name. Raises NotFound.
        """
        found = None if experiment is None else self._experiment_id(experiment)
        return resolve.find(self.storage, what, found)

    def uses(self, run: RunLike) -> list[Use]:
        """What a run used of other runs, and which runs used what it made."""
        return self.storage.uses(self._run_id(run))

    def locate(self, artifact: ArtifactLike) -> str:
        """Where its bytes are: a path on this machine if they are here, else a URL.

        A path lies in the run's folder, below the setting `artifacts`, or in a folder that was imported
        or scanned: a record that somebody else wrote cannot point at other files. Raises NotFound where
        the bytes were removed, are in a folder of another machine, or outside of all of these.
        """
        return resolve.locate(self.storage, self.home, self.artifact(artifact))

    def download(self, artifact: ArtifactLike, to: "str | os.PathLike[str] | None" = None) -> Path:
        """Its bytes as a file (or a folder of files) on this machine, checked against their SHA-256.

        Without `to`, files that are here are given as they are, and others kept in the user's cache.
        Raises NotFound, and StoreError where the bytes are not those that were logged.
        """
        return resolve.download(self.storage, self.home, self.artifact(artifact), to)
