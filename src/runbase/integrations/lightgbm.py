"""`RunbaseCallback` for LightGBM. The interface is that of the functions in the argument `callbacks` of `lightgbm.train`."""

# pyright: basic, reportMissingImports=false

import tempfile
from pathlib import Path
from typing import Any, Unpack

from runbase.integrations.held import HeldRun, Holder, RunArguments, check_log_model


class RunbaseCallback(Holder):
    """Logs each round of each evaluation of LightGBM into a run: `valid_0/binary_logloss`; of a cross-validation the mean and the spread.

    The last round ends the run. LightGBM does not tell callbacks that it stopped early: use the callback as a context
    manager then, or call `finish`; otherwise the end of the process ends the run. The next training is another run.

    Args:
        experiment: the experiment. Default: the run that you have started, else that of `start_run`.
        log_model: log the model at the end of the run.
        options: `name`, `params`, `tags`, `run_id`, `run` and others; see `held.RunArguments`.
    """

    order = 5
    """Before early stopping (30), which ends a round by an exception."""
    before_iteration = False

    def __init__(
        self,
        experiment: str | None = None,
        *,
        log_model: bool | str = False,
        **options: Unpack[RunArguments],
    ) -> None:
        self._log_model = check_log_model(log_model)
        self._model: Any = None
        self._used = False
        self.held = HeldRun(experiment, **options)

    def __call__(self, env: Any) -> None:
        """Log the figures of a round."""
        if env.iteration == env.begin_iteration:
            if self._used:
                self.finish()
                self.held.renew()
            self._used = True
            self.held.log_params(env.params)
        self._model = env.model
        progress = (env.iteration + 1 - env.begin_iteration) / (
            env.end_iteration - env.begin_iteration
        )
        self.held.log(dict(_figures(env.evaluation_result_list)), env.iteration, progress=progress)
        if env.iteration == env.end_iteration - 1:
            self.finish()

    def finish(self, error: BaseException | str | None = None) -> None:
        """Log the best round and the model, and end the run, unless it is one that you started."""
        model, self._model = self._model, None
        if model is not None and self.held.is_open:
            best = getattr(model, "best_iteration", -1)
            if isinstance(best, int) and best > 0:
                self.held.log({"best_iteration": best}, best - 1)
            if self._log_model and error is None and hasattr(model, "save_model"):
                with tempfile.TemporaryDirectory() as folder:
                    path = Path(folder) / "model.txt"
                    model.save_model(str(path))
                    self.held.run.log_artifact(path, kind="model")
        super().finish(error)


def _figures(results: Any) -> Any:
    for result in results or ():
        data, metric, value = result[:3]
        if len(result) > 4:  # of a cross-validation, with the standard deviation
            name = metric.replace(" ", "/", 1) if data == "cv_agg" else f"{data}/{metric}"
            yield f"{name}/mean", value
            yield f"{name}/std", result[4]
        else:
            yield f"{data}/{metric}", value
