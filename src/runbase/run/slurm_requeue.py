"""Resume the runs of requeued Slurm jobs.

A requeued job keeps its id and starts the same script from the beginning. A run therefore writes a marker
file in its home, named after the job, step, command line, experiment, and the run's ordinal among equal runs
of its process. If Slurm reports that the job was restarted, the run with the same marker is resumed, unless it
completed. (The variables are those of *sbatch(1)*, "OUTPUT ENVIRONMENT VARIABLES".)
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
    """The fields of the last journal line that record the end of a run."""

    e: str
    status: str = ""


_begun: Counter[str] = Counter()


def mark(home: Path, experiment: str, *, of_job: bool = False) -> Path | None:
    """Return the marker file for the run that starts now; None outside of Slurm.

    Args:
        home: the folder for runs.
        experiment: the name of the experiment.
        of_job: whether all tasks of the job step log into this run, so that they share the marker.
    """
    if not os.environ.get("SLURM_JOB_ID"):
        return None
    job = [os.environ.get(name, "") for name in _JOB]
    if of_job:
        job[-1] = "0"
    if job[2]:
        job[1] = ""  # the job id of an array task changes on requeue; the array's id does not
    identity = "\0".join([*job, experiment, *sys.argv])
    _begun[identity] += 1
    key = hashlib.sha256(f"{identity}\0{_begun[identity]}".encode()).hexdigest()
    return home / "jobs" / key[:32]


def earlier(place: Path | None) -> str | None:
    """Return the id of the run that this job started before it was requeued, or None."""
    if place is None or os.environ.get("SLURM_RESTART_COUNT", "0") == "0":
        return None
    try:
        run = place.read_text("utf-8").strip()
    except (OSError, UnicodeError):
        return None
    folder = next(iter(place.parents[1].glob(f"runs/*/{run}")), None) if run.isalnum() else None
    return None if folder is None or completed(folder) else run


def completed(folder: Path) -> bool:
    """Return whether the run in a folder ended with COMPLETED."""
    return any(_completed(path) for path in files(folder))


def note(place: Path | None, run: str) -> None:
    """Write the id of the started run to its marker file."""
    if place is not None:
        with suppress(OSError):  # on a full disk, the only effect is that a requeue cannot resume
            place.parent.mkdir(exist_ok=True)
            whole = place.with_name(f"{place.name}.{os.getpid()}")
            whole.write_text(f"{run}\n", "utf-8")
            whole.replace(place)


def _completed(path: Path) -> bool:
    try:
        last = msgspec.json.decode(last_line(path), type=_Last)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False  # for example a line of points
    return (last.e, last.status) == ("end", "COMPLETED")
