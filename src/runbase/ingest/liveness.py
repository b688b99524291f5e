"""Finds runs whose processes are gone, and marks them as lost; finds lost runs that are alive.

On the run's own host, its process is looked up by pid and start time: a paused process is alive, and a reused pid does
not count. On other hosts, the age of the heartbeat file decides, measured against a file that is touched beside it: by the
file server's clock, so that no host's clock matters. Where the folder cannot be reached either, the heartbeat in the database
decides, which a running process records once a minute by the database's clock.
"""

import logging
import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from socket import gethostname

from runbase.events import Process
from runbase.ingest.journals import Report
from runbase.journal import files, last_line, open_lines, opened
from runbase.secrets import mask_file
from runbase.status import SILENCE, Status
from runbase.storage.protocol import Storage
from runbase.storage.types import LiveRun

_LOG = logging.getLogger(__name__)
HEARTBEAT = "heartbeat"
BEATS = 60.0
"""Seconds between two signs of life that the database is given of a run."""


def check_liveness(storage: Storage, home: Path, report: Report | None = None) -> Report:
    """Mark runs whose processes are gone as lost, and lost ones that live as alive."""
    report = report if report is not None else Report()
    clock = None
    living: list[str] = []
    for run in storage.live_runs():
        if not run.processes:
            continue  # it was reported from outside, without a journal: a lease may tell, or nobody
        if run.endless:
            _check_endless(storage, run, report)
            continue
        folder = home / run.folder if run.folder else None
        beat = _beat(folder)
        alive = _lives_here(run.processes)
        told = False
        if alive is None and beat is not None:
            clock = clock if clock is not None else file_clock(home)
            alive = clock - beat < SILENCE
        elif alive is None:  # neither its processes nor its folder are within reach
            if run.silent is None:
                continue
            told, alive = True, run.silent < SILENCE
        seen = max(run.seen, beat or 0.0)
        if alive and run.lost:
            _LOG.info("run %s is alive again", run.id)
            storage.mark_alive(run.id, time.time())
            report.found_alive += 1
        elif alive and not told and (run.silent is None or run.silent > BEATS):
            living.append(run.id)
        elif not alive and not run.lost and not (folder and is_written(folder)):
            reason = _reason(run, told)
            _LOG.info("run %s is lost: %s", run.id, reason)
            storage.mark_lost(run.id, seen, reason)
            report.lost += 1
            if folder is not None and not told:
                with suppress(OSError):  # what the run itself does at its end
                    mask_file(folder / "output.log")
    if living:
        storage.heartbeat(living)
    return report


def _check_endless(storage: Storage, run: LiveRun, report: Report) -> None:
    """A run of a scan or an import whose source never says that it ends: it has, when nothing comes any more."""
    quiet = time.time() - run.seen >= SILENCE
    if quiet and not run.lost:
        reason = "no new data for 3 minutes; its source does not say how it ended"
        storage.mark_lost(run.id, run.seen, reason, Status.COMPLETED)
    elif run.lost and not quiet:
        storage.mark_alive(run.id, time.time())
        report.found_alive += 1


def this_process() -> Process:
    """What tells this process from every other one, also later."""
    pid = os.getpid()
    return Process(gethostname(), pid, started(pid), boot())


def started(pid: int) -> str | None:
    """When a process began, as its kernel counts; None where it does not exist or cannot be told."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return _started_by_psutil(pid)
    # The second field is the program's name in parentheses, and may hold anything.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


@cache
def boot() -> str | None:
    """Which boot of which system, and which container, a pid of ours counts in."""
    try:
        system = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None
    return f"{system} {space}"


def file_clock(folder: Path) -> float:
    """What the file system of `folder` holds for now; the host's own clock where it is read-only."""
    import tempfile

    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".clock-") as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


def _lives_here(processes: list[Process]) -> bool | None:
    """Whether any of a run's processes lives; None where another host would have to be asked."""
    here = [p for p in processes if p.host == gethostname() and p.boot == boot()]
    if any(_lives(process) for process in here):
        return True
    # A process of an earlier boot of this very host is gone, whatever its pid says.
    rebooted = [
        p for p in processes if p.host == gethostname() and _other_boot(p.boot) and p not in here
    ]
    return False if len(here) + len(rebooted) == len(processes) else None


def _other_boot(mark: str | None) -> bool:
    ours = boot()
    if mark is None or ours is None:
        return False
    # Another container on this host shares the boot and not the pids: its heartbeat must tell.
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
    """Whether a living process of this host has a journal of the run open."""
    for path in files(folder):
        head = opened(path)
        if head is not None and _lives_here([head.process]) and not _closed(path):
            return True
    return False


def may_grow(path: Path) -> bool:
    """Whether somebody may still write to a journal: it was not closed, and its process is not known to be gone."""
    head = opened(path)
    return head is None or not (_closed(path) or _lives_here([head.process]) is False)


def is_led(folder: Path) -> bool:
    """Whether a living process of this host began the run and has not ended it."""
    return any(
        head is not None and _lives_here([head.process]) and not _closed(path) and _began(path)
        for path in files(folder)
        for head in [opened(path)]
    )


def has_begun(folder: Path) -> bool:
    """Whether a first process of the run ever began it; ranks that came before it only joined."""
    return any(_began(path) for path in files(folder))


def _began(path: Path) -> bool:
    with open_lines(path) as file:
        return b'\n{"e":"start"' in file.read(2**14)  # its second line, but for attached processes


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
