"""`RunbaseCallback` for studies whose storage is not runbase's: a finished trial becomes a run."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from runbase.ids import derived_id
from runbase.ingest.foreign import ImportedRun
from runbase.ingest.imports import ImportReport, import_runs
from runbase.integrations.held import numbers
from runbase.status import Status
from runbase.store.store import open as open_store
from runbase.values import as_params, as_tags

ENDS = {
    TrialState.COMPLETE: Status.COMPLETED,
    TrialState.PRUNED: Status.PRUNED,
    TrialState.FAIL: Status.FAILED,
}


class RunbaseCallback:
    """Stores each finished trial of a study as a run: parameters, values, intermediate values, its real times, PRUNED or FAILED.

    Pass it in `callbacks` of `study.optimize`. Optuna calls no callback for a trial whose exception is not in `catch`. With
    `RunbaseStorage` the trials are runs already.

    Args:
        experiment: the experiment. Default: the name of the study.
        metric: the names of the values. Default: those that `study.set_metric_names` set, else `value`.
        params: further parameters of each run.
        tags: plain tags, or a mapping of tag to value.
        options: arguments of `runbase.open`, such as `home`.
    """

    def __init__(
        self,
        experiment: str | None = None,
        *,
        metric: str | list[str] | None = None,
        params: Mapping[str, object] | None = None,
        tags: Any = None,
        **options: Any,
    ) -> None:
        self._experiment = experiment
        self._metric = [metric] if isinstance(metric, str) else metric
        self._params = as_params(params or {})
        self._tags = as_tags(tags)
        self._options = options
        self._known: set[str] = set()

    def __call__(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """Store a finished trial; warn instead of an error, so that the study goes on."""
        status = ENDS.get(trial.state)
        if status is None or trial.datetime_start is None:
            return
        directions = [direction.name.lower()[:3] for direction in study.directions]
        names = self._metric or study.metric_names or _names(len(directions))
        experiment = self._experiment or study.study_name
        with open_store(**self._options) as store:
            if experiment not in self._known:
                objectives = dict(zip(names, directions, strict=True))
                store.create_experiment(
                    experiment, objectives=objectives, method="optuna", exist_ok=True
                )
                self._known.add(experiment)
            run = self._run(study, trial, status, names, experiment)
            import_runs(
                store.storage, [run], ImportReport(source=study.study_name, system="optuna")
            )

    def _run(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        status: Status,
        names: list[str],
        experiment: str,
    ) -> ImportedRun:
        started = 0.0 if trial.datetime_start is None else trial.datetime_start.timestamp()
        ended = started if trial.datetime_complete is None else trial.datetime_complete.timestamp()
        values = trial.values if trial.state is TrialState.COMPLETE else None
        last = max(trial.intermediate_values, default=0)
        metrics: dict[str, list[tuple[float, int | float, float]]] = {
            name: [(ended, last, value)] for name, value in zip(names, values or [], strict=False)
        }
        if trial.intermediate_values:
            metrics["intermediate"] = [
                (started, step, value) for step, value in sorted(trial.intermediate_values.items())
            ]
        metrics |= {
            key: [(ended, last, float(value))] for key, value in numbers(trial.user_attrs).items()
        }
        texts = {
            key: None if value is None else str(value) for key, value in trial.user_attrs.items()
        }
        plain = {key: text for key, text in texts.items() if key not in metrics}
        return ImportedRun(
            id=derived_id("optuna", f"{study.study_name}\0{trial.number}\0{started}"),
            name=f"{study.study_name}-{trial.number}",
            experiment=experiment,
            status=status,
            source_status=trial.state.name,
            started=started,
            ended=ended,
            params={**self._params, **as_params(trial.params)},
            tags={**self._tags, **plain},
            metrics=metrics,
        )


def _names(number: int) -> list[str]:
    return ["value"] if number == 1 else [f"value_{place}" for place in range(number)]
