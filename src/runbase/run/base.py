"""The base class of the parts of `Run`: its folder, journal and step counter."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbase.errors import InvalidValue, MissingPackage, RunFinished, warn
from runbase.events import ArtifactLogged, JournalEvent, Scalar
from runbase.journal import JournalWriter
from runbase.run import context
from runbase.values import to_step

if TYPE_CHECKING:
    from runbase.artifacts.uploads import Uploader


class Recorder:
    """A part of a run. Files go to `folder`, events to the journal."""

    name: str
    folder: Path
    _journal: JournalWriter
    _next_step: Scalar
    _artifact_root: str | None
    _uploader: "Uploader | None" = None

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        active: list[Any] = list(context.runs)
        return self not in active

    def _append(self, event: JournalEvent) -> None:
        self._journal.append(event)

    def _step_of(self, step: object) -> Scalar:
        """Return the step of a record: the one passed, else that of the latest log call."""
        if step is not None:
            return to_step(step)
        return self._next_step - 1 if self._next_step else 0

    def _upload(self, artifact: ArtifactLogged) -> None:
        """Queue a file for upload, if the setting `artifacts` names a place."""
        if self._artifact_root is not None:
            self._environment_fails(lambda: self._uploads().add(artifact))

    def _uploads(self) -> "Uploader":
        if self._uploader is None:
            from runbase.artifacts.uploads import Uploader

            assert self._artifact_root is not None
            self._uploader = Uploader(self.folder, self._artifact_root, self._append)
        return self._uploader

    def _environment_fails(self, work: Callable[[], object]) -> bool:
        """Call `work`, which writes files; return True after an error of the environment, with a warning.

        A full or missing disk must not stop training, and neither must an optional package that is not installed.
        """
        if self.finished:
            raise RunFinished(f"run {self.name} has finished; log before finish()")
        try:
            work()
        except InvalidValue:
            raise
        except OSError as error:
            warn(f"a file of run {self.name} could not be written: {error}")
            return True
        except MissingPackage as error:
            warn(f"not logged: {error}")
            return True
        return False
