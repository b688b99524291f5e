"""`RunbaseCallback` for CatBoost. The interface is that of the objects in the argument `callbacks` of `fit`, on a CPU."""

from typing import Any, Unpack

from runbase.integrations.held import HeldRun, Holder, RunArguments


class RunbaseCallback(Holder):
    """Logs each round of each evaluation of CatBoost into a run: `learn/Logloss`, `validation/AUC`.

    CatBoost tells callbacks neither its parameters nor its end: pass the parameters as `params`, and use the callback as
    a context manager or call `finish`; otherwise the end of the process ends the run. The next training is another run.

    Args:
        experiment: the experiment. Default: the run that you have started, else that of `start_run`.
        options: `name`, `params`, `tags`, `run_id`, `run` and others; see `held.RunArguments`.
    """

    def __init__(
        self,
        experiment: str | None = None,
        **options: Unpack[RunArguments],
    ) -> None:
        self._last = 0
        self.held = HeldRun(experiment, **options)

    def after_iteration(self, info: Any) -> bool:
        """Log the figures of a round; CatBoost counts rounds from 1, steps begin with 0."""
        if info.iteration <= self._last:  # another training
            self.held.renew()
        self._last = info.iteration
        figures = {
            f"{data}/{metric}": values[-1]
            for data, metrics in info.metrics.items()
            for metric, values in metrics.items()
        }
        self.held.log(figures, info.iteration - 1)
        return True
