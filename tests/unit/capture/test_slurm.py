"""Facts about a Slurm job, from its environment variables and from Slurm's commands."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runbase.capture.slurm import details, job, killed, seconds_left, sweep_tag

Program = Callable[[str, str], Path]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """Put a command of Slurm in the PATH: a shell script, which also writes its arguments to a file."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def put(name: str, code: str) -> Path:
        asked = tmp_path / f"{name}.arguments"
        path = tmp_path / name
        path.write_text(f'#!/bin/sh\necho "$*" >> {asked}\n{code}\n')
        path.chmod(0o755)
        return asked

    return put


def test_slurm_jobs() -> None:
    environ = {
        "SLURM_JOB_ID": "12",
        "SLURM_ARRAY_JOB_ID": "10",
        "SLURM_ARRAY_TASK_ID": "2",
        "SLURM_STEP_ID": "0",
    }
    assert job({}) is None
    assert job(environ) == {
        "job_id": "12",
        "array_job_id": "10",
        "array_task_id": "2",
        "step_id": "0",
    }
    assert sweep_tag(environ) == "sweep:10"
    assert sweep_tag({"SLURM_JOB_ID": "12"}) is None


def test_the_end_of_a_job(program: Program) -> None:
    asked = program("scontrol", "echo JobId=12 JobState=RUNNING EndTime=1700000060 Requeue=1")
    task = {"SLURM_JOB_ID": "12", "SLURM_ARRAY_JOB_ID": "10", "SLURM_ARRAY_TASK_ID": "2"}
    found = details(task)
    assert found is not None
    assert (found["job_id"], found["end_time"]) == ("12", "2023-11-14T22:14:20+00:00")
    assert asked.read_text() == "show job 10_2 -o\n", "the id of a task can stand for the array"
    now = datetime.fromtimestamp(1700000000, UTC)
    assert seconds_left(found, now) == 60
    assert seconds_left(job(task) or {}, now) is None


def test_a_newer_slurm_is_not_asked(program: Program) -> None:
    asked = program("scontrol", "exit 1")
    found = details({"SLURM_JOB_ID": "12", "SLURM_JOB_END_TIME": "1700000060"})
    assert found == {"job_id": "12", "end_time": "2023-11-14T22:14:20+00:00"}
    assert not asked.exists()


@pytest.mark.parametrize("end", ["EndTime=Unknown", "EndTime=None", ""])
def test_a_job_without_an_end(program: Program, end: str) -> None:
    program("scontrol", f"echo JobId=13 JobState=RUNNING {end}")
    assert details({"SLURM_JOB_ID": "13"}) == {"job_id": "13"}
    assert details({}) is None


def test_why_the_processes_of_jobs_are_gone(program: Program) -> None:
    program("scontrol", "echo ClusterName = lab")
    asked = program(
        "squeue", "echo '1 OUT_OF_MEMORY'; echo '2 COMPLETED'; echo '3 PENDING'; echo '9 FAILED'"
    )
    jobs = [{"job_id": number, "cluster": "lab"} for number in ("1", "2", "3", "4")]
    elsewhere = {"job_id": "9", "cluster": "other"}
    assert killed([*jobs, elsewhere]) == {"1": "OUT_OF_MEMORY"}
    assert "--jobs=1,2,3,4" in asked.read_text()


def test_without_slurm_nothing_is_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert killed([{"job_id": "1", "cluster": "lab"}, {"job_id": "2"}]) == {}
    assert details({"SLURM_JOB_ID": "14"}) == {"job_id": "14"}
