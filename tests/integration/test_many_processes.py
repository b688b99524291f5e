"""Many processes write to one home, and to one run."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import runbase
from tests.integration.processes import MANY
from tests.patience import PATIENCE

Script = Callable[..., "subprocess.Popen[str]"]


def test_sixteen_processes_and_a_reader(script: Script, home: Path) -> None:
    """16 processes x 20,000 steps x 4 values into one SQLite home, while a reader polls."""
    processes = [script(MANY, str(number), "20000") for number in range(16)]
    seen = 0
    while any(process.poll() is None for process in processes):
        if (home / "runbase.db").exists():
            with runbase.open(home=home, sync=False) as store:
                points = store.totals()["points"]
                assert points >= seen
                seen = points
    for process in processes:
        out, err = process.communicate()
        assert (process.returncode, out, err) == (0, "", "")
    with runbase.open(home=home) as store:
        assert store.totals()["points"] == 1_280_000
        assert store.sql("select count(*) from metrics") == [(1_280_000,)]
        for run in store.runs():
            assert run.status.value == "COMPLETED"
            number = int(run.name.removeprefix("run-"))
            for key, factor in (("a", 1.0), ("b", 0.5), ("c", -1.0)):
                series = store.metrics(run.id, key, every=True)
                np.testing.assert_array_equal(series.steps, np.arange(20_000))
                np.testing.assert_array_equal(series.values, np.arange(20_000) * factor)
            assert set(store.metrics(run.id, "d").values) == {number}
        assert {run.number for run in store.runs()} == set(range(1, 17))
        average = store.sql("select avg(count) from blocks")[0][0]
        assert average >= 512
        assert store.check() == []


def test_racing_ingesters(script: Script, home: Path) -> None:
    code = (
        "import runbase\n"
        "run = runbase.start_run('race', store='none', capture=False)\n"
        "for i in range(30_000): run.log({'x': i})\n"
    )
    assert script(code).wait() == 0
    ingest = "import runbase\nrunbase.open(home=__import__('sys').argv[1]).close()\n"
    racers = [script(ingest, str(home)) for _ in range(6)]
    for racer in racers:
        _, err = racer.communicate()
        assert (racer.returncode, err) == (0, "")
    with runbase.open(home=home, sync=False) as store:
        np.testing.assert_array_equal(store.metrics(store.runs()[0], "x").values, np.arange(30_000))


RANKS = """
import os, sys, runbase
run = runbase.start_run('ranks', capture=False)
rank = int(os.environ['RANK'])
for step in range(100):
    run.log({f'loss/{rank}': step * 1.0})
print('logged', flush=True)
sys.stdin.readline()
run.finish()
"""


def test_the_ranks_of_one_run(script: Script, home: Path) -> None:
    """Several processes share an id: each adds its points, the first begins and ends the run."""
    ranks = [script(RANKS, RUNBASE_RUN_ID="job-1", RANK=str(rank)) for rank in (2, 0, 1)]
    for process in ranks:
        assert process.stdout is not None
        assert process.stdout.readline() == "logged\n"
    by_rank = {2: ranks[0], 0: ranks[1], 1: ranks[2]}
    for rank, status in ((1, "RUNNING"), (0, "COMPLETED"), (2, "COMPLETED")):
        _, err = by_rank[rank].communicate("go\n", timeout=PATIENCE)
        assert by_rank[rank].returncode == 0, err
        with runbase.open(home=home) as store:
            assert store.run("job-1").status.value == status
    with runbase.open(home=home) as store:
        (run,) = store.runs()
        assert {key: metric.count for key, metric in run.metrics.items()} == {
            "loss/0": 100,
            "loss/1": 100,
            "loss/2": 100,
        }
        assert [metric.last_step for metric in run.metrics.values()] == [99, 99, 99]


LAUNCHER = """
import os, subprocess, sys
size = int(sys.argv[1])
environ = {**os.environ, 'WORLD_SIZE': str(size), 'LOCAL_WORLD_SIZE': str(size)}
ranks = [
    subprocess.Popen([sys.executable, '-c', sys.argv[2]], env={**environ, 'RANK': str(n), 'LOCAL_RANK': str(n)})
    for n in reversed(range(size))
]
sys.exit(max(rank.wait() for rank in ranks))
"""
JOINED = """
import os, runbase
for title in ('fit', 'test', 'fit'):
    with runbase.start_run(title, capture=False) as run:
        for step in range(10):
            run.log({'loss': step + 0.5, 'rank': int(os.environ['RANK'])})
"""


def launch(code: str, folder: Path, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", LAUNCHER, "3", code],
        cwd=folder,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return done.stderr


def test_the_ranks_of_a_job_join_one_run(home: Path, tmp_path: Path) -> None:
    for _ in range(2):  # a second launch is another job
        told = launch(JOINED, tmp_path, RUNBASE_QUIET="")
        assert "(3 processes log into this run)" in told
        assert told.count("runbase: run") == 1
    with runbase.open(home=home) as store:
        runs = store.runs()
        assert sorted(run.experiment for run in runs) == ["fit"] * 4 + ["test"] * 2
        for run in runs:
            assert run.status.value == "COMPLETED"
            ranks = {key: metric.last for key, metric in run.metrics.items() if "loss" not in key}
            assert ranks == {"rank": 0, "rank/rank1": 1, "rank/rank2": 2}
            assert [run.metrics[f"loss{s}"].count for s in ("", "/rank1", "/rank2")] == [10] * 3


def test_ranks_that_should_not_join(home: Path, tmp_path: Path) -> None:
    launch(JOINED, tmp_path, RUNBASE_JOIN_RANKS="false")
    with runbase.open(home=home) as store:
        assert len(store.runs()) == 9
        assert all(set(run.metrics) == {"loss", "rank"} for run in store.runs())


def test_a_rank_whose_job_is_unknown_says_so(home: Path, script: Script) -> None:
    _, err = script(JOINED, RANK="1", WORLD_SIZE="2").communicate(timeout=PATIENCE)
    assert "runbase: rank 1 of 2 starts a run of its own" in err
    assert "RUNBASE_RUN_ID" in err


def test_a_worker_beside_a_living_run(home: Path, script: Script, tmp_path: Path) -> None:
    run = runbase.start_run("beside", home=home, run_id="shared-1", capture=False)
    code = (
        "import runbase\n"
        "with runbase.start_run('beside', capture=False) as run: run.log({'w': 1})\n"
    )
    assert script(code, RUNBASE_RUN_ID="shared-1").wait() == 0
    with runbase.open(home=home) as store:
        assert store.run("shared-1").status.value == "RUNNING"
    run.log({"x": 1})
    run.finish()
    with runbase.open(home=home) as store:
        assert set(store.run("shared-1").metrics) == {"w", "x"}
        assert store.run("shared-1").status.value == "COMPLETED"


def test_ranks_with_an_id_of_their_own_keep_their_curves_apart(home: Path, script: Script) -> None:
    code = (
        "import runbase\nwith runbase.start_run('x', capture=False) as run: run.log({'loss': 1.0})"
    )
    for rank in ("0", "1"):
        job = script(code, RUNBASE_RUN_ID="job-17", RANK=rank, WORLD_SIZE="2", LOCAL_RANK=rank)
        assert job.wait(timeout=PATIENCE) == 0
    with runbase.open(home=home) as store:
        assert set(store.run("job-17").metrics) == {"loss", "loss/rank1"}
