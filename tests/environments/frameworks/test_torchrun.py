"""The processes that torchrun starts log into one run."""

import os
import subprocess
import sys
from pathlib import Path

import runbase

TOGETHER = """
import torch.distributed as dist
import runbase

dist.init_process_group("gloo")
with runbase.start_run("ddp", capture=False) as run:
    for step in range(10):
        run.log({"loss": 1.0 / (step + 1)}, step=step)
    dist.barrier()
dist.destroy_process_group()
"""
FAILING = """
import os, pathlib, time
import runbase

first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
with runbase.start_run("ddp", capture=False) as run:
    for step in range(0 if first else 10, 10 if first else 20):
        run.log({"loss": 1.0 / (step + 1)}, step=step)
    pathlib.Path("logged" + os.environ["RANK"]).touch()
    while not (pathlib.Path("logged0").exists() and pathlib.Path("logged1").exists()):
        time.sleep(0.01)
    if first:
        raise RuntimeError("the first attempt fails")
"""


def torchrun(folder: Path, script: str, *options: str) -> None:
    (folder / "train.py").write_text(script)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run(
        [*command, *options, "train.py"], cwd=folder, env=dict(os.environ), check=True, timeout=600
    )


def test_ranks_join_one_run(tmp_path: Path) -> None:
    torchrun(tmp_path, TOGETHER)
    with runbase.open(home=tmp_path / ".runbase") as store:
        (run,) = store.runs()
        assert run.status.value == "COMPLETED"
        assert {key: metric.count for key, metric in run.metrics.items()} == {
            "loss": 10,
            "loss/rank1": 10,
        }


def test_a_restart_continues_the_run(tmp_path: Path) -> None:
    torchrun(tmp_path, FAILING, "--max-restarts=1")
    with runbase.open(home=tmp_path / ".runbase") as store:
        (run,) = store.runs()
        assert run.status.value == "COMPLETED"
        assert run.metrics["loss"].count == 20
        assert run.metrics["loss/rank1"].last_step == 19
