"""Facts about a Slurm job, from its environment variables and `scontrol`."""

import os
import re
import subprocess
import time
from collections.abc import Mapping
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
_CLOSE_TO_THE_END = 90.0
"""Seconds before a job's end in which a SIGTERM is attributed to its time limit (KillWait is 30)."""


def job(environ: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """Return the job's ids and its node; None outside Slurm."""
    environ = os.environ if environ is None else environ
    if "SLURM_JOB_ID" not in environ:
        return None
    return {field: environ[name] for field, name in _FIELDS.items() if name in environ}


def sweep_tag(environ: Mapping[str, str] | None = None) -> str | None:
    """Return `sweep:<array id>` in an array job."""
    environ = os.environ if environ is None else environ
    array = environ.get("SLURM_ARRAY_JOB_ID")
    return f"sweep:{array}" if array else None


def why_terminated(environ: Mapping[str, str] | None = None) -> Status:
    """Return the status for a SIGTERM: CANCELLED, or TIMEOUT or PREEMPTED if Slurm reports it."""
    environ = os.environ if environ is None else environ
    job_id = environ.get("SLURM_JOB_ID")
    if not job_id:
        return Status.CANCELLED
    state = _state(job_id)
    if state is not None and state.phase == "ended":
        return state
    end = environ.get("SLURM_JOB_END_TIME", "")
    if end.isdigit() and time.time() > int(end) - _CLOSE_TO_THE_END:
        return Status.TIMEOUT
    return Status.CANCELLED


def _state(job_id: str) -> Status | None:
    try:
        done = subprocess.run(
            ["scontrol", "show", "job", job_id, "-o"],
            capture_output=True,
            timeout=2,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(rb"\bJobState=(\w+)", done.stdout)
    try:
        return Status(match[1].decode()) if match else None
    except ValueError:
        return None
