"""Artifact methods of a store: list, find by name and version, locate, download with a checksum."""

import os
from pathlib import Path

from runbase.artifacts import remote, resolve
from runbase.artifacts.resolve import ArtifactLike
from runbase.model import Artifact, Use
from runbase.store.base import StoreBase
from runbase.typing import ExperimentLike, RunLike


class ArtifactMethods(StoreBase):
    """The artifacts of a store's runs."""

    def artifacts(self, run: RunLike) -> list[Artifact]:
        """Return the artifacts of a run, including those whose bytes were removed (`removed_at`)."""
        return self.reader.artifacts(self._run_id(run))

    def artifact_versions(
        self, name: str, experiment: ExperimentLike | None = None
    ) -> list[Artifact]:
        """Return the versions of a named artifact, oldest first, in one experiment or all."""
        experiment_id = None if experiment is None else self._experiment_id(experiment)
        return self.reader.artifact_versions(name, experiment_id)

    def artifact(self, what: ArtifactLike, experiment: ExperimentLike | None = None) -> Artifact:
        """Return one artifact.

        Args:
            what: ``name`` or ``name:latest`` (the newest version), ``name:v3``, or ``RUN/path``, where
                RUN is the id or the name of a run.
            experiment: look for a name in this experiment only.

        Raises:
            NotFound: the artifact does not exist.
        """
        experiment_id = None if experiment is None else self._experiment_id(experiment)
        return resolve.find(self.storage, what, experiment_id)

    def uses(self, run: RunLike) -> list[Use]:
        """Return the artifacts of other runs that a run used, and the uses of its own artifacts."""
        return self.reader.uses(self._run_id(run))

    def locate(self, artifact: ArtifactLike) -> str:
        """Return the location of an artifact: a path on this machine if the bytes are here, else a URL.

        A path is always inside the run's folder, the setting `artifacts`, or an imported or scanned
        folder. A record written by another user therefore cannot refer to other files.

        Raises:
            NotFound: the bytes were removed, are in a folder of another machine, or are outside
                these folders.
        """
        return resolve.locate(self.storage, self.home, self.artifact(artifact))

    def signed_url(self, artifact: ArtifactLike, seconds: int = 300) -> str | None:
        """Return a URL by which anybody can read an artifact for some time, without credentials. Do not log it.

        Args:
            artifact: the artifact, as for `artifact`.
            seconds: how long the URL is valid.

        Returns:
            None if the artifact is not in S3, Google Cloud Storage or Azure, or the credentials cannot sign.

        Raises:
            NotFound: the artifact or its bytes do not exist.
        """
        return remote.signed(self.locate(artifact), seconds)

    def download(self, artifact: ArtifactLike, to: "str | os.PathLike[str] | None" = None) -> Path:
        """Return an artifact as a file or folder on this machine, checked against its SHA-256.

        Args:
            artifact: the artifact, as for `artifact`.
            to: where to copy it. Default: the original path if it is on this machine, else a copy in
                the user's cache folder.

        Returns:
            The path of the file or folder.

        Raises:
            NotFound: the artifact or its bytes do not exist.
            StoreError: the bytes are not those that were logged.
        """
        return resolve.download(self.storage, self.home, self.artifact(artifact), to)
