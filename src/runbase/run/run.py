"""`Run`, the run object used in training code. It writes to its own folder only.

Logging never waits for a database, and never raises because of the environment (a full disk, a
database that is offline). Only mistakes of the caller raise, immediately.
"""

import contextvars
import shutil
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, cast

from runbase.capture import output
from runbase.capture.secrets import mask_text
from runbase.errors import RunFinished, StoreBusy, UsageError, warn
from runbase.events import (
    ArtifactLogged,
    Ended,
    Noted,
    Params,
    Scalar,
    StatusChanged,
    Tags,
    Types,
)
from runbase.journal.validation import EXIT_CODES
from runbase.processes import Owner
from runbase.run import background, context, exit_hooks
from runbase.run.alerts import AlertLog
from runbase.run.artifacts import ArtifactLog
from runbase.run.media import MediaLog
from runbase.run.options import RunSetup
from runbase.run.params import RunParams
from runbase.run.ranks import SuffixedPoints
from runbase.status import Status
from runbase.storage.address import is_server
from runbase.typing import JsonObject, StepLike
from runbase.values import (
    LARGEST_INTEGER,
    as_params,
    as_tags,
    flatten,
    to_progress,
    to_scalar,
    to_step,
    to_text,
    to_time,
)

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
    "define_metric": "log alone: last, min, max, mean and their steps are always recorded",
    "watch": "log_histogram(name, values)",
    "end": "finish()",
    "end_run": "finish()",
    "stop": "finish()",
    "close": "finish()",
    "config": "params",
    "summary": "store.run(run.id).metrics, which has last, min, max and mean of each metric",
}


_LEAST_STEP, _GREATEST_STEP = -LARGEST_INTEGER, LARGEST_INTEGER
_UNKNOWN_ERROR = {"message": "the error could not be written as text", "traceback": ""}


