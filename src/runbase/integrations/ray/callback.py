"""`RunbaseLoggerCallback` for Ray Tune. The interface is that of `ray.tune.logger.LoggerCallback` 2.x."""

# pyright: basic, reportMissingImports=false

import hashlib
from pathlib import Path
from typing import Any, Unpack

from ray.tune.logger import LoggerCallback

from runbase.integrations.held import (
    HeldRun,
    Holder,
    RunArguments,
    check_log_model,
    numbers,
    shared,
)
from runbase.integrations.ray.terms import OWN, error_text


class RunbaseLoggerCallback(LoggerCallback, Holder):
    """Logs each trial of Tune into a run: its configuration, its results, its exception. The trials are children of one run.

    Pass it in ``tune.RunConfig(callbacks=[RunbaseLoggerCallback("digits")])``. A trial that Tune restores continues its run.

    Args:
        experiment: the experiment. Default: that of `start_run`.
        log_model: log the last checkpoint of each trial (True), or all (``"all"``).
        options: `name`, `params`, `tags`, `run_id`, `run` and others; see `held.RunArguments`.
    """

    def __init__(
        self,
        experiment: str | None = None,
        *,
        log_model: bool | str = False,
        **options: Unpack[RunArguments],
    ) -> None:
        self._log_model = check_log_model(log_model)
        self._options = shared(options)
        self._trials: dict[str, HeldRun] = {}
        # The output of trials is not that of this process, so it is not captured.
        options.setdefault("capture", ["git", "command", "packages", "host", "env"])
        self.held = HeldRun(experiment, **options)

    def log_trial_start(self, trial: Any) -> None:
        """Begin the run of a trial, or continue it."""
        if trial.trial_id in self._trials:
            return
        parent = self.held.run
        place = f"{trial.local_experiment_path}\0{trial.trial_id}"
        held = HeldRun(
            parent.experiment,
            name=str(trial),
            run_id=hashlib.sha256(place.encode()).hexdigest()[:32],
            **{**self._options, "params": trial.config, "parent": parent, "capture": False},
        )
        held.run.tag(trial=trial.trial_id)
        self._trials[trial.trial_id] = held

    def log_trial_result(self, iteration: int, trial: Any, result: dict[str, Any]) -> None:
        """Log the numbers of a result at its iteration."""
        self.log_trial_start(trial)
        held = self._trials[trial.trial_id]
        held.log(
            {k: v for k, v in result.items() if k not in OWN},
            result.get("training_iteration", iteration),
        )

    def log_trial_save(self, trial: Any) -> None:
        """Log a checkpoint, if each one is wanted."""
        if self._log_model == "all":
            self._save(trial)

    def _save(self, trial: Any) -> None:
        checkpoint, held = trial.checkpoint, self._trials.get(trial.trial_id)
        if checkpoint is not None and held is not None and Path(checkpoint.path).is_dir():
            metric = getattr(trial, "metric", None) or ""
            scores = numbers({metric: (trial.last_result or {}).get(metric)})
            held.log_saved_model(
                checkpoint.path, (trial.last_result or {}).get("training_iteration"), scores=scores
            )

    def log_trial_end(self, trial: Any, failed: bool = False) -> None:
        """End the run of a trial."""
        held = self._trials.pop(trial.trial_id, None)
        if held is None:
            return
        if failed:
            held.run.finish("FAILED", error=_error_of(trial))
            return
        if self._log_model is True:
            self._trials[trial.trial_id] = held
            self._save(trial)
            del self._trials[trial.trial_id]
        held.finish()

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """End the parent run."""
        self.held.finish()


def _error_of(trial: Any) -> str:
    """Return what Tune wrote about the exception of a trial, without colours."""
    try:
        return error_text(Path(trial.error_file))
    except (OSError, TypeError):
        return "the trial failed"
