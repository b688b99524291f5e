"""Workers as processes of this machine, which outlive the command that started them."""

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from msgspec import Struct, convert

from runbase.errors import RunbaseError, UsageError
from runbase.ingest.liveness import started
from runbase.trials.launchers.base import Plan, Workers, make_folder, output_files
from runbase.trials.launchers.record import LaunchRecord
from runbase.typing import JsonObject

GRACE = 30.0
"""Seconds between SIGTERM and SIGKILL: longer than a worker gives its command."""
_KEEP_CODE = 'trap : TERM INT HUP; "$@"; code=$?; echo $code >"$0"; exit $code'
"""A shell that writes the exit code of a worker to a file; it gets the signals of its group, and waits for the worker."""
_STOPPED = (0, 128 + signal.SIGTERM, 128 + signal.SIGINT)
"""The exit codes of workers that ended by themselves or were asked to."""


class _Process(Struct, frozen=True):
    """A process: its pid, and when it started, in the kernel's units, because a pid is used again."""

    pid: int
    started: str | None

    @property
    def alive(self) -> bool:
        """Whether the process is alive, or was killed alone and left others of its group, such as the worker itself.

        A pid is not used again while a group has it as its number.
        """
        if self.started is None:
            return False
        now = started(self.pid)
        return now == self.started if now is not None else _is_group(self.pid)


class Local:
    """Starts workers as processes in sessions of their own."""

    def check(self, plan: Plan) -> None:
        """Raise UsageError if the plan asks for what only a scheduler has."""
        resources = plan.resources
        if resources.cpus or resources.gpus or resources.memory:
            raise UsageError(
                "processes of this machine share its CPUs, GPUs and memory: leave out --cpus, --gpus and --mem, or use a "
                "scheduler with --on"
            )
        if plan.options or plan.image:
            raise UsageError("--option and --image are for schedulers, not for --on local")
        _check_program(plan.command[0], Path(plan.cwd))

    def preview(self, plan: Plan) -> str:
        """Return the command of a worker, and what its environment adds."""
        shown = plan.shown()
        count = f"# {plan.at_once} × in {plan.cwd}, output in {plan.folder}"
        return f"{count}\nRUNBASE_LAUNCH={plan.id} {shlex.join(_command(shown))}"

    def submit(self, plan: Plan) -> JsonObject:
        """Start the processes. Of workers that must not run at once, those that would wait are not started."""
        folder = make_folder(plan.folder)
        processes: list[_Process] = []
        for number in range(plan.at_once):
            with (folder / f"{number}.log").open("ab") as output:
                process = subprocess.Popen(
                    ["/bin/sh", "-c", _KEEP_CODE, str(_code_file(folder, number)), *_command(plan)],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=plan.cwd,
                    env=plan.environment(),
                    start_new_session=True,
                )
            processes.append(_Process(process.pid, started(process.pid)))
            _children.append(process)
        return {"processes": [[process.pid, process.started] for process in processes]}

    def status(self, record: LaunchRecord) -> Workers:
        """Count the processes that are alive, and the exit codes of the others."""
        processes = _processes(record)
        if record.host != socket.gethostname():
            return Workers(unknown=len(processes), note=f"its processes are on {record.host}")
        running = ended = failed = unknown = 0
        for number, process in enumerate(processes):
            code = None if process.alive else _code(record, number)
            running += process.alive
            ended += code in _STOPPED
            failed += code is not None and code not in _STOPPED
            unknown += not process.alive and code is None
        return Workers(
            running=running,
            ended=ended,
            failed=failed,
            unknown=unknown,
            note="the exit codes of some are not known: they were killed" if unknown else None,
        )

    def cancel(self, record: LaunchRecord) -> None:
        """Send SIGTERM to all workers, wait until they end, and kill those that do not."""
        if record.host != socket.gethostname():
            raise RunbaseError(
                f"the processes of launch {record.id} are on {record.host}; cancel it there"
            )
        alive = [process for process in _processes(record) if process.alive]
        for sign in (signal.SIGTERM, signal.SIGKILL):
            for process in alive:
                _signal_group(process, sign)
            deadline = time.monotonic() + GRACE
            while (alive := [p for p in alive if p.alive]) and time.monotonic() < deadline:
                time.sleep(0.05)

    def logs(self, record: LaunchRecord) -> dict[str, str]:
        """Return the output of each process."""
        return output_files(record)


_children: list["subprocess.Popen[bytes]"] = []
"""Processes that this one started: kept, so that Python does not warn that they still run."""


def _command(plan: Plan) -> list[str]:
    return [sys.executable, "-m", "runbase", *plan.worker(stop_after=plan.resources.seconds)]


def _check_program(program: str, folder: Path) -> None:
    """Raise UsageError if a program does not exist: each trial would fail at once, and the queue would be empty soon."""
    if "{" in program:  # it depends on the trial
        return
    place = str(folder / program) if os.sep in program else program
    if shutil.which(place) is None:
        raise UsageError(
            f"{program!r} is not a program on this machine; check its name and PATH, or make the file executable"
        )


def _processes(record: LaunchRecord) -> list[_Process]:
    pairs = convert(record.job.get("processes", []), list[tuple[int, str | None]])
    return [_Process(pid, since) for pid, since in pairs]


def _code_file(folder: Path, number: int) -> Path:
    return folder / f"{number}.exit"


def _code(record: LaunchRecord, number: int) -> int | None:
    """Return the exit code of a worker that has ended, or None if it left none."""
    try:
        return int(_code_file(Path(record.folder or ""), number).read_text("ascii"))
    except (OSError, ValueError):
        return None


def _is_group(number: int) -> bool:
    """Return whether a process group has a process that is not a zombie."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_bytes()
        except OSError:
            continue
        state, _, group = text[text.rindex(b")") + 2 :].split()[:3]
        if int(group) == number and state not in (b"Z", b"X"):
            return True
    return False


def _signal_group(process: _Process, sign: signal.Signals) -> None:
    try:
        os.killpg(process.pid, sign)
    except (ProcessLookupError, PermissionError):
        pass
