"""`RunbaseCallback` for transformers' Trainer; importing this module also makes ``report_to="runbase"`` work.

The interface is that of `transformers.TrainerCallback` 5.x. The names of metrics are those of its own loggers: `train/loss`,
`eval/loss`. The end of a training does not end the run, because `evaluate` may follow; the end of the process does.
"""

# pyright: basic, reportMissingImports=false

from pathlib import Path
from typing import Any, Unpack

from transformers import TrainerCallback
from transformers.integrations import integration_utils

from runbase.integrations.held import HeldRun, Holder, RunArguments, check_log_model, shared
from runbase.integrations.trainer_state.names import spelt


class RunbaseCallback(TrainerCallback, Holder):
    """Logs what a Trainer logs into a run: the loss and evaluations, its arguments, the model's configuration, checkpoints.

    Only the main process logs. Each trial of a hyperparameter search is a run, and a child of a run for the search.

    Args:
        experiment: the experiment. Default: the run that you have started, else that of `start_run` (RUNBASE_EXPERIMENT).
        log_model: log the best and the last checkpoint at the end (True), or each one that is saved (``"all"``).
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
        self._experiment = experiment
        self._labels = shared(options)
        self.held = HeldRun(experiment, **options)
        self._search: HeldRun | None = None
        self._described = False

    def on_train_begin(
        self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any
    ) -> None:
        """Begin the run, or that of the next trial."""
        if not state.is_world_process_zero:
            return
        if state.is_hyper_param_search:
            self._begin_trial(state)
        self._describe(args, state, model)

    def _begin_trial(self, state: Any) -> None:
        if self._search is None:
            self._search = self.held
            if self._search.name is None:
                self._search.run.tag("search")
        elif self.held is not self._search:
            self.held.finish()
        self.held = HeldRun(
            self._search.run.experiment,
            name=state.trial_name,
            **{**self._labels, "parent": self._search.run},
        )
        self.held.log_params(state.trial_params or {})
        self._described = False

    def _describe(self, args: Any, state: Any, model: Any) -> None:
        if self._described:
            return
        self._described = True
        if self.held.name is None and not self.held.is_open and getattr(args, "run_name", None):
            self.held.rename(args.run_name)
        config = getattr(model, "config", None)
        params: dict[str, Any] = {} if config is None else config.to_dict()
        params |= args.to_sanitized_dict()
        if model is not None:
            params["num_parameters"] = sum(part.numel() for part in model.parameters())
            params["num_trainable_parameters"] = sum(
                part.numel() for part in model.parameters() if part.requires_grad
            )
        self.held.log_params(params)

    def on_log(
        self,
        args: Any,
        state: Any,
        control: Any,
        logs: Any = None,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        """Log the figures of a step, or of an evaluation."""
        if state.is_world_process_zero and logs:
            self._describe(args, state, model)
            share = state.global_step / state.max_steps if state.max_steps > 0 else None
            self.held.log(spelt(logs), state.global_step, progress=share)

    def on_predict(self, args: Any, state: Any, control: Any, metrics: Any, **kwargs: Any) -> None:
        """Log the figures of a prediction."""
        if state.is_world_process_zero:
            self.held.log(spelt(metrics), state.global_step)

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log a checkpoint that was saved."""
        if state.is_world_process_zero and self._log_model == "all":
            self._save(args, state, Path(args.output_dir) / f"checkpoint-{state.global_step}")

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log the best and the last checkpoint. The run goes on: an evaluation may follow."""
        if not state.is_world_process_zero:
            return
        if self._log_model is True:
            folders = Path(args.output_dir).glob("checkpoint-*")
            last = max(folders, key=_step_of, default=None)
            for path in dict.fromkeys([last, state.best_model_checkpoint]):
                if path is not None:
                    self._save(args, state, Path(path))
        self.held.flush()

    def _save(self, args: Any, state: Any, path: Path) -> None:
        metric, step = args.metric_for_best_model, _step_of(path)
        scores: dict[str, Any] = {}
        if metric is not None:
            key = metric if metric.startswith("eval_") else f"eval_{metric}"
            found = [
                row[key] for row in state.log_history if row.get("step") == step and key in row
            ]
            scores = spelt({key: found[-1]}) if found else {}
        direction = "max" if args.greater_is_better else "min"
        self.held.log_saved_model(path, step, scores=scores, direction=direction)


def _step_of(path: Path) -> int:
    text = path.name.rpartition("-")[2]
    return int(text) if text.isdecimal() else -1


integration_utils.INTEGRATION_TO_CALLBACK["runbase"] = RunbaseCallback
