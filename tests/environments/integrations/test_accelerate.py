"""accelerate's Accelerator with `log_with="runbase"`."""

import runbase
from tests.environments.integrations.conftest import RunScript, points

LOOP = """
import os, runbase, numpy as np
from accelerate import Accelerator
import runbase.integrations.accelerate

def main():
    accelerator = Accelerator(cpu=True, log_with="runbase")
    accelerator.init_trackers("digits", config={"lr": 0.125, "net": {"width": 8}},
        init_kwargs={"runbase": {"name": "first", "tags": ["a"]}})
    for step in range(5):
        accelerator.log({"loss": 1 / (step + 1), "group": {"a": step}, "phase": "warm"}, step=step)
    if accelerator.is_main_process:
        accelerator.get_tracker("runbase").log_images({"pixels": [np.zeros((4, 4), np.uint8)] * 2}, step=4)
    if os.environ.get("FAILS"):
        raise ValueError("no more data")
    accelerator.end_training()

if __name__ == "__main__":
    main()
"""


def test_values_config_and_media(run_script: RunScript, store: runbase.Store) -> None:
    run_script(LOOP)
    (run,) = store.runs()
    assert (run.name, run.experiment, run.status.value) == ("first", "digits", "COMPLETED")
    assert (run.params["lr"], run.params["net/width"]) == (0.125, 8)
    assert "a" in run.tags
    assert points(store, run, "loss") == [(step, 1 / (step + 1)) for step in range(5)]
    assert points(store, run, "group/a") == [(step, step) for step in range(5)]
    keys = {(record["key"], record["kind"]) for record in store.records(run.id)}
    assert keys == {("phase", "text"), ("pixels/0", "image"), ("pixels/1", "image")}


def test_an_exception_fails_the_run(run_script: RunScript, store: runbase.Store) -> None:
    run_script(LOOP, fails=True, FAILS="1")
    (run,) = store.runs()
    assert run.status.value == "FAILED"
    assert run.error is not None
    assert (run.error["type"], run.error["message"]) == ("ValueError", "no more data")


def test_two_processes_log_once(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        """
import subprocess, sys, os
path = os.path.abspath("train.py")
open(path, "w").write(LOOP)
subprocess.run([sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", path], check=True,
    env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"})
""".replace("LOOP", repr(LOOP))
    )
    (run,) = store.runs()
    assert points(store, run, "loss") == [(step, 1 / (step + 1)) for step in range(5)]
    assert run.status.value == "COMPLETED"
