"""`Worker`: run trials as commands. It claims a trial, runs a command with its parameters, and records the result.

The command does not need to use runbase. If it does, its `start_run()` resumes the run of the trial, whose id
and attempt are in the environment.
"""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runbase.capture.slurm import why_terminated
from runbase.errors import UsageError, warn
from runbase.run.context import OpenStore
from runbase.run.lease import Held
from runbase.run.resolve import ATTEMPT, RUNNER
from runbase.status import Phase, Status
from runbase.trials.claim import LEASE, Claim, this_runner
from runbase.trials.commands import as_text, fill, warning_of_unknown
from runbase.trials.experiment import Experiment
from runbase.trials.guard import Guard

if TYPE_CHECKING:
    from runbase.run.run import Run

GRACE = 10.0
"""Seconds between SIGTERM and SIGKILL."""
LOOK = 0.2
"""Seconds between two checks of a running command."""
TOGETHER = 1.0
"""Seconds within which a scheduler signals all processes of a job."""
_TERMINATED = (-signal.SIGTERM, 128 + signal.SIGTERM)
"""The exit codes of a command that was terminated."""
_OUTPUT = "output.log"
_FILE = "params.json"


class Limits(Struct, frozen=True, kw_only=True):
    """Limits of a command: seconds, and bytes of memory of the process and its children together."""

    seconds: float | None = None
    memory: int | None = None


class Outcome(Struct, frozen=True, kw_only=True):
    """The result of one attempt at a trial."""

    run: str
    number: int
    attempt: int
    status: Status | None
    """None if the trial was released to the queue."""
    exit_code: int | None
    seconds: float


