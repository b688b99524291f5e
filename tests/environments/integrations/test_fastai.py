"""fastai with its `RunbaseCallback`: what its recorder has, the store must have."""

import pytest

import runbase
from tests.environments.integrations.conftest import RunScript, points

LEARNER = """
import json, torch
from fastai.basics import DataLoaders, Learner, mae
from torch.utils.data import DataLoader, TensorDataset
from runbase.integrations.fastai import RunbaseCallback
torch.manual_seed(0)
x = torch.randn(64, 4)
data = DataLoader(TensorDataset(x, x[:, :1] * 2), batch_size=16)
def learner(*callbacks):
    return Learner(DataLoaders(data, data), torch.nn.Linear(4, 1), torch.nn.functional.mse_loss, metrics=[mae],
        cbs=list(callbacks))
"""


def test_two_fits_are_one_run(run_script: RunScript, store: runbase.Store) -> None:
    answer = run_script(
        LEARNER
        + """
with RunbaseCallback("fast", name="line", tags=["a"], log_model=True) as callback:
    one = learner(callback)
    one.fit(2, 0.125)
    first = list(one.recorder.values)
    one.fit(1, 0.25)
    losses = [float(loss) for loss in one.recorder.losses]
    one.get_preds(dl=one.dls.valid)
    print(json.dumps({"values": [list(row) for row in first], "losses": losses}))
"""
    )
    (run,) = store.runs()
    assert (run.name, run.experiment, run.status.value) == ("line", "fast", "COMPLETED")
    assert (run.params["batch_size"], run.params["model"]) == (16, "Linear")
    assert run.params["lr_0"] == 0.25
    assert [step for step, _ in points(store, run, "raw_loss")] == list(range(1, 13))
    assert [value for _, value in points(store, run, "train_loss")][8:] == pytest.approx(
        answer["losses"]
    )
    assert [step for step, _ in points(store, run, "valid_loss")] == [4, 8, 12]
    maes = [value for _, value in points(store, run, "mae")]
    assert maes[:2] == pytest.approx([row[-1] for row in answer["values"]])
    assert [a.path for a in store.run(run.id).artifacts] == ["model.pth"]


def test_an_exception_fails_the_run(run_script: RunScript, store: runbase.Store) -> None:
    run_script(
        LEARNER
        + """
from fastai.callback.core import Callback
class Bad(Callback):
    def before_batch(self):
        if self.training and self.train_iter == 2: raise ValueError("a damaged row")
learner(RunbaseCallback("fast"), Bad()).fit(1, 0.1)
""",
        fails=True,
    )
    (run,) = store.runs()
    assert run.status.value == "FAILED"
    assert run.error is not None
    assert "a damaged row" in run.error["message"]  # fastai adds the event
    assert run.metrics["raw_loss"].count == 2
