"""Keras, scikit-learn, Hydra, Ray Tune, Optuna, stable-baselines3, logging and SummaryWriter."""

import json

import pytest

import runbase
from tests.environments.integrations.conftest import RunScript, points

KERAS = """
import json, numpy as np, keras, runbase
from runbase.integrations.keras import RunbaseCallback
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(1)], name="line")
model.compile(keras.optimizers.SGD(0.125), "mse", metrics=["mae"])
x = np.random.default_rng(0).normal(size=(64, 4)); y = x[:, 0]
"""


def test_keras(run_script: RunScript, store: runbase.Store) -> None:
    answer = run_script(
        KERAS
        + """
callback = RunbaseCallback("lines", log_model=True, log_batches=2)
history = model.fit(x, y, epochs=3, batch_size=16, validation_split=0.25, verbose=0, callbacks=[callback])
model.evaluate(x, y, verbose=0, callbacks=[callback])
print(json.dumps(history.history))
""",
        KERAS_BACKEND="torch",
    )
    (run,) = store.runs()
    assert run.status.value == "COMPLETED"
    assert (run.params["epochs"], run.params["model"], run.params["loss"]) == (3, "line", "mse")
    assert run.params["optimizer/learning_rate"] == 0.125
    for key in ("loss", "mae", "val_loss", "val_mae"):
        assert points(store, run, key) == list(enumerate(answer[key])), key
    assert [step for step, _ in points(store, run, "batch/loss")] == [2, 4, 6, 8]
    assert run.metrics["evaluate/loss"].count == 1
    assert [a.path for a in store.run(run.id).artifacts] == ["model.keras"]


def test_keras_fails(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        KERAS
        + """
class Bad(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1: raise ValueError("enough")
model.fit(x, y, epochs=3, verbose=0, callbacks=[RunbaseCallback("lines"), Bad()])
""",
        fails=True,
        KERAS_BACKEND="torch",
    )
    (run,) = store.runs()
    assert run.status.value == "FAILED"
    assert run.error is not None
    assert run.error["message"] == "enough"


SKLEARN = """
import json, numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
import runbase
from runbase.integrations.sklearn import autolog
x, y = load_iris(return_X_y=True)
"""


def test_sklearn(run_script: RunScript, store: runbase.Store) -> None:
    answer = run_script(
        SKLEARN
        + """
autolog("iris", tags=["auto"])
pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, max_iter=200)).fit(x, y)
search = GridSearchCV(SVC(), {"C": [0.1, 1.0, 10.0]}, cv=3).fit(x, y)
autolog(disable=True)
LogisticRegression(max_iter=200).fit(x, y)
print(json.dumps({"score": pipeline.score(x, y), "best": search.best_score_, "best_c": search.best_params_["C"],
    "means": [float(v) for v in search.cv_results_["mean_test_score"]]}))
"""
    )
    top = {run.params["class"]: run for run in store.runs("parent_id is null")}
    assert set(top) == {"Pipeline", "GridSearchCV"}
    assert top["Pipeline"].params["logisticregression__C"] == 0.5
    assert top["Pipeline"].metrics["train/score"].last == answer["score"]
    search = top["GridSearchCV"]
    assert search.params["best/C"] == answer["best_c"]
    assert search.metrics["best_score"].last == answer["best"]
    children = {run.params["C"]: run for run in store.runs("parent_id is not null")}
    means = [children[c].metrics["mean_test_score"].last for c in (0.1, 1.0, 10.0)]
    assert means == answer["means"]
    assert all("std_test_score" in child.metrics for child in children.values())
    assert {run.status.value for run in store.runs()} == {"COMPLETED"}


def test_sklearn_fails_and_joins(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        SKLEARN
        + """
autolog()
with runbase.start_run("mine") as run:
    LogisticRegression(max_iter=200).fit(x, y)
    assert not run.finished
try:
    SVC(C=-1).fit(x, y)
except ValueError:
    pass
""",
        RUNBASE_EXPERIMENT="bad",
    )
    (mine,) = store.runs(experiment="mine")
    assert mine.status.value == "COMPLETED"
    assert mine.params["class"] == "LogisticRegression"
    (bad,) = store.runs(experiment="bad")
    assert bad.status.value == "FAILED"
    assert bad.error is not None
    assert "'C' parameter of SVC" in bad.error["message"]


HYDRA = """
import os, sys, hydra, runbase
from omegaconf import OmegaConf
os.makedirs("conf", exist_ok=True)
open("conf/config.yaml", "w").write('''
lr: 0.5
net: {width: 8, name: "net-${lr}"}
fails: false
hydra:
  job: {name: digits}
  callbacks:
    runbase: {_target_: runbase.integrations.hydra.RunbaseCallback, tags: [auto]}
''')
@hydra.main(version_base=None, config_path=os.path.abspath("conf"), config_name="config")
def main(config):
    for step in range(3):
        runbase.log({"loss": config.lr / (step + 1)}, step=step)
    if config.fails: raise ValueError("bad settings")
    return config.lr
main()
"""


def test_hydra_job(run_script: RunScript, store: runbase.Store) -> None:
    run_script("import sys; sys.argv += ['lr=0.25', '+extra.deep=1']\n" + HYDRA)
    (run,) = store.runs()
    assert (run.experiment, run.status.value) == ("digits", "COMPLETED")
    assert (run.params["lr"], run.params["net/width"], run.params["extra/deep"]) == (0.25, 8, 1)
    assert run.params["net/name"] == "net-0.25"
    assert not [key for key in run.params if key.startswith("hydra")]
    assert points(store, run, "loss") == [(0, 0.25), (1, 0.125), (2, 0.25 / 3)]
    assert run.metrics["result"].last == 0.25
    assert "auto" in run.tags
    assert {a.path for a in store.run(run.id).artifacts} == {
        "hydra/config.yaml",
        "hydra/overrides.yaml",
    }


