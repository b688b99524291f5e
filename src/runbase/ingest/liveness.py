"""Mark runs as lost if their processes are gone, and lost runs as alive if a heartbeat is received.

On the run's own host, its process is looked up by pid and start time: a paused process is alive, and a reused pid does
not count. On other hosts, the age of the heartbeat file decides. It is compared with a file that is created in the same
file system, by the file server's clock, so that the clocks of hosts do not matter. If the folder cannot be reached either,
the heartbeat in the database decides; a running process records it once a minute, by the database's clock.
"""

import logging
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from socket import gethostname
from typing import Any, NamedTuple

from runbase.capture import slurm
from runbase.capture.secrets import mask_file
from runbase.events import Process
from runbase.ingest.journals import Report
from runbase.journal import files, last_line, open_lines, opened
from runbase.status import SILENCE, Status
from runbase.storage.protocol import Storage
from runbase.storage.types import LiveRun

_LOG = logging.getLogger(__name__)
HEARTBEAT = "heartbeat"
BEATS = 60.0
"""Seconds between two heartbeats of a run that are recorded in the database."""


def check_liveness(storage: Storage, home: Path, report: Report | None = None) -> Report:
    """Mark runs whose processes are gone as lost, and lost runs that are alive as alive.

    Args:
        storage: the database.
        home: the home directory that contains the runs' folders.
        report: a report to add the counts to; None: a new one.

    Returns:
        The report; `lost` and `found_alive` count the runs that were marked.
    """
    report = report if report is not None else Report()
    clock = None
    living: list[str] = []
    gone: list[_Gone] = []
    for run in storage.live_runs():
        if not run.processes:
            continue  # reported from outside, without a journal: only a lease can decide
        if run.endless:
            _check_endless(storage, run, report)
            continue
        folder = home / run.folder if run.folder else None
        beat = _beat(folder)
        alive = _lives_here(run.processes)
        by_database = False
        if alive is None and beat is not None:
            clock = clock if clock is not None else file_clock(home)
            alive = clock - beat < SILENCE
        elif alive is None:  # neither its processes nor its folder can be reached
            if run.silent is None:
                continue
            by_database, alive = True, run.silent < SILENCE
        seen = max(run.seen, beat or 0.0)
        if alive and run.lost:
            _LOG.info("run %s is alive again", run.id)
            storage.mark_alive(run.id, time.time())
            report.found_alive += 1
        elif alive and not by_database and (run.silent is None or run.silent > BEATS):
            living.append(run.id)
        elif not alive and not run.lost and not (folder and is_written(folder)):
            gone.append(
                _Gone(run.id, run.processes, seen, _reason(run, by_database), by_database, folder)
            )
    report.lost += _mark_lost(storage, gone)
    if living:
        storage.heartbeat(living)
    return report


class _Gone(NamedTuple):
    """A run whose processes are gone."""

    run: str
    processes: list[Process]
    seen: float
    reason: str
    by_database: bool
    folder: Path | None


def _mark_lost(storage: Storage, gone: list[_Gone]) -> int:
    """Mark runs as lost, with the final state of their Slurm job if Slurm knows it; return how many.

    A run whose job is just ending is left for the next call.
    """
    if not gone:
        return 0
    count = 0
    records = storage.get_runs([lost.run for lost in gone])
    captured: dict[str, dict[str, Any]] = {run.id: run.system.get("slurm") or {} for run in records}
    jobs = {run: job for run, job in captured.items() if job.get("job_id")}
    states: dict[str, Status] = {}
    if jobs:
        states = slurm.killed(jobs.values())
        gone = _still_gone(storage, gone)
    for lost in gone:
        job_id = str(jobs[lost.run]["job_id"]) if lost.run in jobs else ""
        status, reason = states.get(job_id, Status.NODE_FAIL), lost.reason
        if status is Status.COMPLETING:
            continue
        count += 1
        if job_id in states:
            reason = f"{reason}; Slurm job {job_id} ended with {status.value}"
        _LOG.info("run %s is lost: %s", lost.run, reason)
        storage.mark_lost(lost.run, lost.seen, reason, status)
        if lost.folder is not None and not lost.by_database:
            with suppress(OSError):  # as the run itself does at its end
                mask_file(lost.folder / "output.log")
    return count


