"""Slurm jobs that are requeued: their runs go on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import runbase

JOB = """
import os, time, runbase
done = runbase.start_run('warm-up', capture=False)
done.log({'x': 1})
done.finish()
run = runbase.start_run('job', params={'seed': 1}, capture=False)
print(run.id, flush=True)
for step in range(100):
    run.log({'loss': 1.0})
if 'CUT_OFF' in os.environ:
    run.flush()
    print('ready', flush=True)
    time.sleep(600)
run.finish()
"""


class Job:
    """A script that Slurm starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "train.py").write_text(JOB)

    def run(self, *, cut_off: bool = False, **slurm: str) -> str:
        """The run of one start of it, which may be killed in the middle."""
        environment = {"SLURM_JOB_ID": "4711", "SLURM_CLUSTER_NAME": "lab", **slurm}
        process = subprocess.Popen(
            [sys.executable, "train.py"],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment, **({"CUT_OFF": "1"} if cut_off else {})},
        )
        assert process.stdout is not None
        run = process.stdout.readline().strip()
        if cut_off:
            assert process.stdout.readline() == "ready\n"
            process.kill()
        process.communicate()
        assert process.returncode == (-9 if cut_off else 0)
        return run


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_it_goes_on_where_it_was_cut_off(job: Job, home: Path) -> None:
    first = job.run(cut_off=True)
    assert job.run(cut_off=True, SLURM_RESTART_COUNT="1") == first
    assert job.run(SLURM_RESTART_COUNT="2") == first
    with runbase.open(home=home) as store:
        run = store.run(first)
        assert (run.status.value, run.metrics["loss"].count) == ("COMPLETED", 300)
        assert run.metrics["loss"].last_step == 299
        assert store.count("experiment = 'job'") == 1
        assert store.count("experiment = 'warm-up'") == 3, "what had ended is not gone on with"
    assert job.run(SLURM_RESTART_COUNT="3") != first, "it had come to its end"


def test_others_begin_anew(job: Job, home: Path) -> None:
    task = {"SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "5"}
    first = job.run(cut_off=True, **task)
    others = [
        task,  # submitted again, not restarted
        {**task, "SLURM_ARRAY_TASK_ID": "6", "SLURM_RESTART_COUNT": "1"},
        {"SLURM_RESTART_COUNT": "1"},
    ]
    found = {job.run(**other) for other in others}
    assert len(found) == 3
    assert first not in found
    with runbase.open(home=home) as store:
        assert store.run(first).status.value == "NODE_FAIL"


def test_a_task_of_an_array_is_found_under_another_job_id(job: Job) -> None:
    task = {"SLURM_ARRAY_JOB_ID": "1", "SLURM_ARRAY_TASK_ID": "5"}
    first = job.run(cut_off=True, **task)
    assert job.run(**task, SLURM_JOB_ID="4800", SLURM_RESTART_COUNT="1") == first


def test_outside_of_slurm_nothing_is_noted(home: Path) -> None:
    runbase.start_run("plain", home=home, capture=False).finish()
    assert not (home / "jobs").exists()