def test_hydra_multirun_and_failure(run_script: RunScript, store: runbase.Store) -> None:
    run_script("import sys; sys.argv += ['-m', 'lr=0.25,0.5']\n" + HYDRA)
    (parent,) = store.runs("parent_id is null")
    jobs = store.runs("parent_id is not null")
    assert {run.params["lr"] for run in jobs} == {0.25, 0.5}
    assert {run.parent_id for run in jobs} == {parent.id}
    assert {run.status.value for run in [parent, *jobs]} == {"COMPLETED"}
    run_script("import sys; sys.argv += ['fails=true']\n" + HYDRA, fails=True)
    (failed,) = store.runs("status = 'FAILED'")
    assert failed.error is not None
    assert (failed.error["type"], failed.error["message"]) == ("ValueError", "bad settings")


def test_ray_tune(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        """
import ray
from ray import tune
from runbase.integrations.ray import RunbaseLoggerCallback

def objective(config):
    for step in range(3):
        tune.report({"loss": config["lr"] / (step + 1), "nested": {"a": step}})
    if config["lr"] > 0.4:
        raise ValueError("too fast")

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
tune.Tuner(objective, param_space={"lr": tune.grid_search([0.125, 0.25, 0.5]), "net": {"width": 8}},
    run_config=tune.RunConfig(callbacks=[RunbaseLoggerCallback("tuned", tags=["ray"])], verbose=0)).fit()
""",
        RAY_USAGE_STATS_ENABLED="0",
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
    )
    (parent,) = store.runs("parent_id is null")
    trials = {run.params["lr"]: run for run in store.runs("parent_id is not null")}
    assert set(trials) == {0.125, 0.25, 0.5}
    assert {run.parent_id for run in trials.values()} == {parent.id}
    assert parent.status.value == "COMPLETED"
    for lr, run in trials.items():
        assert points(store, run, "loss") == [
            (n + 1, pytest.approx(lr / (n + 1))) for n in range(3)
        ]
        assert points(store, run, "nested/a") == [(1, 0), (2, 1), (3, 2)]
        assert run.params["net/width"] == 8
    assert {trials[lr].status.value for lr in (0.125, 0.25)} == {"COMPLETED"}
    failed = trials[0.5]
    assert failed.status.value == "FAILED"
    assert failed.error is not None
    assert "ValueError: too fast" in failed.error["message"]
    assert "\x1b" not in json.dumps(failed.error)


def test_optuna_callback(run_script: RunScript, store: runbase.Store) -> None:
    answer = run_script(
        """
import json, optuna, time
from runbase.integrations.optuna import RunbaseCallback
optuna.logging.set_verbosity(optuna.logging.ERROR)
def objective(trial):
    x = trial.suggest_float("x", -1, 1)
    trial.set_user_attr("host", "here")
    for step in range(4):
        trial.report(x * step, step)
        if trial.number == 1 and step == 2: raise optuna.TrialPruned()
    if trial.number == 2: raise ValueError("bad")
    time.sleep(0.3)
    return x * x
study = optuna.create_study(study_name="bowl", sampler=optuna.samplers.RandomSampler(0))
study.optimize(objective, n_trials=4, callbacks=[RunbaseCallback(metric="loss")], catch=(ValueError,))
print(json.dumps({"values": {t.number: t.value for t in study.trials}}))
"""
    )
    runs = {run.name: run for run in store.runs(experiment="bowl")}
    assert [runs[f"bowl-{n}"].status.value for n in range(4)] == [
        "COMPLETED",
        "PRUNED",
        "FAILED",
        "COMPLETED",
    ]
    assert runs["bowl-0"].metrics["loss"].last == answer["values"]["0"]
    assert runs["bowl-1"].metrics["intermediate"].count == 3
    assert runs["bowl-0"].tags["host"] == "here"
    took = runs["bowl-0"].seconds
    assert took is not None
    assert took >= 0.3  # its real time, not that of the callback
    best = store.best("bowl")
    assert best.id in {runs["bowl-0"].id, runs["bowl-3"].id}


def test_stable_baselines3(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        """
from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure
from runbase.integrations.stable_baselines3 import RunbaseCallback
model = PPO("MlpPolicy", "CartPole-v1", n_steps=64, batch_size=32, n_epochs=1, seed=0, device="cpu")
model.set_logger(configure("csv", ["csv"]))
model.learn(256, callback=RunbaseCallback("cart"))
"""
    )
    import csv

    (run,) = store.runs()
    assert run.status.value == "COMPLETED"
    assert (run.params["algorithm"], run.params["n_steps"]) == ("PPO", 64)
    with open("csv/progress.csv") as file:
        rows = list(csv.DictReader(file))
    for key in ("rollout/ep_rew_mean", "train/loss"):
        wanted = [(int(row["time/total_timesteps"]), float(row[key])) for row in rows if row[key]]
        assert wanted
        assert points(store, run, key) == [(s, pytest.approx(v)) for s, v in wanted], key


def test_logging_handler(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        """
import logging, runbase
from runbase.integrations.logging import Handler
logging.getLogger().addHandler(Handler())
log = logging.getLogger("training")
log.warning("before any run")
with runbase.start_run("logs") as run:
    run.log({"loss": 1.0}, step=7)
    log.info("not kept")
    log.warning("rate is %s", 0.5)
    log.error("oh")
"""
    )
    (run,) = store.runs()
    found = [(record["key"], record["step"], record["value"]) for record in store.records(run.id)]
    assert sorted(found) == [("logging/error", 7, "oh"), ("logging/warning", 7, "rate is 0.5")]