class Run(MediaLog, ArtifactLog, AlertLog):
    """One execution, open for writing; created by `runbase.start_run`.

    As a context manager it finishes at the end of the block. Otherwise call `finish`, or let the
    process end. It can be used from any thread, and in a forked child: the child writes its own
    journal and never ends the run of its parent.

    Attributes:
        id: 32 hexadecimal characters, or the id passed to `start_run`.
        name: the display name.
        experiment: the name of the experiment.
        folder: the folder of the run, a `Path`.
        params: the parameters, readable and settable like a dictionary.
        status: the current status.
        number: the number of a trial in its experiment; None for other runs, which get theirs with the ingest.
        attempt: the number of the attempt at a trial, from 1; 0 for other runs.
        runner: the name of the runner that claimed the trial, or None.
    """

    def __init__(self, setup: RunSetup) -> None:
        self.id, self.name, self.experiment = setup.run_id, setup.name, setup.experiment
        self.folder, self.store, self.parent_id = setup.folder, setup.store, setup.parent
        self.params = RunParams(self.log_params)
        self.status = Status.RUNNING
        self.number, self.attempt, self.runner = setup.number, setup.attempt, setup.runner
        self._journal = setup.journal
        self._suffix = setup.suffix
        points = SuffixedPoints(setup.journal, setup.suffix) if setup.suffix else setup.journal
        self._append_points = points.append_points
        self._append_finite = points.append_finite
        self._monitor = setup.monitor
        self._next_step = setup.next_step
        self._outcomes = setup.outcomes
        self._captured = setup.captured
        self._finish_timeout = setup.finish_timeout
        self._quiet = setup.quiet
        self._attached = setup.attached
        self._discard = setup.discard
        self._artifact_root = setup.artifact_root
        self._times: set[str] = set()
        self._alerted = {}
        self._owner = Owner()
        self._ending = threading.RLock()
        self._is_ending = False
        self.capturing: threading.Thread | None = None
        self._entered: contextvars.Token[context.ActiveRun | None] | None = None
        self.nests = False
        self._before = context.current.get()
        context.runs.append(self)
        context.current.set(self)

    # The hot path.

    def log(
        self,
        values: Mapping[str, Any],  # Any: this is the fast path, which tests no type
        step: Any = None,
        *,
        progress: float | None = None,
    ) -> None:
        """Log numbers at a step.

        A call takes about two microseconds. Once it has returned, its data survives kill -9. All
        calls are stored; if a step has several values, reads return the latest unless all are
        requested.

        Args:
            values: name → number: int, float, bool, a NumPy, PyTorch, JAX or TensorFlow scalar,
                Decimal, or datetime (stored as a time). Nested mappings are flattened with ``/``.
            step: an integer or a fraction, in any order. Default: the last step plus one.
            progress: the share of the whole, or an epoch such as 1.25.

        Raises:
            InvalidValue: a value is not a number.
            UsageError: `values` is not a mapping.
            RunFinished: the run has ended.
        """
        if progress is not None:
            progress = to_progress(progress)
        if step is None:
            # No call between these two lines, so that no other thread can run between them.
            step = self._next_step
            self._next_step = step + 1
        elif step.__class__ is int and _LEAST_STEP < step < _GREATEST_STEP:
            self._next_step = step + 1
        else:
            step = to_step(step)
            self._next_step = step + 1
        try:
            # The sum checks in one call that all values are plain, finite numbers.
            total = sum(values.values())
            if (total.__class__ is float and total - total == 0) or (
                total.__class__ is int and all(map(_is_small, values.values()))
            ):
                self._append_finite(step, values, progress)
                return
        except (TypeError, ValueError, ArithmeticError, AttributeError, RuntimeError) as error:
            if isinstance(error, RunFinished):
                raise
        self._append_points("m", to_step(step), self._plain(values), progress)

    def _plain(self, values: object) -> dict[str, Scalar]:
        if not isinstance(values, Mapping):
            shown = repr(values) if isinstance(values, str) else '"loss"'
            raise UsageError(
                f"log needs a mapping of names to numbers, such as run.log({{{shown}: 0.5}}, step=1), "
                f"not {type(values).__name__}"
            )
        plain: dict[str, Scalar] = {}
        for key, value in flatten(cast("Mapping[Any, Any]", values)):
            number, kind = to_scalar(key, value)
            plain[key] = bool(number) if kind == "bool" else number
            if kind == "time" and key not in self._times:
                self._times.add(key)
                self._append(Types(time=time.time(), types={f"{key}{self._suffix}": kind}))
        return plain

    def log_metric(self, key: str, value: object, step: StepLike = None) -> None:
        """Log one number: `log({key: value}, step)`."""
        self.log({key: value}, step)

    log_metrics = log
    """Another name of `log`."""

    # Parameters, tags, notes, status, telemetry.

    def log_params(self, values: Mapping[str, object]) -> None:
        """Set parameters.

        Args:
            values: name → number, text, bool, None or list. Nested mappings are flattened with ``/``.

        Raises:
            InvalidValue: a value cannot be stored.
            RunFinished: the run has ended.
        """
        plain = as_params(values)
        if not plain:
            return
        self._append(Params(time=time.time(), values=plain))
        self.params.hold(plain)

    def log_param(self, key: str, value: object) -> None:
        """Set one parameter."""
        self.log_params({key: value})

    def tag(self, *tags: str | Mapping[str, object], **more: object) -> None:
        """Add tags: plain ones (`tag("baseline")`) or with values (`tag(stage="test")`)."""
        added = as_tags(tags) | {key: to_text(value) for key, value in more.items()}
        if added:
            self._append(Tags(time=time.time(), set=added))

    def untag(self, *keys: str) -> None:
        """Remove tags."""
        self._append(Tags(time=time.time(), remove=keys))

    def note(self, text: str, *, append: bool = False) -> None:
        """Set the notes of the run.

        Args:
            text: the notes.
            append: add the text as a further line, instead of replacing the notes.
        """
        self._append(Noted(time=time.time(), text=to_text(text), append=append))

    def set_status(self, status: Status | str, reason: str | None = None) -> None:
        """Set a status that does not end the run, such as SUSPENDED; `finish` ends it.

        Args:
            status: the new status.
            reason: why, for people.

        Raises:
            UsageError: the status is not known, or ends a run.
        """
        try:
            parsed = Status.parse(status)
        except (ValueError, AttributeError) as wrong:
            raise UsageError(str(wrong)) from None
        if parsed.phase == "ended":
            raise UsageError(f"{parsed.value} ends a run; use finish(status={parsed.value!r})")
        self.status = parsed
        self._append(StatusChanged(time=time.time(), status=parsed, reason=reason))

    def log_telemetry(self, values: Mapping[str, object], at: float | None = None) -> None:
        """Log measurements of the machine or the system under test, at a time instead of a step.

        Args:
            values: name → number. Nested mappings are flattened with ``/``.
            at: seconds since the epoch. Default: now.

        Raises:
            InvalidValue: a value is not a number.
        """
        plain = {key: to_scalar(key, value)[0] for key, value in flatten(values)}
        self._append_points("t", 0, plain, None, None if at is None else to_time("at", at))

    # Flush and finish.

    @property
    def should_stop(self) -> bool:
        """Whether this trial was cancelled, or is now claimed by another runner; False for other runs."""
        return self._monitor.lease is not None and self._monitor.lease.lost

    def flush(self) -> None:
        """Write what was logged to the disk and, if the database is available, ingest it."""
        self._journal.retry()
        self._journal.sync()
        if not self._owner.here:
            return  # a forked child: its journal is on the disk, and the next ingest reads it
        with self._monitor.guard:
            self._monitor.ingest(deadline=time.monotonic() + self._finish_timeout)

    def finish(
        self,
        status: Status | str | int | None = None,
        error: BaseException | str | None = None,
        *,
        exit_code: int | None = None,
    ) -> None:
        """End the run. A second call does nothing.

        It waits for the database for at most `finish_timeout` (a setting, 10 seconds). What is not
        ingested by then is ingested later.

        Args:
            status: a final status; an integer is used as the exit code. Default: COMPLETED, or FAILED
                with an `error` or a non-zero `exit_code`.
            error: the exception or message to record.
            exit_code: the exit code of the process, at most 32 bits.

        Raises:
            UsageError: the status is not final, or the exit code is out of range.
        """
        if isinstance(status, int):
            status, exit_code = None, status
        try:
            parsed = None if status is None else Status.parse(status)
        except ValueError as wrong:
            raise UsageError(str(wrong)) from None
        if parsed is not None and parsed.phase != "ended":
            raise UsageError(
                f"{parsed.value!r} is not a final status; use one such as 'COMPLETED' or 'FAILED'"
            )
        raised = error if isinstance(error, BaseException) else None
        details = exit_hooks.describe(raised)
        if isinstance(error, str):
            details = {"type": "error", "message": mask_text(error), "traceback": ""}
        if parsed is None:
            if isinstance(error, str):
                parsed = self._outcomes["exception"] or Status.FAILED
            else:
                parsed = exit_hooks.judge(raised, exit_code, self._outcomes)
        if exit_code is None:
            exit_code = exit_hooks.exit_code_of(raised)
        elif exit_code not in EXIT_CODES:
            raise UsageError(f"exit_code is {exit_code}; it must fit in 32 bits")
        self._end(parsed, details, exit_code)

    def end_because(self, error: BaseException | None, exit_code: int | None) -> None:
        """End the run with the process; called by the exit hooks."""
        self.finish(error=error, exit_code=exit_code)

    def __enter__(self) -> Self:
        self.nests = True
        self._entered = context.current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        del kind, trace
        try:
            self.finish(error=error)
        except Exception as wrong:
            if error is None:
                raise
            # The exception of the block must propagate, so an error here is only a warning.
            warn(f"the end of run {self.name} could not be recorded: {wrong!r}", may_raise=False)

    def __repr__(self) -> str:
        return f"<Run {self.name} of {self.experiment}, {self.id}>"

    def __getitem__(self, key: str) -> Any:
        raise UsageError(
            f"a Run is not a mapping; use run.log({{{key!r}: value}}) or run.params[{key!r}]"
        )

    def __setitem__(self, key: str, value: object) -> None:
        del value
        self[key]

    def __getattr__(self, name: str) -> Any:
        if name in _HINTS:
            raise AttributeError(f"a Run has no {name!r}; use {_HINTS[name]}")
        raise AttributeError(f"a Run has no {name!r}")

    def _end(self, status: Status, error: JsonObject | None, exit_code: int | None) -> None:
        deadline = time.monotonic() + self._finish_timeout
        if self.capturing is not None and self._owner.here:
            # Give the capture thread of a very short run time to record the git commit.
            self.capturing.join(timeout=min(2.0, self._finish_timeout))
        if not self._owner.here:
            self._ending = (
                threading.RLock()
            )  # a thread that does not exist in the fork may own the old lock
        with self._ending:
            if self not in context.runs or self._is_ending:
                return
            self._is_ending = True
            try:
                self._write_end(status, error, exit_code, deadline)
            finally:
                self._is_ending = False
            context.runs.remove(self)
        if not self._owner.here:
            return
        exit_hooks.unregister(self)
        if context.current.get() is self:
            context.current.set(self._before if self._before in context.runs else None)
        self._drain(deadline)
        if not self._quiet and not self._attached:
            self._summarize()
        if self._discard is not None:
            shutil.rmtree(self._discard, ignore_errors=True)

    def _write_end(
        self,
        status: Status,
        error: JsonObject | None,
        exit_code: int | None,
        deadline: float,
    ) -> None:
        """Write the last event of the run, even if stopping the capture or the uploads fails."""
        if not self._owner.here:
            self._journal.close()  # a child closes its own journal; the parent ends the run
            return
        self._monitor.ended.set()
        background.remove(self._monitor)
        now = time.time()
        if self._captured is not None:
            with suppress(Exception):
                output.stop(self._captured)
        orphan = self._monitor.orphan
        leads = not self._attached or (orphan is not None and orphan.ends(deadline))
        if leads:
            self._upload_own_files()
        self._finish_uploads(deadline)
        self.status = status
        # The first process of the run ends it; a worker that stops its command may give the trial back instead.
        stopped_by_worker = bool(self.attempt) and exit_hooks.is_terminated()
        if not leads and (status is Status.COMPLETED or stopped_by_worker):
            self._journal.close()
            return
        try:
            self._journal.close(Ended(time=now, status=status, error=error, exit_code=exit_code))
        except (ValueError, TypeError, RecursionError):  # an error that cannot be written as JSON
            details = None if error is None else {**_UNKNOWN_ERROR, "type": str(error.get("type"))}
            self._journal.close(Ended(time=now, status=status, error=details, exit_code=None))

    def _upload_own_files(self) -> None:
        """Queue the captured output, which is masked by now, and the diff for a server."""
        if self._artifact_root is None or not is_server(self._artifact_root):
            return
        for name in ("output.log", "git.diff", "seeds.json"):
            with suppress(OSError):
                size = (self.folder / name).stat().st_size
                self._uploads().add(ArtifactLogged(path=name, kind="file", uri=name, size=size))

    def _finish_uploads(self, deadline: float) -> None:
        if self._uploader is None:
            return
        left = self._uploader.wait(max(deadline - time.monotonic(), 0.0))
        if left:
            warn(
                f"{left} files of run {self.name} are not uploaded yet; they are in "
                f"{self.folder}, run `runbase sync` to upload them",
            )

    def _summarize(self) -> None:
        """Print a summary on a terminal; whatever goes wrong there is no reason to fail at the end of a run."""
        from runbase.run import summary  # imported here: only a terminal needs it

        with suppress(Exception):
            if summary.is_wanted():
                record = self._monitor.record()
                ended = record is not None and record.status is self.status
                summary.show(self.name, self.experiment, self.status, record if ended else None)

    def _drain(self, deadline: float) -> None:
        if self._monitor.guard.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            try:
                self._monitor.drain(max(deadline - time.monotonic(), 0.0))
            finally:
                self._monitor.guard.release()
        else:
            self._monitor.warn_once(StoreBusy("it is busy"))


def _is_small(value: int) -> bool:
    """Whether an integer fits 64 bits."""
    return _LEAST_STEP < value < _GREATEST_STEP
