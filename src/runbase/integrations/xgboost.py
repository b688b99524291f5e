"""`RunbaseCallback` for XGBoost. The interface is that of `xgboost.callback.TrainingCallback` 2 and 3."""

# pyright: basic, reportMissingImports=false

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

from xgboost import collective
from xgboost.callback import TrainingCallback

from runbase.integrations.held import HeldRun, Holder, RunArguments, check_log_model


class RunbaseCallback(TrainingCallback, Holder):
    """Logs each round of each evaluation of XGBoost into a run: `train/logloss`; of a cross-validation the mean and the spread.

    The end of a training ends the run; the next training with this callback is another run. Of distributed trainings only
    rank zero logs.

    Args:
        experiment: the experiment. Default: the run that you have started, else that of `start_run`.
        log_model: log the model at the end.
        options: `name`, `params`, `tags`, `run_id`, `run` and others; see `held.RunArguments`.
    """

    def __init__(
        self,
        experiment: str | None = None,
        *,
        log_model: bool | str = False,
        **options: Unpack[RunArguments],
    ) -> None:
        super().__init__()
        self._log_model = check_log_model(log_model)
        self._trained = False
        self.held = HeldRun(experiment, **options)

    def before_training(self, model: Any) -> Any:
        """Begin the run."""
        if collective.get_rank() == 0:
            if self._trained:
                self.held.renew()
            elif self.held.mine and self.held.is_open:
                self.held.finish("the training did not end")
                self.held.renew()
            self._trained = False
            self.held.log_params(_parameters(model))
        return model

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Log the figures of a round."""
        if collective.get_rank() == 0:
            self.held.log(dict(_latest(evals_log)), epoch)
        return False

    def after_training(self, model: Any) -> Any:
        """Log the best round and the model, and end the run."""
        if collective.get_rank() == 0:
            self._log_end(model)
            self._trained = True
            self.held.finish()
        return model

    def _log_end(self, model: Any) -> None:
        if not hasattr(model, "save_model"):
            return  # a cross-validation
        best = model.attr("best_iteration")
        if best is not None:
            self.held.log(
                {"best_iteration": int(best), "best_score": float(model.attr("best_score"))},
                int(best),
            )
        if self._log_model:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "model.ubj"
                model.save_model(path)
                self.held.run.log_artifact(path, kind="model")


def _latest(evals_log: Mapping[str, Mapping[str, Any]]) -> Any:
    for data, metrics in evals_log.items():
        for metric, values in metrics.items():
            value = values[-1]
            if isinstance(value, tuple):  # of a cross-validation
                yield f"{data}/{metric}/mean", value[0]
                yield f"{data}/{metric}/std", value[1]
            else:
                yield f"{data}/{metric}", value


def _parameters(model: Any) -> dict[str, Any]:
    """Return the parameters of a booster, flat: its configuration, in which all values are text."""
    boosters = (
        [model] if hasattr(model, "save_config") else [fold.bst for fold in model.cvfolds[:1]]
    )
    found: dict[str, Any] = {}
    for booster in boosters:
        _collect(json.loads(booster.save_config())["learner"], found)
    return found


def _collect(node: Any, found: dict[str, Any]) -> None:
    for key, value in node.items() if isinstance(node, dict) else ():
        if isinstance(value, dict):
            _collect(value, found)
        elif isinstance(value, str) and key not in ("version",):
            found.setdefault(key, _typed(value))


def _typed(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