def _still_gone(storage: Storage, gone: list[_Gone]) -> list[_Gone]:
    """Return the runs that no other process has continued meanwhile: Slurm may take seconds to answer."""
    now = {run.id: run.processes for run in storage.live_runs() if not run.lost}
    return [lost for lost in gone if now.get(lost.run) == lost.processes]


def _check_endless(storage: Storage, run: LiveRun, report: Report) -> None:
    """Mark a run of a scan or an import as completed if its source never reports an end and has no new data."""
    quiet = time.time() - run.seen >= SILENCE
    if quiet and not run.lost:
        reason = "no new data for 3 minutes; its source does not say how it ended"
        storage.mark_lost(run.id, run.seen, reason, Status.COMPLETED)
    elif run.lost and not quiet:
        storage.mark_alive(run.id, time.time())
        report.found_alive += 1


def this_process() -> Process:
    """Return what identifies this process permanently, also after its pid is reused."""
    pid = os.getpid()
    return Process(gethostname(), pid, started(pid), boot())


def started(pid: int) -> str | None:
    """Return when a process started, in the kernel's units; None if it does not exist or the time is not available."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return _started_by_psutil(pid)
    # The second field is the program's name in parentheses, and may contain any character.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


@cache
def boot() -> str | None:
    """Return the boot and the container in which pids of this process are valid; None if not available."""
    try:
        system = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None
    return f"{system} {space}"


def file_clock(folder: Path) -> float:
    """Return the current time of a folder's file system (seconds); the host's own clock if it is read-only."""
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def _lives_here(processes: list[Process]) -> bool | None:
    """Return whether any process of a run is alive; None if only another host can answer."""
    here = [p for p in processes if p.host == gethostname() and p.boot == boot()]
    if any(_lives(process) for process in here):
        return True
    # A process of an earlier boot of this host is gone, whatever its pid is.
    rebooted = [
        p for p in processes if p.host == gethostname() and _other_boot(p.boot) and p not in here
    ]
    return False if len(here) + len(rebooted) == len(processes) else None


def _other_boot(mark: str | None) -> bool:
    ours = boot()
    if mark is None or ours is None:
        return False
    # Another container on this host has the same boot but other pids: its heartbeat must decide.
    return mark.split(" ")[0] != ours.split(" ")[0] and mark.split(" ")[1] == ours.split(" ")[1]


def _lives(process: Process) -> bool:
    now = started(process.pid)
    return now is not None and (process.started is None or process.started == now)


def _beat(folder: Path | None) -> float | None:
    if folder is None:
        return None
    try:
        return (folder / HEARTBEAT).stat().st_mtime
    except OSError:
        return None


def is_written(folder: Path) -> bool:
    """Return whether a live process of this host has a journal of the run open."""
    for path in files(folder):
        head = opened(path)
        if head is not None and _lives_here([head.process]) and not _closed(path):
            return True
    return False


def may_grow(path: Path) -> bool:
    """Return whether a process may still write to a journal: it is not closed, and its process is not known to be gone."""
    head = opened(path)
    return head is None or not (_closed(path) or _lives_here([head.process]) is False)


def is_led(folder: Path) -> bool:
    """Return whether a live process of this host started the run and has not ended it."""
    return any(
        head is not None and _lives_here([head.process]) and not _closed(path) and _began(path)
        for path in files(folder)
        for head in [opened(path)]
    )


def has_begun(folder: Path) -> bool:
    """Return whether a first process of the run ever started it; ranks that came earlier only joined."""
    return any(_began(path) for path in files(folder))


def _began(path: Path) -> bool:
    """Return whether the process of a journal began the run: this is the second line, except in journals of others."""
    with open_lines(path) as file:
        file.readline(2**20)
        return file.readline(16).startswith(b'{"e":"start"')


def _closed(path: Path) -> bool:
    return last_line(path).startswith((b'{"e":"end"', b'{"e":"close"'))


def _reason(run: LiveRun, told: bool) -> str:
    process = run.processes[0]
    if told:
        minutes = (run.silent or 0) / 60
        return (
            f"process {process.pid} on {process.host} sent no heartbeat for {minutes:.0f} minutes"
        )
    return f"process {process.pid} on {process.host} exited without closing the run"


def _started_by_psutil(pid: int) -> str | None:
    if Path("/proc/self/stat").exists():
        return None
    try:
        import psutil
    except ImportError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return ""
    try:
        return str(psutil.Process(pid).create_time())
    except psutil.Error:
        return None
