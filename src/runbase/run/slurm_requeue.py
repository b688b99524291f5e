"""Slurm jobs that run again: their runs go on where they were cut off.

A job that is requeued keeps its id and runs the same script from its beginning. So a run notes, in a file of its
home, which of the job's runs it is: by job, step, command line and experiment, and the how-many-th of that it is in
its process. Where Slurm says that the job was restarted, the run of the same note goes on, unless it had come to its
end. (The variables are those of *sbatch(1)*, "OUTPUT ENVIRONMENT VARIABLES".)
"""

import hashlib
import os
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import msgspec

from runbase.journal import files, last_line

_JOB = (
    "SLURM_CLUSTER_NAME",
    "SLURM_JOB_ID",
    "SLURM_ARRAY_JOB_ID",
    "SLURM_ARRAY_TASK_ID",
    "SLURM_STEP_ID",
    "SLURM_PROCID",
)


class _Last(msgspec.Struct):
    """Of a journal's last line, what tells of an end."""

    e: str
    status: str = ""


_begun: Counter[str] = Counter()


def mark(home: Path, experiment: str) -> Path | None:
    """Where the run that begins now is noted; None outside of Slurm."""
    if not os.environ.get("SLURM_JOB_ID"):
        return None
    said = [os.environ.get(name, "") for name in _JOB]
    if said[2]:
        said[1] = ""  # an array's tasks have job ids of their own, that change; the array's stays
    told = "\0".join([*said, experiment, *sys.argv])
    _begun[told] += 1
    key = hashlib.sha256(f"{told}\0{_begun[told]}".encode()).hexdigest()
    return home / "jobs" / key[:32]


def earlier(place: Path | None) -> str | None:
    """The run that this job began there before it was requeued; None where there is none to go on with."""
    if place is None or os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        return None
    try:
        run = place.read_text("utf-8").strip()
    except (OSError, UnicodeError):
        return None
    folder = next(iter(place.parents[1].glob(f"runs/*/{run}")), None) if run.isalnum() else None
    if folder is None or any(_completed(path) for path in files(folder)):
        return None
    return run


def note(place: Path | None, run: str) -> None:
    """This is the run that began there."""
    if place is not None:
        with suppress(OSError):  # a full disk: the run is not found again, and that is all
            place.parent.mkdir(exist_ok=True)
            whole = place.with_name(f"{place.name}.{os.getpid()}")
            whole.write_text(f"{run}\n", "utf-8")
            whole.replace(place)


def _completed(path: Path) -> bool:
    try:
        told = msgspec.json.decode(last_line(path), type=_Last)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False  # such as a line of points
    return (told.e, told.status) == ("end", "COMPLETED")
