"""Facts about a Slurm job, from its environment variables and `scontrol`.

While a job ends, `scontrol` shows the state COMPLETING in place of the final one. Its other fields tell the final
state (seen with Slurm 22.05): the reason of a job that reached its time limit is TimeLimit, and a job that is requeued
has one restart more than the process that ends.
"""

import os
import re
import subprocess
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from runbase.status import Status

_FIELDS = {
    "job_id": "SLURM_JOB_ID",
    "job_name": "SLURM_JOB_NAME",
    "step_id": "SLURM_STEP_ID",
    "array_job_id": "SLURM_ARRAY_JOB_ID",
    "array_task_id": "SLURM_ARRAY_TASK_ID",
    "partition": "SLURM_JOB_PARTITION",
    "nodes": "SLURM_JOB_NODELIST",
    "tasks": "SLURM_NTASKS",
    "rank": "SLURM_PROCID",
    "restarts": "SLURM_RESTART_COUNT",
    "cluster": "SLURM_CLUSTER_NAME",
    "submit_dir": "SLURM_SUBMIT_DIR",
}
_CLOSE_TO_THE_END = 125.0
"""Seconds before a job's end in which a SIGTERM counts as its time limit: Slurm sends the signal of
`--signal=TERM@60` up to 60 seconds earlier than asked."""
_REASONS = {
    "TimeLimit": Status.TIMEOUT,
    "DeadLine": Status.DEADLINE,
    "NodeDown": Status.NODE_FAIL,
    "OutOfMemory": Status.OUT_OF_MEMORY,
}
"""The final states of jobs that are ended for a reason."""
_KILLED = (
    Status.BOOT_FAIL,
    Status.CANCELLED,
    Status.COMPLETING,
    Status.DEADLINE,
    Status.FAILED,
    Status.NODE_FAIL,
    Status.OUT_OF_MEMORY,
    Status.PREEMPTED,
    Status.TIMEOUT,
)
"""The states of a job that explain why a process of it is gone."""
_ENVIRONMENT = {"SLURM_TIME_FORMAT": "%s"}
"""Makes Slurm's commands print times as seconds since the epoch."""


def job(environ: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """Return the job's ids and its node; None outside Slurm."""
    environ = os.environ if environ is None else environ
    if "SLURM_JOB_ID" not in environ:
        return None
    return {field: environ[name] for field, name in _FIELDS.items() if name in environ}


def details(environ: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """Return what `job` returns, and `end_time`: when the job reaches its time limit (UTC, ISO 8601).

    Newer versions of Slurm set the time in the environment; older ones are asked by `scontrol`, which takes a few
    milliseconds, or two seconds if the controller does not answer.
    """
    environ = os.environ if environ is None else environ
    found = job(environ)
    if found is None:
        return None
    end = _number(environ.get("SLURM_JOB_END_TIME"))
    if end is None:
        end = _number(_control(environ).get("EndTime"))
    if end is None:
        return found
    _ends[_name(environ)] = end
    return {**found, "end_time": datetime.fromtimestamp(end, UTC).isoformat()}


def seconds_left(found: Mapping[str, Any], now: datetime) -> float | None:
    """Return the seconds until a job reaches its time limit, from what `details` returned; None if not known.

    Args:
        found: the captured facts of the job.
        now: the current time, with its time zone.
    """
    with suppress(KeyError, TypeError, ValueError):
        return max((datetime.fromisoformat(found["end_time"]) - now).total_seconds(), 0.0)
    return None


def sweep_tag(environ: Mapping[str, str] | None = None) -> str | None:
    """Return `sweep:<array id>` in an array job."""
    environ = os.environ if environ is None else environ
    array = environ.get("SLURM_ARRAY_JOB_ID")
    return f"sweep:{array}" if array else None


def why_terminated(environ: Mapping[str, str] | None = None) -> Status:
    """Return the status for a SIGTERM: CANCELLED, or the state that Slurm reports.

    PREEMPTED stands for each job that Slurm requeues: its run goes on when the job starts again.
    """
    environ = os.environ if environ is None else environ
    if not environ.get("SLURM_JOB_ID"):
        return Status.CANCELLED
    fields = _control(environ)
    state = _status(fields.get("JobState"))
    if state is not None and state.phase == "ended":
        return state
    if reason := _REASONS.get(fields.get("Reason", "")):
        return reason
    restarts = _number(environ.get("SLURM_RESTART_COUNT")) or 0
    if (_number(fields.get("Restarts")) or 0) > restarts or _number(fields.get("PreemptTime")):
        return Status.PREEMPTED
    if state is Status.COMPLETING:
        return Status.CANCELLED
    ends = (
        _number(environ.get("SLURM_JOB_END_TIME")),
        _number(fields.get("EndTime")),
        _ends.get(_name(environ)),
    )
    end = next((end for end in ends if end is not None), None)
    if end is not None and time.time() > end - _CLOSE_TO_THE_END:
        return Status.TIMEOUT
    return Status.CANCELLED


def killed(jobs: Collection[Mapping[str, Any]]) -> dict[str, Status]:
    """Return why the processes of jobs are gone, as far as Slurm knows it: final states by job id.

    COMPLETING stands for a job that is just ending: its final state is not visible yet. The controller knows a job for some minutes after its end (`MinJobAge`).

    Args:
        jobs: the jobs as `job` returned them. Those of other clusters are left out.
    """
    if not jobs:
        return {}
    cluster = _cluster() if any(job.get("cluster") for job in jobs) else None
    ids = {str(job["job_id"]) for job in jobs if job.get("cluster") in (None, cluster)}
    if not ids:
        return {}
    asked = f"--jobs={','.join(sorted(ids))}"
    lines = _output("squeue", "--noheader", "--states=all", "--format=%A %T", asked).splitlines()
    found: dict[str, Status] = {}
    for line in lines:
        number, _, word = line.strip().partition(" ")
        state = _status(word)
        if state is not None and number in ids and state in _KILLED:
            found[number] = state
    return found


_ends: dict[str, int] = {}
"""When jobs reach their time limits, in seconds since the epoch, by the name of the job."""


def _name(environ: Mapping[str, str]) -> str:
    """Return the name of the job for `scontrol`: the id of an array's last task stands for the whole array."""
    array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else environ.get("SLURM_JOB_ID", "")


def _control(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of the job that `scontrol` shows; none if it does not answer."""
    text = _output("scontrol", "show", "job", _name(environ), "-o")
    fields: dict[str, str] = {}
    for match in re.finditer(r"(\w+)=(\S*)", text):
        fields.setdefault(match[1], match[2])
    return fields


def _cluster() -> str | None:
    """Return the name of the cluster that Slurm's commands of this machine ask, or None."""
    match = re.search(
        r"^ClusterName\s*=\s*(\S+)", _output("scontrol", "show", "config"), re.MULTILINE
    )
    return match[1] if match else None


def _output(*command: str) -> str:
    """Return the output of one of Slurm's commands; empty if it is missing or takes two seconds."""
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            command, capture_output=True, timeout=2, check=False, env={**os.environ, **_ENVIRONMENT}
        )
        return done.stdout.decode(errors="replace")
    return ""


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _status(word: str | None) -> Status | None:
    with suppress(ValueError):
        return Status(word or "")
    return None
