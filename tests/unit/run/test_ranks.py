"""Which environment variables make a process a rank of a distributed job."""

import os

import pytest

from runbase.run import ranks

TORCHRUN = {
    "RANK": "1",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "TORCHELASTIC_RUN_ID": "none",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
}
SLURM = {
    "SLURM_JOB_ID": "12",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NUM_TASKS": "4",
}


def test_torchrun_on_one_node() -> None:
    job = ranks.job(TORCHRUN)
    assert job is not None
    assert (job.rank, job.size, job.local_rank) == (1, 4, 1)
    assert str(os.getppid()) in (job.identity or "")
    assert job == ranks.job({**TORCHRUN, "MASTER_PORT": "1"}), "the launcher's process decides"


def test_torchrun_on_several_nodes_needs_an_id() -> None:
    nodes = {**TORCHRUN, "WORLD_SIZE": "8"}
    without = ranks.job(nodes)
    assert without is not None
    assert without.identity is None
    one = ranks.job({**nodes, "TORCHELASTIC_RUN_ID": "sweep"})
    other = ranks.job({**nodes, "TORCHELASTIC_RUN_ID": "sweep", "RANK": "5"})
    assert one is not None
    assert other is not None
    assert one.identity == other.identity is not None


def test_a_step_of_slurm() -> None:
    job = ranks.job(SLURM)
    assert job is not None
    assert (job.rank, job.local_rank, job.suffix) == (3, 1, "/rank3")
    other_step = ranks.job({**SLURM, "SLURM_STEP_ID": "1"})
    assert other_step is not None
    assert job.identity != other_step.identity


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"},
        {"SLURM_JOB_ID": "12", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"},  # a batch script
        {"RANK": "first", "WORLD_SIZE": "many"},
    ],
    ids=["nothing", "world of one", "batch script", "no numbers"],
)
def test_other_processes_are_no_ranks(environ: dict[str, str]) -> None:
    assert ranks.job(environ) is None


def test_a_rank_without_local_rank_has_no_identity() -> None:
    job = ranks.job({"RANK": "1", "WORLD_SIZE": "2"})
    assert job is not None
    assert job.identity is None


def test_ids_follow_the_order_of_runs() -> None:
    first, second = ranks.run_id("job", "order"), ranks.run_id("job", "order")
    assert first != second
    ranks._begun.clear()  # as in another rank
    assert [ranks.run_id("job", "order"), ranks.run_id("job", "order")] == [first, second]
    assert len(first or "") == 32
