"""A run that is being written: what a training script holds. Writes to its folder and nowhere else.

Nothing here waits for a database or raises for the environment's sake; only the caller's own
mistakes raise, at once.
"""

import contextvars
import os
import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from runbase import active, background, endings
from runbase.arguments import as_params, as_table, as_tags
from runbase.background import Care
from runbase.capture import output
from runbase.errors import InvalidValue, RunFinished, UsageError
from runbase.events import (
    ArtifactLogged,
    Ended,
    JournalEvent,
    Noted,
    Params,
    RecordLogged,
    Scalar,
    StatusChanged,
    Tags,
    Types,
)
from runbase.files import copy, describe, safe_name, save_image, sources
from runbase.journal import JournalWriter
from runbase.params import RunParams
from runbase.status import Status
from runbase.values import flatten, to_parameter, to_scalar, to_step

LARGEST_INLINE = 2**16
"""Bytes of a record that stand in the journal; a larger one becomes a file."""

_HINTS = {
    "track": "log({name: value}, step=…)",
    "add_scalar": "log({name: value}, step=…)",
    "append": "log({name: value})",
    "set_tag": "tag({name: value})",
    "set_tags": "tag({name: value})",
    "add_tags": "tag(…)",
    "set_name": "start_run(…, name=…)",
    "log_model": 'log_artifact(path, kind="model")',
    "save": "log_artifact(path)",
    "use_artifact": "log_artifact(path)",
    "define_metric": "nothing: last, min, max, mean and their steps are always kept",
    "watch": "log_histogram(name, values)",
    "end": "finish()",
    "end_run": "finish()",
    "stop": "finish()",
    "close": "finish()",
    "config": "params",
    "summary": "store.run(run.id).metrics, which has last, min, max and mean of each metric",
}