class Worker:
    """Claims trials of an experiment, one after another, and runs a command for each.

    Args:
        store: the store of the experiment.
        experiment: the experiment with the queue.
        command: the program and its arguments. `{params}` is replaced by `--key=value` for each
            parameter, `{key}` by the value of one, `{file}` by the path of a JSON file with all. The
            environment has them as well, as RUNBASE_PARAMS (JSON) and RUNBASE_PARAM_<KEY>.
        runner: the name of this worker. Default: host and process.
        lease: seconds after which a claim that is not renewed expires.
        limits: limits of the command.
        sampler: suggests a trial if none is waiting, as for `Experiment.suggest`. Default: wait
            until another process adds one.
        echo: print the output of the command as well.
        trial: the id of a trial. Run this one and no other, until it has ended: if another process holds it, wait.

    Raises:
        UsageError: the command is empty, or a memory limit needs psutil, which is not installed.
    """

    def __init__(
        self,
        store: OpenStore,
        experiment: Experiment,
        command: Sequence[str],
        *,
        runner: str | None = None,
        lease: float = LEASE,
        limits: Limits | None = None,
        sampler: str | None = None,
        echo: bool = False,
        trial: str | None = None,
    ) -> None:
        if not command:
            raise UsageError("no command to run; pass it after --")
        self._warned = False
        self._store, self._experiment, self._command = store, experiment, list(command)
        self._runner, self._lease = runner, lease
        self._limits = limits or Limits()
        self._sampler = sampler
        self._echo = echo
        self._trial = trial
        self._late = False
        self._stopped = threading.Event()
        self._guard = Guard()
        if self._limits.memory is not None:
            _psutil()

    def stop(self) -> None:
        """Release the current trial and claim no other. Call it from a signal handler or another thread."""
        self._stopped.set()

    def stop_late(self) -> None:
        """Stop as `stop` does, because the time of this worker is over: a single trial ends as TIMEOUT."""
        self._late = True
        self.stop()

    def run(
        self,
        *,
        count: int | None = None,
        wait: float | None = None,
        on_outcome: Callable[[Outcome], None] = lambda _: None,
    ) -> int:
        """Run trials until `count` are done, or none has been waiting for `wait` seconds.

        Args:
            count: the number of trials. Default: no limit.
            wait: seconds to wait for a trial. Default: no limit.
            on_outcome: called with the outcome of each trial.

        Returns:
            The number of trials that ended.
        """
        with self._guard:
            return self._run(count, wait, on_outcome)

    def _run(
        self, count: int | None, wait: float | None, on_outcome: Callable[[Outcome], None]
    ) -> int:
        done, idle = 0, time.monotonic()
        pause = 0.1
        while not self._stopped.is_set() and (count is None or done < count):
            claim = self._claim()
            if claim is None and self._suggest():
                continue
            if claim is None and self._is_over():
                break
            if claim is None:
                if wait is not None and time.monotonic() - idle >= wait:
                    break
                self._stopped.wait(pause)
                pause = min(2 * pause, 2.0)
                continue
            outcome = self._try(claim)
            on_outcome(outcome)
            done += outcome.status is not None
            if self._trial is not None and outcome.status is not None:
                break
            idle, pause = time.monotonic(), 0.1
        return done

    def _claim(self) -> Claim | None:
        """Claim the next trial of the queue, or the only trial of this worker."""
        if self._trial is None:
            return self._experiment.claim_trial(self._runner, lease=self._lease)
        runner = self._runner or this_runner()
        claimed = self._store.storage.claim_trial_by_id(self._trial, runner, self._lease)
        if claimed is None:
            return None
        held = Held(run=claimed.run, attempt=claimed.attempt, runner=runner, seconds=self._lease)
        return Claim(self._store, self._experiment.name, held)

    def _is_over(self) -> bool:
        """Return whether the only trial of this worker has ended; release it if the claim of another process expired."""
        if self._trial is None:
            return False
        storage = self._store.storage
        storage.due_trials(self._experiment.id, time.time())  # it releases expired claims
        records = storage.get_runs([self._trial])
        return not records or records[0].status.phase is Phase.ENDED

    def _suggest(self) -> bool:
        """Add a suggested trial to the queue; return False if there is no suggestion."""
        if self._sampler is None or self._trial is not None:
            return False
        params = self._experiment.suggest(sampler=self._sampler)
        if params is not None:
            self._experiment.new_trial(params)
        return params is not None

    def _try(self, claim: Claim) -> Outcome:
        began = time.monotonic()
        with _own_signals():
            run = claim.start(capture=["git", "host", "slurm"], home=self._store.home)
        process: subprocess.Popen[bytes] | None = None
        try:
            try:
                process = self._start(claim, run)
            except OSError as error:
                run.finish("FAILED", f"cannot start {self._command[0]!r}: {error.strerror}")
                return self._outcome(claim, Status.FAILED, None, began)
            status, why = self._watch(process, run, began)
        except BaseException:
            if process is not None:
                _end(process)
            self._guard.release()
            claim.release("worker failed")
            run.finish("CANCELLED")
            raise
        self._guard.release()
        code = process.returncode
        if (
            status is None
        ):  # release first, so that the status of this attempt does not end the trial
            claim.release(why)
            run.finish("CANCELLED", why, exit_code=code)
        elif status is Status.COMPLETED:
            run.finish(exit_code=0)
        else:
            run.finish(status, why, exit_code=code)
        return self._outcome(claim, status, code, began)

    def _warn_of_unknown(self, params: Mapping[str, object]) -> None:
        """Warn once of placeholders that are no parameters."""
        warning = warning_of_unknown(self._command, params)
        if warning is not None and not self._warned:
            self._warned = True
            warn(warning)

    def _start(self, claim: Claim, run: "Run") -> "subprocess.Popen[bytes]":
        params = claim.params
        (run.folder / _FILE).write_text(json.dumps(params))
        environment = {
            **os.environ,
            "RUNBASE_RUN_ID": claim.id,
            ATTEMPT: str(claim.attempt),
            RUNNER: claim.runner,
            "RUNBASE_STORE": self._store.address,
            "RUNBASE_HOME": str(run.folder.parents[2]),
            "RUNBASE_QUIET": "1",
            "RUNBASE_PARAMS": json.dumps(params),
            **{_variable(key): as_text(value) for key, value in params.items()},
        }
        self._warn_of_unknown(params)
        command = fill(self._command, params, run.folder / _FILE)
        with (run.folder / _OUTPUT).open("ab") as output:
            process = self._guard.start(
                command,
                env=environment,
                stdout=subprocess.PIPE if self._echo else output,
                stderr=subprocess.STDOUT,
            )
        if self._echo:
            threading.Thread(
                target=_copy, args=(process, run.folder / _OUTPUT), daemon=True
            ).start()
        return process

    def _watch(
        self, process: "subprocess.Popen[bytes]", run: "Run", began: float
    ) -> tuple[Status | None, str]:
        """Wait for the command, or terminate it; return the status (None: release the trial) and the reason."""
        while True:
            try:
                code = process.wait(LOOK)
            except subprocess.TimeoutExpired:
                stop = self._too_much(process, run, began)
                if stop is None:
                    continue
                _end(process)
                return stop
            if code == 0:
                return Status.COMPLETED, ""
            if self._was_stopped_too(code):
                return self._status_of_stop(), "worker was stopped"
            if code < 0:
                return Status.FAILED, f"terminated by signal {signal.Signals(-code).name}"
            return Status.FAILED, f"exit code {code}; see {_OUTPUT}"

    def _was_stopped_too(self, code: int) -> bool:
        """Return whether the worker is stopped together with its command.

        A scheduler such as Slurm sends SIGTERM to all processes of a job, and the command can end first.
        """
        if code in _TERMINATED:
            self._stopped.wait(TOGETHER)
        return self._stopped.is_set()

    def _too_much(
        self, process: "subprocess.Popen[bytes]", run: "Run", began: float
    ) -> tuple[Status | None, str] | None:
        """Return the status and reason to terminate the command with, or None to let it run."""
        if self._stopped.is_set():
            return self._status_of_stop(), "worker was stopped"
        if run.should_stop:
            return Status.CANCELLED, "cancelled, or claim lost"
        seconds, memory = self._limits.seconds, self._limits.memory
        if seconds is not None and time.monotonic() - began > seconds:
            return Status.TIMEOUT, f"ran for more than {seconds:g} s"
        if memory is not None and (used := _memory(process.pid)) > memory:
            return Status.OUT_OF_MEMORY, f"used {used:,} bytes, more than the limit of {memory:,}"
        return None

    def _status_of_stop(self) -> Status | None:
        """Return how a trial ends if its worker is stopped: it returns to the queue (None), where another worker claims it.

        A single trial has no other worker: it ends, unless its job of Slurm was requeued and will run again.
        """
        if self._trial is None:
            return None
        if self._late:
            return Status.TIMEOUT
        if not os.environ.get("SLURM_JOB_ID"):
            return None
        status = why_terminated()
        return None if status is Status.PREEMPTED else status

    def _outcome(
        self, claim: Claim, status: Status | None, code: int | None, began: float
    ) -> Outcome:
        return Outcome(
            run=claim.id,
            number=claim.number,
            attempt=claim.attempt,
            status=status,
            exit_code=code,
            seconds=time.monotonic() - began,
        )


