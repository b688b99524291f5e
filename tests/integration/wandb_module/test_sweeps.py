"""Sweeps and agents on the queue of trials."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import runbase
import runbase.wandb as wandb


def sweep_config(**more: Any) -> dict[str, Any]:
    return {
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {
            "lr": {"values": [0.1, 0.2]},
            "opt": {"parameters": {"m": {"min": 1, "max": 2}}},
            "fixed": {"value": 5},
        },
        **more,
    }


def train() -> None:
    with wandb.init(config={"lr": 9, "epochs": 2}) as run:
        assert (run.config.fixed, run.config.epochs) == (5, 2)
        for _ in range(run.config.epochs):
            run.log({"loss": run.config.lr * run.config["opt"]["m"]})
        if run.config.lr == 0.2 and run.config["opt"]["m"] == 2:
            raise ValueError("bad luck")


@pytest.mark.filterwarnings("ignore::runbase.errors.RunbaseWarning")
def test_sweep(home: Path) -> None:
    key = wandb.sweep(sweep_config(method="grid"), project="digits")
    wandb.agent(key, function=train)
    wandb.agent(key, function=train)  # the grid is exhausted
    api = wandb.Api()
    runs = api.runs("digits", order="+config.lr")
    tried = sorted((run.config["lr"], run.config["opt"]["m"], run.state) for run in runs)
    assert tried == [
        (0.1, 1, "finished"),
        (0.1, 2, "finished"),
        (0.2, 1, "finished"),
        (0.2, 2, "failed"),
    ]
    assert all(run.config["fixed"] == 5 and run.sweep_name == key for run in runs)
    failed = next(run for run in runs if run.state == "failed")
    assert failed.error is not None
    assert (failed.error["type"], failed.error["message"]) == ("ValueError", "bad luck")
    assert api.runs("digits", include_sweeps=False) == []
    best = api.sweep(key).best_run()
    assert best is not None
    assert best.config["lr"] == 0.1
    assert best.config["opt"]["m"] == 1
    with runbase.open(home=home) as store:
        experiment = store.experiment(key)
        assert [objective.metric for objective in experiment.objectives] == ["loss"]
        assert experiment.best_trials(1)[0].values == {"loss": 0.1}


@pytest.mark.parametrize("method", ["random", "bayes"])
@pytest.mark.filterwarnings("ignore::runbase.errors.RunbaseWarning")
def test_sweep_by_sampler(method: str) -> None:
    config = sweep_config(method=method, run_cap=3)
    config["parameters"]["lr"] = {"min": 0.001, "max": 0.1, "distribution": "log_uniform_values"}
    key = wandb.sweep(config, project="digits")
    wandb.agent(f"lab/digits/{key}", function=train, count=5)
    rates = [run.config["lr"] for run in wandb.Api().sweep(key).runs]
    assert len(rates) == len(set(rates)) == 3
    assert all(0.001 <= rate <= 0.1 for rate in rates)


def test_sweeps_that_cannot_be_run() -> None:
    with pytest.raises(wandb.UsageError, match="method of the sweep"):
        wandb.sweep(sweep_config(method="custom"))
    for parameter, message in [
        ({"distribution": "normal", "mu": 0, "sigma": 1}, "min and max"),
        ({}, "has no values"),
        ({"distribution": "beta", "min": 0, "max": 1}, "distribution 'beta'"),
    ]:
        with pytest.raises(wandb.UsageError, match=message):
            wandb.sweep({"method": "random", "parameters": {"x": parameter}})
    with pytest.raises(wandb.UsageError, match="needs values"):
        wandb.sweep({"method": "grid", "parameters": {"x": {"min": 0.0, "max": 1.0}}})
    with pytest.raises(wandb.UsageError, match="needs a function"):
        wandb.agent("x")
    with pytest.raises(wandb.CommError, match="could not find sweep"):
        wandb.agent("nowhere", function=train)


def test_a_program_on_the_queue(home: Path) -> None:
    """`runbase worker NAME -- python -m runbase.wandb train.py`: the config is that of the trial."""
    with runbase.open(home=home) as store:
        experiment = store.create_experiment("queue", objectives={"loss": "min"})
        trial = experiment.new_trial({"lr": 0.25, "opt/m": 3})
        text = """
import wandb
run = wandb.init(project="queue", config={"lr": 9, "extra": 1})
assert run.config["opt"]["m"] == 3
run.log({"loss": run.config.lr})
"""
        Path("train.py").write_text(text)
        program = [sys.executable, "-m", "runbase.wandb", "train.py"]
        worker = [sys.executable, "-m", "runbase", "worker", "queue", "--wait", "0", "--"]
        done = subprocess.run([*worker, *program], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        store.sync()
        run = store.run(trial.id)
        assert (run.params, run.status.value) == ({"lr": 0.25, "opt/m": 3, "extra": 1}, "COMPLETED")
        assert run.metrics["loss"].last == 0.25