class Run:
    """One execution, open for writing.

    Made by `runbase.start_run`. As a context manager it finishes at the end of the block; else call
    `finish`, or let the process end. Safe to use from any thread, and in a forked child, which
    writes a journal of its own and never ends its parent's run.

    Attributes: `id` (32 hexadecimal characters), `name`, `experiment`, `folder` (Path), `params`.
    """

    def __init__(
        self,
        *,
        run_id: str,
        name: str,
        experiment: str,
        folder: Path,
        store: str | None,
        journal: JournalWriter,
        care: Care,
        next_step: Scalar,
        outcomes: Mapping[str, Status | None],
        captured: "output.OutputCapture | None",
        finish_timeout: float,
        parent: str | None,
        attached: bool,
        discard: Path | None,
    ) -> None:
        self.id, self.name, self.experiment = run_id, name, experiment
        self.folder, self.store, self.parent_id = folder, store, parent
        self.params = RunParams(self.log_params)
        self.status = Status.RUNNING
        self._journal = journal
        self._append_points = journal.append_points
        self._append_finite = journal.append_finite
        self._care = care
        self._next_step = next_step
        self._outcomes = outcomes
        self._captured = captured
        self._finish_timeout = finish_timeout
        self._attached = attached
        self._discard = discard
        self._times: set[str] = set()
        self._pid = os.getpid()
        self._ending = threading.RLock()
        self.capturing: threading.Thread | None = None
        self._entered: contextvars.Token[Run | None] | None = None
        self.nests = False
        self._before = active.current.get()
        active.runs.append(self)
        active.current.set(self)

    # The hot path.

    def log(
        self,
        values: Mapping[str, Any],
        step: Any = None,
        *,
        progress: float | None = None,
    ) -> None:
        """Log numbers at a step. About two microseconds; what it returned from survives kill -9.

        `values` maps names to numbers: int, float, bool, a NumPy, PyTorch, JAX or TensorFlow scalar,
        Decimal, datetime (kept as a time). Nested mappings flatten with ``/``. `step` is whole or
        fractional, in any order, and defaults to one more than the last; `progress` is a share of
        the whole, or an epoch, such as 1.25. Every call is kept; of several at one step the latest
        is read unless all are asked for.

        Raises InvalidValue for what is no number, RunFinished after the run's end.
        """
        if step is None:
            # No call between these two, so that no other thread comes in between.
            step = self._next_step
            self._next_step = step + 1
        elif step.__class__ is int:
            self._next_step = step + 1
        else:
            step = to_step(step)
            self._next_step = step + 1
        if progress is not None:
            progress = float(progress)
        try:
            # Adding up finds out at once whether all are plain numbers, and finite.
            total = sum(values.values())
            if (total.__class__ is float or total.__class__ is int) and total - total == 0:
                self._append_finite(step, values, progress)
                return
        except (TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
            if isinstance(error, RunFinished):
                raise
        self._append_points("m", to_step(step), self._plain(values), progress)

    def _plain(self, values: Mapping[Any, Any]) -> dict[str, Scalar]:
        plain: dict[str, Scalar] = {}
        for key, value in flatten(values):
            number, kind = to_scalar(key, value)
            plain[key] = bool(number) if kind == "bool" else number
            if kind == "time" and key not in self._times:
                self._times.add(key)
                self._append(Types(time=time.time(), types={key: kind}))
        return plain

    def log_metric(self, key: str, value: Any, step: Any = None) -> None:
        """Log one number: `log({key: value}, step)`."""
        self.log({key: value}, step)

    log_metrics = log

    # Everything else a run says.

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Set parameters: numbers, text, bools, None, lists; nested mappings flatten with ``/``."""
        plain = as_params(values)
        if not plain:
            return
        self._append(Params(time=time.time(), values=plain))
        self.params.hold(plain)

    def log_param(self, key: str, value: Any) -> None:
        """Set one parameter."""
        self.log_params({key: value})

    def tag(self, *tags: str | Mapping[str, Any], **more: Any) -> None:
        """Add tags: plain ones (`tag("baseline")`) or with values (`tag(stage="test")`)."""
        found = as_tags(tags) | {key: str(value) for key, value in more.items()}
        if found:
            self._append(Tags(time=time.time(), set=found))

    def untag(self, *keys: str) -> None:
        """Take tags away."""
        self._append(Tags(time=time.time(), remove=keys))

    def note(self, text: str) -> None:
        """Set the run's notes, replacing what they said."""
        self._append(Noted(time=time.time(), text=str(text)))

    def set_status(self, status: Status | str, reason: str | None = None) -> None:
        """Say that the run is suspended, completing, ...; `finish` ends it."""
        parsed = Status.parse(status)
        if parsed.phase == "ended":
            raise UsageError(f"{parsed.value} ends a run; use finish(status={parsed.value!r})")
        self.status = parsed
        self._append(StatusChanged(time=time.time(), status=parsed, reason=reason))

    def log_text(self, key: str, text: str, step: Any = None) -> None:
        """Keep a text at a step."""
        self._record(key, "text", str(text), step)

    def log_dict(self, key: str, value: Any, step: Any = None) -> None:
        """Keep a JSON document at a step."""
        self._record(key, "json", to_parameter(key, value), step)

    def log_table(
        self,
        key: str,
        rows: Any,
        columns: Sequence[str] | None = None,
        step: Any = None,
    ) -> None:
        """Keep a table at a step: rows (lists or mappings), a mapping of columns, or a DataFrame."""
        names, body = as_table(rows, columns)
        self._record(key, "table", {"columns": names, "rows": to_parameter(key, body)}, step)

    def log_histogram(self, key: str, values: Any, step: Any = None, bins: int = 64) -> None:
        """Keep the distribution of an array: `bins` counts between its least and greatest value."""
        import numpy as np

        flat: Any = np.asarray(values, dtype=np.float64).ravel()
        finite = flat[np.isfinite(flat)]
        counts, edges = np.histogram(finite, bins=bins)
        value = {
            "counts": counts.tolist(),
            "edges": edges.tolist(),
            "not_finite": int(flat.size - finite.size),
        }
        self._record(key, "histogram", value, step)

    def log_image(self, key: str, image: Any, step: Any = None) -> None:
        """Keep an image at a step: a Matplotlib figure, a PIL image, PNG bytes, a path, or an array
        of pixels, (height, width) or (height, width, 3 | 4), uint8 or floats from 0 to 1.
        """
        at = self._step_of(step)
        path = f"media/{safe_name(key)}.{at}.png"
        target = self.folder / path
        if self._environment_fails(lambda: target.parent.mkdir(parents=True, exist_ok=True)):
            return
        if not self._environment_fails(lambda: save_image(image, target)):
            self._record_file(key, "image", at, path)

    log_figure = log_image

    def log_artifact(
        self,
        path: "str | os.PathLike[str]",
        *,
        name: str | None = None,
        kind: str = "file",
        step: Any = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Copy a file or a folder into the run, with its size and SHA-256.

        `name` is its path within the run (its own name if None), `kind` such as checkpoint, model,
        data. One of the same name replaces it. Raises InvalidValue where there is no such file.
        """
        source = Path(path).expanduser()
        label = safe_name(name or source.name or "files")
        for file, file_name in sources(source, label):
            self._log_file(file, file_name, kind, step, metadata)

    def log_telemetry(self, values: Mapping[str, Any], at: float | None = None) -> None:
        """Figures about the machine or the system under test: numbers at a time (now), no step."""
        plain = {key: to_scalar(key, value)[0] for key, value in flatten(values)}
        self._append_points("t", 0, plain, None, at)

    # Ends.

    def flush(self) -> None:
        """Have what was logged on the disk and, where that is possible now, in the database."""
        self._journal.retry()
        self._journal.sync()
        if self._pid != os.getpid():
            return  # a fork's child: its journal is on the disk, and the next ingest takes it up
        with self._care.guard:
            self._care.ingest(deadline=time.monotonic() + self._finish_timeout)

    def finish(
        self,
        status: Status | str | int | None = None,
        error: BaseException | str | None = None,
        *,
        exit_code: int | None = None,
    ) -> None:
        """End the run; a second call does nothing.

        `status` defaults to COMPLETED, or FAILED where `error` or a non-zero `exit_code` is given
        (a bare integer counts as an exit code). Waits for the database no longer than the setting
        `finish_timeout` (10 s); what it has not taken by then comes in later.
        """
        if isinstance(status, int):
            status, exit_code = None, status
        try:
            parsed = None if status is None else Status.parse(status)
        except ValueError as wrong:
            raise UsageError(str(wrong)) from None
        if parsed is not None and parsed.phase != "ended":
            raise UsageError(f"a run cannot end as {parsed.value}, which is no end")
        raised = error if isinstance(error, BaseException) else None
        details = endings.describe(raised)
        if isinstance(error, str):
            details = {"type": "error", "message": error, "traceback": ""}
        if parsed is None:
            if isinstance(error, str):
                parsed = self._outcomes["exception"] or Status.FAILED
            else:
                parsed = endings.judge(raised, exit_code, self._outcomes)
        if exit_code is None:
            exit_code = endings.exit_code_of(raised)
        self._end(parsed, details, exit_code)

    def end_because(self, error: BaseException | None, exit_code: int | None) -> None:
        """End as the process ends; for the hooks that see to that."""
        self.finish(error=error, exit_code=exit_code)

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self not in active.runs

    def __enter__(self) -> Self:
        self.nests = True
        self._entered = active.current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, trace
        self.finish(error=error)

    def __repr__(self) -> str:
        return f"<Run {self.name} of {self.experiment}, {self.id}>"

    def __getitem__(self, key: str) -> Any:
        raise UsageError(
            f"a Run is no mapping; use run.log({{{key!r}: value}}) or run.params[{key!r}]"
        )

    def __setitem__(self, key: str, value: Any) -> None:
        del value
        self[key]

    def __getattr__(self, name: str) -> Any:
        if name in _HINTS:
            raise AttributeError(f"a Run has no {name!r}; use {_HINTS[name]}")
        raise AttributeError(f"a Run has no {name!r}")

    def _end(self, status: Status, error: dict[str, Any] | None, exit_code: int | None) -> None:
        if self.capturing is not None and self._pid == os.getpid():
            self.capturing.join(timeout=2)  # a run of a moment still wants its commit
        with self._ending:
            if self not in active.runs:
                return
            active.runs.remove(self)
        if self._pid != os.getpid():
            self._journal.close()  # a child is done with its own journal; the run is its parent's
            return
        endings.unregister(self)
        self._care.ended.set()
        background.remove(self._care)
        if self._captured is not None:
            with suppress(OSError):
                output.stop(self._captured)
        self.status = status
        if self._attached and status is Status.COMPLETED:
            self._journal.close()  # the run's first process says when it is over
        else:
            now = time.time()
            ended = Ended(time=now, status=status, error=error, exit_code=exit_code)
            self._journal.close(ended)
        if active.current.get() is self:
            active.current.set(self._before if self._before in active.runs else None)
        self._drain()
        if self._discard is not None:
            shutil.rmtree(self._discard, ignore_errors=True)

    def _drain(self) -> None:
        deadline = time.monotonic() + self._finish_timeout
        if self._care.guard.acquire(timeout=self._finish_timeout):
            try:
                self._care.ingest(deadline=deadline)
            finally:
                self._care.guard.release()

    def _append(self, event: JournalEvent) -> None:
        self._journal.append(event)

    def _record(self, key: str, kind: str, value: Any, step: Any) -> None:
        import msgspec

        at = self._step_of(step)
        encoded = msgspec.json.encode(value)
        if len(encoded) <= LARGEST_INLINE:
            self._append(RecordLogged(time=time.time(), key=key, kind=kind, step=at, value=value))
            return
        path = f"records/{safe_name(key)}.{at}.json"
        target = self.folder / path

        def write() -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encoded)

        if not self._environment_fails(write):
            self._record_file(key, kind, at, path)

    def _record_file(self, key: str, kind: str, step: Scalar, path: str) -> None:
        """A record whose value is a file: the file is an artifact of the run as well."""
        now = time.time()
        self._append(RecordLogged(time=now, key=key, kind=kind, step=step, path=path))
        size, digest, mime = describe(self.folder / path)
        self._append(
            ArtifactLogged(
                time=now,
                path=path,
                kind=kind,
                uri=path,
                size=size,
                sha256=digest,
                mime=mime,
                step=step,
            )
        )

    def _log_file(
        self, file: Path, name: str, kind: str, step: Any, metadata: Mapping[str, Any] | None
    ) -> None:
        copied = None

        def work() -> None:
            nonlocal copied
            copied = copy(file, self.folder / "artifacts", name)

        if self._environment_fails(work) or copied is None:
            return
        self._append(
            ArtifactLogged(
                time=time.time(),
                path=copied.path,
                kind=kind,
                uri=f"artifacts/{copied.path}",
                size=copied.size,
                sha256=copied.sha256,
                mime=copied.mime,
                step=None if step is None else to_step(step),
                metadata={k: to_parameter(k, v) for k, v in (metadata or {}).items()},
            )
        )

    def _step_of(self, step: Any) -> Scalar:
        """A record's step: as given, else that of the latest log call."""
        if step is not None:
            return to_step(step)
        return self._next_step - 1 if self._next_step else 0

    def _environment_fails(self, work: Any) -> bool:
        """Do what writes files; on a full or absent disk warn, and let training go on."""
        if self.finished:
            raise RunFinished(f"run {self.name} has finished and takes nothing more")
        import warnings

        try:
            work()
        except InvalidValue:
            raise
        except OSError as error:
            warnings.warn(
                f"runbase: a file of run {self.name} could not be kept: {error}",
                RuntimeWarning,
                stacklevel=4,
            )
            return True
        return False