@contextmanager
def _own_signals() -> Generator[None]:
    """Keep the SIGTERM handler of the worker while a run starts, which would install its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    yield
    if before is not None:
        signal.signal(signal.SIGTERM, before)


def _variable(key: str) -> str:
    return "RUNBASE_PARAM_" + re.sub(r"\W", "_", key).upper()


def _copy(process: "subprocess.Popen[bytes]", path: Path) -> None:
    """Copy the output of a process to our own and to a file, without delay."""
    import sys

    assert process.stdout is not None
    with path.open("ab") as file:
        while chunk := os.read(process.stdout.fileno(), 65536):
            file.write(chunk)
            file.flush()
            sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Terminate a process group with SIGTERM, then with SIGKILL after `GRACE` seconds."""
    for sign, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, GRACE)):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            pass
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
        break
    try:
        os.killpg(process.pid, signal.SIGKILL)  # remaining children
    except (ProcessLookupError, PermissionError):
        pass


def _memory(pid: int) -> int:
    """Return the resident memory of a process and its children, in bytes."""
    psutil = _psutil()
    total = 0
    try:
        parent = psutil.Process(pid)
        for process in (parent, *parent.children(recursive=True)):
            try:
                total += process.memory_info().rss
            except psutil.Error:
                continue
    except psutil.Error:
        return 0
    return total


def _psutil() -> Any:
    try:
        import psutil
    except ImportError:
        raise UsageError("a memory limit needs psutil: pip install 'runbase[system]'") from None
    return psutil


__all__ = ["Limits", "Outcome", "Worker", "fill"]
