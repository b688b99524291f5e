"""Artifact methods of `Run`: log files and versions, keep the best checkpoints, use artifacts of other runs."""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from runbase.analysis.directions import lower_is_better
from runbase.artifacts.files import copy, safe_name, sources
from runbase.artifacts.hashes import digest
from runbase.errors import UsageError
from runbase.events import ArtifactLogged, ArtifactRemoved, ArtifactUsed
from runbase.run.base import Recorder
from runbase.typing import JsonObject, StepLike
from runbase.values import as_direction, encode_json, to_parameter, to_scalar

if TYPE_CHECKING:
    from runbase.model import Artifact
    from runbase.run.background import RunMonitor

CHECKPOINTS = "checkpoints.json"
"""The file in the run folder that lists the checkpoints kept; read when the run is resumed."""


class ArtifactLog(Recorder):
    """The artifacts of a run."""

    id: str
    experiment: str
    _monitor: "RunMonitor"

    def log_artifact(
        self,
        path: "str | os.PathLike[str]",
        *,
        name: str | None = None,
        kind: str = "file",
        step: StepLike = None,
        metadata: Mapping[str, object] | None = None,
        version_of: str | None = None,
    ) -> None:
        """Copy a file or a folder into the run, with its size and SHA-256.

        If the setting `artifacts` names a place, it is uploaded there in the background.

        Args:
            path: the file or folder.
            name: its path within the run; an artifact of the same name is replaced. Default: the name
                of the file.
            kind: such as checkpoint, model, data.
            step: the step that it belongs to.
            metadata: name → number, text, bool, None or list.
            version_of: log it as the next version of this name in the experiment, or as the existing
                version if the bytes are the same. `use_artifact("digits:v2")` finds it.

        Raises:
            InvalidValue: the file does not exist.
            RunFinished: the run has ended.
        """
        source = Path(path).expanduser()
        label = name or source.name or "files"
        if version_of is not None and name is None:
            label = f"{version_of}/{_mark(source)[:12]}/{label}"
        label = safe_name(label)
        rest: JsonObject = {
            "kind": kind,
            "step": None if step is None else self._step_of(step),
            "metadata": {k: to_parameter(k, v) for k, v in (metadata or {}).items()},
        }
        series = None if source.is_dir() else version_of
        logged = [self._log_file(f, n, name=series, **rest) for f, n in sources(source, label)]
        if source.is_dir() and version_of is not None:
            self._log_folder(label, version_of, [a for a in logged if a is not None], rest)

    def log_checkpoint(
        self,
        path: "str | os.PathLike[str]",
        *,
        step: StepLike = None,
        metrics: Mapping[str, object] | None = None,
        monitor: str | None = None,
        direction: str | None = None,
        keep: int | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        """Copy a checkpoint into the run.

        `store.best_checkpoint(experiment)` returns the best checkpoint of the best run.

        Args:
            path: the saved file or folder.
            step: Default: the step of the latest log call.
            metrics: the metrics of the checkpoint, such as ``{"val/acc": 0.93}``.
            monitor: the one of these metrics that decides which checkpoint is best. Default: the
                only one.
            direction: ``"min"`` or ``"max"``. Default: derived from the metric's name (lower is better
                for names such as loss and error).
            keep: the number of latest checkpoints to keep, in addition to the best one. The bytes of
                others are removed, here and where they were uploaded. Default: all.
            metadata: name → number, text, bool, None or list.

        Raises:
            InvalidValue: the file does not exist.
            UsageError: an option is not valid.
            RunFinished: the run has ended.
        """
        direction = None if direction is None else as_direction(direction, monitor or "")
        if keep is not None and keep < 1:
            raise UsageError(f"keep is {keep}; it must be at least 1")
        at = self._step_of(step)
        figures = {key: to_scalar(key, value)[0] for key, value in (metrics or {}).items()}
        if monitor is None and len(figures) == 1:
            monitor = next(iter(figures))
        if monitor is not None and monitor not in figures:
            raise UsageError(
                f"monitor is {monitor!r}, but metrics contains {', '.join(figures) or 'nothing'}; "
                "add its value to metrics"
            )
        about = {**(metadata or {}), "metrics": figures, "monitor": monitor, "best": False}
        source = Path(path).expanduser()
        label = f"checkpoints/step-{at:08}" if isinstance(at, int) else f"checkpoints/step-{at}"
        events = [
            self._log_file(file, name, kind="checkpoint", step=at, metadata=about)
            for file, name in sources(source, safe_name(f"{label}/{source.name}"))
        ]
        logged = [event for event in events if event is not None]
        if logged:
            less = lower_is_better(monitor or "") if direction is None else direction == "min"
            self._keep_checkpoints(logged, monitor, less, keep)

    def use_artifact(self, artifact: "str | Artifact", *, download: bool = True) -> Path | None:
        """Record that this run uses an artifact of another run, and return it as a checked file.

        Unlike `log`, this queries the database.

        Args:
            artifact: a record, ``name`` (the newest version), ``name:v3``, or ``RUN/path``.
            download: provide the file; if false, only record the use.

        Returns:
            The path of the file or folder; None without `download`.

        Raises:
            NotFound: the artifact does not exist.
            StoreError: the bytes are not those that were logged.
        """
        home = self.folder.parents[2]
        # Imported here, because training without artifacts needs neither a driver nor NumPy.
        from runbase.artifacts import resolve
        from runbase.settings import database
        from runbase.storage.open import open_storage

        with closing(open_storage(self._monitor.store or f"sqlite:///{database(home)}")) as storage:
            used = resolve.find(storage, artifact)
            self._append(ArtifactUsed(time=time.time(), owner=used.run_id, path=used.path))
            return resolve.download(storage, home, used) if download else None

    def _log_file(self, file: Path, label: str, **rest: Any) -> ArtifactLogged | None:
        """Copy and log a file; return None if it could not be written."""
        copied = None

        def work() -> None:
            nonlocal copied
            copied = copy(file, self.folder / "artifacts", label)

        if self._environment_fails(work) or copied is None:
            return None
        event = ArtifactLogged(
            time=time.time(),
            path=copied.path,
            uri=f"artifacts/{copied.path}",
            size=copied.size,
            sha256=copied.sha256,
            mime=copied.mime,
            **rest,
        )
        self._append(event)
        self._upload(event)
        return event

    def _log_folder(
        self, label: str, series: str, parts: Sequence[ArtifactLogged], rest: JsonObject
    ) -> None:
        """Log a folder as one artifact, in addition to its files; its SHA-256 is computed from theirs."""
        sums = "".join(f"{part.sha256}  {part.path.removeprefix(label)}\n" for part in parts)
        event = ArtifactLogged(
            time=time.time(),
            path=f"{label}/",
            uri=f"artifacts/{label}/",
            size=sum(part.size for part in parts),
            sha256=hashlib.sha256(sums.encode()).hexdigest(),
            name=series,
            kind=rest["kind"],
            step=rest["step"],
            metadata={**rest["metadata"], "files": len(parts)},
        )
        self._append(event)

    def _keep_checkpoints(
        self, latest: Sequence[ArtifactLogged], monitor: str | None, less: bool, keep: int | None
    ) -> None:
        """Mark the best checkpoint, and remove those that are neither the best nor one of the latest."""
        book = self.folder / CHECKPOINTS
        groups: list[list[ArtifactLogged]] = []
        with suppress(OSError, msgspec.DecodeError):
            groups = msgspec.json.decode(book.read_bytes(), type=list[list[ArtifactLogged]])
        groups = [group for group in groups if group[0].path != latest[0].path] + [list(latest)]
        best = _best(groups, monitor, less)
        kept: list[list[ArtifactLogged]] = []
        for number, group in enumerate(groups):
            if keep is None or number >= len(groups) - keep or group is best:
                kept.append([self._marked(artifact, group is best) for artifact in group])
            else:
                for artifact in group:
                    self._remove_checkpoint(artifact)
        self._environment_fails(lambda: book.write_bytes(encode_json(msgspec.to_builtins(kept))))

    def _marked(self, artifact: ArtifactLogged, best: bool) -> ArtifactLogged:
        if artifact.metadata["best"] == best:
            return artifact
        metadata = {**artifact.metadata, "best": best}
        changed = msgspec.structs.replace(artifact, metadata=metadata)
        self._append(changed)
        self._upload(changed)
        return changed

    def _remove_checkpoint(self, artifact: ArtifactLogged) -> None:
        file = self.folder / "artifacts" / artifact.path
        with suppress(OSError):
            file.unlink(missing_ok=True)
            file.parent.rmdir()  # only if it is empty
        self._append(ArtifactRemoved(time=time.time(), path=artifact.path))
        if self._artifact_root is not None:
            self._environment_fails(lambda: self._uploads().remove(artifact))


def _best(
    groups: Sequence[list[ArtifactLogged]], monitor: str | None, less: bool
) -> list[ArtifactLogged] | None:
    """Return the checkpoint with the best monitored metric, the latest if equal, or None."""
    known = [g for g in groups if _figure(g, monitor) is not None]
    if not known:
        return None
    sign = -1 if less else 1
    return max(
        enumerate(known), key=lambda item: (sign * (_figure(item[1], monitor) or 0), item[0])
    )[1]


def _figure(group: Sequence[ArtifactLogged], monitor: str | None) -> float | None:
    value = group[0].metadata.get("metrics", {}).get(monitor)
    return value if isinstance(value, int | float) and value == value else None


def _mark(source: Path) -> str:
    """Return a digest that identifies the version of a file or folder."""
    if not source.is_dir():
        return digest(source) if source.exists() else ""
    sums = [f"{digest(file)}  {name}" for file, name in sources(source, "_")]
    return hashlib.sha256("\n".join(sums).encode()).hexdigest()
