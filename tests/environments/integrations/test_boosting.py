"""XGBoost, LightGBM and CatBoost with their `RunbaseCallback`: what the library returns, the store must have."""

from typing import Any

import pytest

import runbase
from tests.environments.integrations.conftest import RunScript, points

DATA = """
import json, numpy as np, runbase
dice = np.random.default_rng(0)
x = dice.normal(size=(200, 4)); y = (x[:, 0] + 0.3 * dice.normal(size=200) > 0).astype(int)
"""
XGBOOST = (
    DATA
    + """
import xgboost
from runbase.integrations.xgboost import RunbaseCallback
train, val = xgboost.DMatrix(x[:150], label=y[:150]), xgboost.DMatrix(x[150:], label=y[150:])
settings = {"max_depth": 3, "eta": 0.5, "objective": "binary:logistic", "eval_metric": "logloss"}
"""
)
LIGHTGBM = (
    DATA
    + """
import lightgbm
from runbase.integrations.lightgbm import RunbaseCallback
train = lightgbm.Dataset(x[:150], y[:150]); val = train.create_valid(x[150:], y[150:])
settings = {"objective": "binary", "num_leaves": 7, "learning_rate": 0.5, "verbose": -1}
"""
)


def curve(store: runbase.Store, run: Any, key: str) -> list[float]:
    found = points(store, run, key)
    assert [step for step, _ in found] == list(range(len(found)))
    return [value for _, value in found]


def test_xgboost_with_early_stopping(run_script: RunScript, store: runbase.Store) -> None:
    answer = run_script(
        XGBOOST
        + """
result = {}
callback = RunbaseCallback("trees", name="boosted", log_model=True, tags={"team": "trees"})
model = xgboost.train(settings, train, num_boost_round=200, evals=[(train, "train"), (val, "val")],
    evals_result=result, verbose_eval=False, early_stopping_rounds=5, callbacks=[callback])
print(json.dumps({**result, "best": model.best_iteration}))
"""
    )
    (run,) = store.runs()
    assert (run.name, run.status.value, run.tags["team"]) == ("boosted", "COMPLETED", "trees")
    assert (run.params["max_depth"], run.params["eta"]) == (3, 0.5)
    assert run.params["objective"] == "binary:logistic"
    for data in ("train", "val"):
        assert curve(store, run, f"{data}/logloss") == pytest.approx(answer[data]["logloss"])
    assert len(answer["val"]["logloss"]) < 200
    assert run.metrics["best_iteration"].last == answer["best"]
    assert [(a.path, a.kind) for a in store.run(run.id).artifacts] == [("model.ubj", "model")]


def test_xgboost_twice_and_cross_validation(run_script: RunScript, store: runbase.Store) -> None:
    answer = run_script(
        XGBOOST
        + """
callback = RunbaseCallback("trees")
for depth in (2, 3):
    xgboost.train(settings | {"max_depth": depth}, train, num_boost_round=4, evals=[(train, "train")],
        verbose_eval=False, callbacks=[callback])
table = xgboost.cv(settings, train, num_boost_round=4, nfold=3, as_pandas=False,
    callbacks=[RunbaseCallback("folds")])
classifier = xgboost.XGBClassifier(n_estimators=3, callbacks=[RunbaseCallback("sklearn")])
classifier.fit(x, y, eval_set=[(x, y)], verbose=False)
print(json.dumps(table))
"""
    )
    assert sorted(run.params["max_depth"] for run in store.runs(experiment="trees")) == [2, 3]
    (folds,) = store.runs(experiment="folds")
    assert curve(store, folds, "test/logloss/mean") == pytest.approx(answer["test-logloss-mean"])
    assert curve(store, folds, "test/logloss/std") == pytest.approx(answer["test-logloss-std"])
    (classifier,) = store.runs(experiment="sklearn")
    assert len(curve(store, classifier, "validation_0/logloss")) == 3


def test_xgboost_fails(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        XGBOOST
        + """
def broken(predictions, data): raise ValueError("no such metric")
xgboost.train(settings, train, num_boost_round=4, evals=[(train, "train")], custom_metric=broken,
    callbacks=[RunbaseCallback("trees")])
""",
        fails=True,
    )
    (run,) = store.runs()
    assert run.status.value == "FAILED"
    assert run.error is not None
    assert run.error["message"] == "no such metric"


def test_lightgbm_with_early_stopping(run_script: RunScript, store: runbase.Store) -> None:
    answer = run_script(
        LIGHTGBM
        + """
result = {}
with RunbaseCallback("trees", log_model=True) as callback:
    model = lightgbm.train(settings, train, 200, valid_sets=[train, val], valid_names=["train", "val"],
        callbacks=[callback, lightgbm.early_stopping(5, verbose=False), lightgbm.record_evaluation(result)])
print(json.dumps({**result, "best": model.best_iteration}))
"""
    )
    (run,) = store.runs()
    assert run.status.value == "COMPLETED"
    assert (run.params["num_leaves"], run.params["learning_rate"]) == (7, 0.5)
    for data in ("train", "val"):
        assert curve(store, run, f"{data}/binary_logloss") == answer[data]["binary_logloss"]
    assert len(answer["val"]["binary_logloss"]) == answer["best"] + 5  # the last round is there
    assert [a.path for a in store.run(run.id).artifacts] == ["model.txt"]


def test_lightgbm_cross_validation_and_classifier(
    run_script: RunScript, store: runbase.Store
) -> None:
    answer = run_script(
        LIGHTGBM
        + """
table = lightgbm.cv(settings, train, 4, nfold=3, callbacks=[RunbaseCallback("folds")])
lightgbm.LGBMClassifier(n_estimators=3, verbose=-1).fit(x[:150], y[:150], eval_set=[(x[150:], y[150:])], callbacks=[RunbaseCallback("sklearn")])
print(json.dumps({key: [float(v) for v in values] for key, values in table.items()}))
"""
    )
    (folds,) = store.runs(experiment="folds")
    key = "valid/binary_logloss"
    assert curve(store, folds, f"{key}/mean") == answer["valid binary_logloss-mean"]
    assert curve(store, folds, f"{key}/std") == answer["valid binary_logloss-stdv"]
    assert folds.status.value == "COMPLETED"
    (classifier,) = store.runs(experiment="sklearn")
    assert classifier.metrics["valid_0/binary_logloss"].count == 3


def test_catboost(run_script: RunScript, store: runbase.Store) -> None:
    answer = run_script(
        DATA
        + """
import catboost
from runbase.integrations.catboost import RunbaseCallback
settings = {"iterations": 20, "depth": 3}
with RunbaseCallback("trees", params=settings) as callback:
    model = catboost.CatBoostClassifier(**settings, allow_writing_files=False)
    model.fit(x[:150], y[:150], eval_set=(x[150:], y[150:]), verbose=False, callbacks=[callback])
print(json.dumps({name: [float(v) for v in metric["Logloss"]] for name, metric in model.get_evals_result().items()}))
"""
    )
    (run,) = store.runs()
    assert (run.status.value, run.params["depth"]) == ("COMPLETED", 3)
    for data in ("learn", "validation"):
        assert curve(store, run, f"{data}/Logloss") == pytest.approx(answer[data])
