"""`RunbaseCallback` for CatBoost. The interface is that of the objects in the argument `callbacks` of `fit`, on a CPU."""

from collections.abc import Mapping
from typing import Any

from runbase.integrations.held import HeldRun, Holder
from runbase.run.run import Run


class RunbaseCallback(Holder):
    """Logs each round of each evaluation of CatBoost into a run: `learn/Logloss`, `validation/AUC`.

    CatBoost tells callbacks neither its parameters nor its end: pass the parameters as `params`, and use the callback as
    a context manager or call `finish`; otherwise the end of the process ends the run. The next training is another run.

    Args:
        experiment: the experiment. Default: the run that you have started, else that of `start_run`.
        name: the display name of the run.
        params: the parameters.
        tags: plain tags, or a mapping of tag to value.
        run_id: the id of a run to continue.
        run: an open run of yours, which the callback never ends.
        options: further arguments of `start_run`.
    """

    def __init__(
        self,
        experiment: str | None = None,
        *,
        name: str | None = None,
        params: Mapping[str, object] | None = None,
        tags: Any = None,
        run_id: str | None = None,
        run: Run | None = None,
        **options: Any,
    ) -> None:
        self._last = 0
        self.held = HeldRun(
            experiment, name=name, params=params, tags=tags, run_id=run_id, run=run, **options
        )

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
