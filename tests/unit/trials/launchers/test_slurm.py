"""The command of sbatch, the batch script, and what `squeue` and `sacct` answer; a real Slurm is in environments/slurm."""

import pytest
from msgspec.structs import replace

from runbase.errors import RunbaseError, UsageError
from runbase.trials.launchers.base import Plan, Workers
from runbase.trials.launchers.record import LaunchRecord
from runbase.trials.launchers.slurm import Slurm

from .conftest import Program


@pytest.fixture
def plan(plan: Plan) -> Plan:
    return replace(plan, image=None)


def test_what_is_submitted(plan: Plan) -> None:
    text = Slurm().preview(plan)
    first = text.partition("\n")[0]
    for option in (
        "--array=0-99%8",
        "--requeue",
        "--signal=B:TERM@60",
        "--export=ALL",
        "--time=0-04:00:00",
        "--cpus-per-task=4",
        "--gpus=1",
        "--mem=16384M",
        "--partition=gpu",
        f"--output={plan.folder}/%a.log",
    ):
        assert option in first
    assert "-m runbase worker tuning --wait 0 -- python train.py --lr '{lr}'" in text


def test_no_secret_is_shown(plan: Plan) -> None:
    text = Slurm().preview(plan)
    assert "geheim" not in text
    assert "hush-hush" not in text
    assert "geheim" not in repr(plan)


def test_a_percent_in_a_path_is_no_pattern(plan: Plan) -> None:
    odd = replace(plan, home=plan.home / "100%j", max_parallel=None)
    first = Slurm().preview(odd).partition("\n")[0]
    assert "100%%j/launches" in first
    assert "--array=0-99 " in first


def test_nodes_that_are_other_machines(plan: Plan, program: Program) -> None:
    program("sinfo", "print('node-7\\nnode-8')")
    Slurm().check(plan)
    for address, why in (
        ("sqlite:////nfs/runbase.db", "SQLite file"),
        ("postgresql://127.0.0.1/lab", "address of this machine alone"),
        ("postgresql:///lab", "socket of this machine"),
        ("http://localhost:4400", "address of this machine alone"),
    ):
        with pytest.raises(UsageError, match=rf"\(node-7, node-8\).*{why}.*use PostgreSQL"):
            Slurm().check(replace(plan, address=address))


def test_a_node_that_is_this_machine(plan: Plan, program: Program) -> None:
    program("sinfo", "import socket; print(socket.gethostname().split('.')[0])")
    Slurm().check(replace(plan, address="sqlite:////home/ada/runbase.db"))


def test_parts_of_a_cpu(plan: Plan) -> None:
    with pytest.raises(UsageError, match="whole CPUs"):
        Slurm().check(replace(plan, resources=replace(plan.resources, cpus=0.5)))


def test_a_missing_program(plan: Plan, program: Program) -> None:
    with pytest.raises(RunbaseError, match="sinfo is not installed here"):
        Slurm().check(plan)


def test_status(record: LaunchRecord, program: Program) -> None:
    program("squeue", "print('0|RUNNING|0|\\n1|FAILED|36608|\\n2|FAILED|256|\\n3|PENDING|0|')")
    assert Slurm().status(record) == Workers(pending=1, running=1, ended=1, failed=1)


def test_tasks_that_the_controller_forgot(record: LaunchRecord, program: Program) -> None:
    program("squeue", "print('0|RUNNING|0|')")
    without_accounting = Slurm().status(record)
    assert (without_accounting.running, without_accounting.unknown) == (1, 3)
    assert without_accounting.note is not None
    lines = r"7_0|PENDING|0:0\n7_1|CANCELLED by 7|0:15\n7_2|TIMEOUT|0:0\n7_3|NODE_FAIL|1:0"
    program("sacct", f"print('{lines}')")
    assert Slurm().status(record) == Workers(running=1, ended=2, failed=1)


def test_an_array_that_squeue_does_not_know(record: LaunchRecord, program: Program) -> None:
    program("squeue", "sys.exit('slurm_load_jobs error: Invalid job id specified')")
    program("sacct", r"print('7_0|COMPLETED|0:0\n7_1|COMPLETED|0:0')")
    workers = Slurm().status(record)
    assert (workers.ended, workers.unknown) == (2, 2)
