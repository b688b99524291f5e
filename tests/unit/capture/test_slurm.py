"""Facts about a Slurm job, from its environment variables."""

from runbase.capture.slurm import job, sweep_tag


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
