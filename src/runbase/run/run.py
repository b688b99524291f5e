"""A run that is being written: what a training script holds. Writes to its folder and nowhere else.

Nothing here waits for a database or raises for the environment's sake; only the caller's own
mistakes raise, at once.
"""

import contextvars
import os
import shutil
import threading
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from runbase.capture import output
from runbase.coerce import as_params, as_tags
from runbase.errors import RunFinished, StoreBusy, UsageError
from runbase.events import (
    Ended,
    Noted,
    Params,
    Scalar,
    StatusChanged,
    Tags,
    Types,
)
from runbase.journal import JournalWriter
from runbase.journal.validation import EXIT_CODES
from runbase.run import background, context, exit_hooks
from runbase.run.artifacts import ArtifactLog
from runbase.run.background import Care
from runbase.run.media import MediaLog
from runbase.run.params import RunParams
from runbase.secrets import mask_text
from runbase.status import Status
from runbase.values import (
    LARGEST_INTEGER,
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
    "define_metric": "nothing: last, min, max, mean and their steps are always kept",
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


class Run(MediaLog, ArtifactLog):
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
        artifact_root: str | None,
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
        self._artifact_root = artifact_root
        self._times: set[str] = set()
        self._pid = os.getpid()
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

        Raises InvalidValue for what is no number, UsageError for what is no mapping, RunFinished
        after the run's end.
        """
        if progress is not None:
            progress = to_progress(progress)
        if step is None:
            # No call between these two, so that no other thread comes in between.
            step = self._next_step
            self._next_step = step + 1
        elif step.__class__ is int and _LEAST_STEP < step < _GREATEST_STEP:
            self._next_step = step + 1
        else:
            step = to_step(step)
            self._next_step = step + 1
        try:
            # Adding up finds out at once whether all are plain numbers, and finite.
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

    def _plain(self, values: Any) -> dict[str, Scalar]:
        if not isinstance(values, Mapping):
            shown = repr(cast("Any", values)) if isinstance(values, str) else '"loss"'
            raise UsageError(
                f"log takes a mapping of names to numbers, such as run.log({{{shown}: 0.5}}, step=1), "
                f"not {type(values).__name__}"
            )
        plain: dict[str, Scalar] = {}
        for key, value in flatten(cast("Mapping[Any, Any]", values)):
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
        found = as_tags(tags) | {key: to_text(value) for key, value in more.items()}
        if found:
            self._append(Tags(time=time.time(), set=found))

    def untag(self, *keys: str) -> None:
        """Take tags away."""
        self._append(Tags(time=time.time(), remove=keys))

    def note(self, text: str) -> None:
        """Set the run's notes, replacing what they said."""
        self._append(Noted(time=time.time(), text=to_text(text)))

    def set_status(self, status: Status | str, reason: str | None = None) -> None:
        """Say that the run is suspended, completing, ...; `finish` ends it."""
        try:
            parsed = Status.parse(status)
        except (ValueError, AttributeError) as wrong:
            raise UsageError(str(wrong)) from None
        if parsed.phase == "ended":
            raise UsageError(f"{parsed.value} ends a run; use finish(status={parsed.value!r})")
        self.status = parsed
        self._append(StatusChanged(time=time.time(), status=parsed, reason=reason))

    def log_telemetry(self, values: Mapping[str, Any], at: float | None = None) -> None:
        """Figures about the machine or the system under test: numbers at a time, without a step.

        `at` is in seconds since the epoch (now if None). Raises InvalidValue.
        """
        plain = {key: to_scalar(key, value)[0] for key, value in flatten(values)}
        self._append_points("t", 0, plain, None, None if at is None else to_time("at", at))

    # Ends.

    @property
    def should_stop(self) -> bool:
        """Of a trial: whether it was cancelled, or its claim was lost to another runner."""
        return self._care.lease is not None and self._care.lease.lost

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
            raise UsageError(f"exit_code is {exit_code}, and has at most 32 bits")
        self._end(parsed, details, exit_code)

    def end_because(self, error: BaseException | None, exit_code: int | None) -> None:
        """End as the process ends; for the hooks that see to that."""
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
            # What the block raised must come out, whatever goes wrong here.
            warnings.warn(
                f"runbase: the end of run {self.name} could not be recorded: {wrong!r}",
                RuntimeWarning,
                stacklevel=2,
            )

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
        deadline = time.monotonic() + self._finish_timeout
        if self.capturing is not None and self._pid == os.getpid():
            # A run of a moment still wants its commit.
            self.capturing.join(timeout=min(2.0, self._finish_timeout))
        if self._pid != os.getpid():
            self._ending = (
                threading.RLock()
            )  # a thread that the fork left behind may hold the other
        with self._ending:
            if self not in context.runs or self._is_ending:
                return
            self._is_ending = True
            try:
                self._write_end(status, error, exit_code, deadline)
            finally:
                self._is_ending = False
            context.runs.remove(self)
        if self._pid != os.getpid():
            return
        exit_hooks.unregister(self)
        if context.current.get() is self:
            context.current.set(self._before if self._before in context.runs else None)
        self._drain(deadline)
        if self._discard is not None:
            shutil.rmtree(self._discard, ignore_errors=True)

    def _write_end(
        self,
        status: Status,
        error: dict[str, Any] | None,
        exit_code: int | None,
        deadline: float,
    ) -> None:
        """Write the run's last event; what goes wrong before it is no reason not to."""
        if self._pid != os.getpid():
            self._journal.close()  # a child is done with its own journal; the run is its parent's
            return
        self._care.ended.set()
        background.remove(self._care)
        now = time.time()
        if self._captured is not None:
            with suppress(Exception):
                output.stop(self._captured)
        self._finish_uploads(deadline)
        self.status = status
        if self._attached and status is Status.COMPLETED:
            self._journal.close()  # the run's first process says when it is over
            return
        try:
            self._journal.close(Ended(time=now, status=status, error=error, exit_code=exit_code))
        except (ValueError, TypeError, RecursionError):  # an error that cannot be written as JSON
            details = None if error is None else {**_UNKNOWN_ERROR, "type": str(error.get("type"))}
            self._journal.close(Ended(time=now, status=status, error=details, exit_code=None))

    def _finish_uploads(self, deadline: float) -> None:
        if self._uploader is None:
            return
        left = self._uploader.wait(max(deadline - time.monotonic(), 0.0))
        if left:
            warnings.warn(
                f"runbase: {left} files of run {self.name} are not uploaded yet; they are safe in "
                f"{self.folder}, and `runbase sync` uploads them",
                RuntimeWarning,
                stacklevel=2,
            )

    def _drain(self, deadline: float) -> None:
        if self._care.guard.acquire(timeout=max(deadline - time.monotonic(), 0.0)):
            try:
                self._care.drain(max(deadline - time.monotonic(), 0.0))
            finally:
                self._care.guard.release()
        else:
            self._care.warn_once(StoreBusy("it is busy"))


def _is_small(value: int) -> bool:
    """Whether an integer fits 64 bits."""
    return _LEAST_STEP < value < _GREATEST_STEP
