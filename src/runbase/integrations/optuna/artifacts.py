"""Optuna's artifact store on a runbase store: artifacts of a trial are artifacts of its run.

    from optuna.artifacts import upload_artifact
    from runbase.integrations.optuna import RunbaseArtifactStore, RunbaseStorage

    storage = RunbaseStorage()
    artifacts = RunbaseArtifactStore(storage)
    upload_artifact(artifact_store=artifacts, file_path="model.pt", study_or_trial=trial)

`store.artifacts(run)`, `runbase show` and `download` then include them, with size and SHA-256. Artifacts of a study
belong to no run; they are stored in the same folder.
"""

import hashlib
import json
import os
import re
import time
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from optuna.artifacts.exceptions import ArtifactNotFound

import runbase
from runbase.errors import UsageError
from runbase.events import ArtifactLogged, ArtifactRemoved
from runbase.filesystems import atomic_write


class _HasStore(Protocol):
    """The interface of `RunbaseStorage` that this module needs."""

    @property
    def store(self) -> runbase.Store:
        """The store that it uses."""
        ...


FOLDER = "optuna-artifacts"
_KEY = "artifacts:"
_ID = re.compile(r"[\w-]{1,100}")
_PIECE = 1 << 20


class RunbaseArtifactStore:
    """A folder of artifacts, each recorded as an artifact of its trial's run.

    Args:
        store: the `RunbaseStorage` of the study, or its store.
        folder: where to store the bytes. Default: ``optuna-artifacts`` in the home of the store.

    Raises:
        UsageError: no folder is passed and the store has no home on this machine.
    """

    def __init__(
        self,
        store: "_HasStore | runbase.Store",
        folder: "str | os.PathLike[str] | None" = None,
    ) -> None:
        self._store = store if isinstance(store, runbase.Store) else store.store
        if folder is None and self._store.home is None:
            raise UsageError(
                f"{self._store!r} has no home on this machine; pass a folder for the artifacts, "
                "RunbaseArtifactStore(storage, folder='…')"
            )
        self._folder = Path(folder or self._store.home / FOLDER).absolute()  # type: ignore[operator]

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store the bytes, and log them as an artifact of the trial that refers to them."""
        place = self._place(artifact_id)
        sha256, size = hashlib.sha256(), 0
        with atomic_write(place) as partial, partial.open("wb") as file:
            while piece := content_body.read(_PIECE):
                sha256.update(piece)
                size += len(piece)
                file.write(piece)
        run, metadata = self._metadata(artifact_id)
        if run is None:
            return  # an artifact of a study
        name = Path(str(metadata.get("filename") or artifact_id)).name
        taken = {artifact.path for artifact in self._store.artifacts(run)}
        logged = ArtifactLogged(
            time=time.time(),
            path=name if name not in taken else f"{artifact_id}/{name}",
            kind="file",
            uri=str(place),
            size=size,
            sha256=sha256.hexdigest(),
            mime=metadata.get("mimetype"),
            metadata={"optuna": artifact_id},
        )
        self._storage.log_artifact(run, logged)

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """Open an artifact for reading; raise ArtifactNotFound if it does not exist."""
        try:
            return self._place(artifact_id).open("rb")
        except FileNotFoundError as missing:
            raise ArtifactNotFound(f"artifact {artifact_id} not found") from missing

    def remove(self, artifact_id: str) -> None:
        """Remove the bytes; the record of the artifact stays."""
        place = self._place(artifact_id)
        if not place.exists():
            raise ArtifactNotFound(f"artifact {artifact_id} not found")
        place.unlink()
        run, _ = self._metadata(artifact_id)
        for artifact in [] if run is None else self._store.artifacts(run):
            if artifact.metadata.get("optuna") == artifact_id:
                self._storage.remove_artifact(
                    artifact.run_id, ArtifactRemoved(time=time.time(), path=artifact.path)
                )

    @property
    def _storage(self) -> Any:
        return self._store.storage

    def _place(self, artifact_id: str) -> Path:
        if not _ID.fullmatch(artifact_id):
            raise UsageError(f"{artifact_id!r} is not an artifact id")
        return self._folder / artifact_id

    def _metadata(self, artifact_id: str) -> tuple[str | None, dict[str, Any]]:
        """Return the run of an artifact (None for a study) and Optuna's metadata of it."""
        self._storage.flush()
        rows = self._store.storage.sql(
            "select run_id, text from attributes where scope = 'system' and key = :key",
            {"key": f"{_KEY}{artifact_id}"},
        )
        if not rows:
            return None, {}
        return rows[0][0], json.loads(rows[0][1])


__all__ = ["RunbaseArtifactStore"]
