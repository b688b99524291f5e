"""Optuna's storage over a runbase store: studies are experiments, trials are runs.

    from runbase.integrations.optuna import RunbaseStorage

    study = optuna.create_study(study_name="digits", storage=RunbaseStorage())

Parameters are the runs' parameters, with their real values; objective values and intermediate values are
metrics (`value` or `value_0`, `value_1`, …; `intermediate_value` by step) once a trial has ended. Distributions
are in `params.suggested`, attributes in the tables `attributes` and `experiment_attributes`.

Finished trials never change, so each process reads them once; only new and running trials are read again.
"""

import json
from collections.abc import Callable, Container, Sequence
from copy import deepcopy as copied
from datetime import datetime
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    json_to_distribution,
)
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages._heartbeat import BaseHeartbeat
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

import runbase
from runbase.ids import name_for, new_id
from runbase.integrations.optuna.artifacts import RunbaseArtifactStore
from runbase.integrations.optuna.studies import Studies
from runbase.integrations.optuna.trials import (
    NUMBERS,
    STATES,
    Known,
    curve,
    epoch,
    final_values,
    frozen_trial,
    is_native,
    local,
    new_trial,
    scopes_of,
    suggestion,
    suggestions,
)
from runbase.storage.types import NewTrial


class RunbaseStorage(Studies, BaseHeartbeat):
    """A store as Optuna's storage. It is thread-safe, and can be pickled: the other process opens it again.

    Args:
        store: a store that is open, or a database URL or path; default: runbase's own settings.
        heartbeat_interval: seconds between signs of life of running trials; None: none are given.
        grace_period: seconds of silence after which a trial is stale; default: two intervals.
        heartbeat_stale_trial_callback: called with (study, trial) for each stale trial.
    """

    def __init__(
        self,
        store: "runbase.Store | str | None" = None,
        *,
        heartbeat_interval: int | None = None,
        grace_period: int | None = None,
        heartbeat_stale_trial_callback: "Callable[[Study, FrozenTrial], None] | None" = None,
    ) -> None:
        for name, value in (
            ("heartbeat_interval", heartbeat_interval),
            ("grace_period", grace_period),
        ):
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}; it is to be positive")
        self._interval, self._grace = heartbeat_interval, grace_period
        self._stale_callback = heartbeat_stale_trial_callback
        self._address = store if isinstance(store, str) or store is None else store.address
        self._store = store if isinstance(store, runbase.Store) else runbase.open(store, sync=False)
        self._studies: dict[int, Known] = {}
        self._writer = self._storage.trial_writer()

    # Trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """A run that runs, or is as the template says."""
        study = self._study(study_id)
        state = TrialState.RUNNING if template_trial is None else template_trial.state
        key, now = new_id(), datetime.now()
        new = NewTrial(
            id=key,
            name=name_for(key),
            params={} if template_trial is None else template_trial.params,
            suggested={} if template_trial is None else suggestions(template_trial),
            running=state is not TrialState.WAITING,
            started=epoch(now if template_trial is None else template_trial.datetime_start),
            retries=0,
            attributes={} if template_trial is None else scopes_of(template_trial),
        )
        if template_trial is None:
            number = self._writer.add_trial(study.experiment, new) - 1
            study.running[number] = new_trial(number, study_id << NUMBERS | number, now)
        else:
            number = self._storage.add_trial(study.experiment, new) - 1
        study.runs[number] = key
        if template_trial is not None and state.is_finished():
            self._close(key, template_trial)
        return study_id << NUMBERS | number

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """A parameter of the run; ValueError where the study has it with another distribution."""
        study, number, run = self._written(trial_id)
        before = self._distribution(study, param_name)
        if before is not None:
            check_distribution_compatibility(before, distribution)
        value = distribution.to_external_repr(param_value_internal)
        suggested = suggestion(distribution, param_value_internal)
        own = study.running.get(number)
        if own is not None:
            self._writer.set_param(run, param_name, value, suggested)
            own.distributions[param_name], own.params[param_name] = distribution, value
        elif not self._storage.set_param(run, param_name, value, suggested):
            raise self._ended(study, number)
        study.distributions.setdefault(param_name, distribution)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """Its state and values; False where it was to begin and does not wait any more."""
        study, number, run = self._written(trial_id)
        if state is TrialState.RUNNING:
            if self._storage.begin_trial(run):
                return True
            self._read(study, [number])
            if number in study.finished:
                raise self._ended(study, number)
            return False
        if state is TrialState.WAITING:
            self._storage.requeue_trial(run, "waits again")
            return True
        told = {} if values is None else {"value": {str(n): v for n, v in enumerate(values)}}
        own = study.running.pop(number, None)
        now = datetime.now().astimezone()
        if own is None:
            kept = self._storage.attributes("run", [run], "intermediate")[run]
            metrics = final_values(values) + curve({int(step): v for step, v in kept.items()})
            closed = self._storage.finish_trial(
                run, STATES[state], attributes=told, metrics=metrics, ended=now.timestamp()
            )
        else:
            closed = self._writer.finish_trial(
                run,
                STATES[state],
                params=own.params,
                attributes=told,
                metrics=final_values(values) + curve(own.intermediate_values),
                ended=now.timestamp(),
            )
        if not closed:
            raise self._ended(study, number)
        if own is not None:
            own.state, own.datetime_complete = state, local(now)
            own.values = None if values is None else list(values)
            study.ended[number] = own
        return True

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """A value on the way; one of the same step is replaced."""
        own = self._tell(trial_id, "intermediate", str(step), intermediate_value)
        if own is not None:
            own.intermediate_values[step] = intermediate_value

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set one."""
        own = self._tell(trial_id, "user", key, value)
        if own is not None:
            own.user_attrs = {**own.user_attrs, key: value}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set one."""
        own = self._tell(trial_id, "system", key, value)
        if own is not None:
            own.system_attrs = {**own.system_attrs, key: value}

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As it stands."""
        study, number, _ = self._trial(trial_id)
        found = study.finished.get(number) or study.ended.get(number)
        if found is not None:
            return found
        own = study.running.get(number)  # Optuna changes what it is given
        return copied(own) if own is not None else self._read(study, [number])[0]

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """By number; those that have ended are read once."""
        study = self._study(study_id)
        with study.guard:
            known = study.known
            new = {trial.number: trial for trial in self._read(study, after=known)}
            trials = [study.finished[n] for n in range(known + 1)]
            trials += [new[number] for number in sorted(new)]
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copied(trials) if deepcopy else trials

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """An id is made of both."""
        trial_id = study_id << NUMBERS | trial_number
        self._trial(trial_id)
        return trial_id

    def get_trial_number_from_id(self, trial_id: int) -> int:
        """The number within its id."""
        return self._trial(trial_id)[1]

    def get_trial_param(self, trial_id: int, param_name: str) -> float:
        """Its internal value."""
        trial = self.get_trial(trial_id)
        return trial.distributions[param_name].to_internal_repr(trial.params[param_name])

    def get_n_trials(
        self, study_id: int, state: tuple[TrialState, ...] | TrialState | None = None
    ) -> int:
        """How many there are, or are in some states."""
        states = (state,) if isinstance(state, TrialState) else state
        return len(self.get_all_trials(study_id, deepcopy=False, states=states))

    def remove_session(self) -> None:
        """Wait until the database has all that was said."""
        self._writer.flush()

    # Signs of life

    def record_heartbeat(self, trial_id: int) -> None:
        """Record a heartbeat, by the database's clock."""
        self._storage.heartbeat([self._trial(trial_id)[2]])

    def get_heartbeat_interval(self) -> int | None:
        """Seconds, or None."""
        return self._interval

    def get_heartbeat_stale_trial_callback(
        self,
    ) -> "Callable[[Study, FrozenTrial], None] | None":
        """As it was given."""
        return self._stale_callback

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        study = self._study(study_id)
        grace = self._grace if self._grace is not None else 2 * (self._interval or 30)
        silent = self._storage.stale_trials(study.experiment, grace)
        return [study_id << NUMBERS | number - 1 for number in silent]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        state["_address"] = self._store.address
        del state["_store"], state["_studies"], state["_writer"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._store = runbase.open(self._address, sync=False)
        self._studies = {}
        self._writer = self._storage.trial_writer()

    # How it is done

    @property
    def store(self) -> "runbase.Store":
        """The store below."""
        return self._store

    def _written(self, trial_id: int) -> tuple[Known, int, str]:
        """A trial's study, number and run, before something of it changes."""
        study, number, run = self._trial(trial_id)
        if run in self._writer.lost:  # it has ended by others' hands
            study.running.pop(number, None)
        if number in study.finished or number in study.ended:
            raise self._ended(study, number)
        return study, number, run

    def _trial(self, trial_id: int) -> tuple[Known, int, str]:
        """A trial's study, number and run."""
        study = self._study(trial_id >> NUMBERS)
        number = trial_id & (1 << NUMBERS) - 1
        run = study.runs.get(number)
        if run is None:
            rows = self._store.sql(
                "select id from runs where experiment_id = :experiment and number = :number "
                "and deleted_at is null",
                {"experiment": study.experiment, "number": number + 1},
            )
            if not rows:
                raise KeyError(f"there is no trial of id {trial_id}")
            run = study.runs.setdefault(number, rows[0][0])
        return study, number, run

    def _tell(self, trial_id: int, scope: str, key: str, value: Any) -> FrozenTrial | None:
        """Keep something about a trial; the trial, as this process has it, where it runs here."""
        study, number, run = self._written(trial_id)
        own = study.running.get(number)
        if own is not None:
            self._writer.set_attribute(run, scope, key, value)
        elif not self._storage.set_attribute(run, scope, key, value):
            raise self._ended(study, number)
        return own

    def _ended(self, study: Known, number: int) -> UpdateFinishedTrialError:
        return UpdateFinishedTrialError(
            f"trial {number} of {study.name!r} has ended, and does not change any more"
        )

    def _distribution(self, study: Known, name: str) -> BaseDistribution | None:
        """The distribution that a parameter has in the study."""
        found = study.distributions.get(name)
        if found is None:
            rows = self._store.sql(
                "select p.suggested from params p join runs r on r.id = p.run_id "
                "where r.experiment_id = :experiment and p.key = :key and p.suggested is not null "
                "order by r.number limit 1",
                {"experiment": study.experiment, "key": name},
            )
            if rows:
                found = json_to_distribution(json.loads(rows[0][0])["distribution"])
                study.distributions[name] = found
        return found

    def _close(self, run: str, template: FrozenTrial) -> None:
        """A template's end."""
        metrics = final_values(template.values) + curve(template.intermediate_values)
        status, ended = STATES[template.state], epoch(template.datetime_complete)
        self._storage.finish_trial(run, status, metrics=metrics, ended=ended)

    def _read(
        self, study: Known, numbers: Sequence[int] = (), *, after: int | None = None
    ) -> list[FrozenTrial]:
        """Trials from the database; those that have ended are kept."""
        behind = 2**31 - 1 if after is None else after + 1
        runs = [study.runs[number] for number in numbers]
        trials: list[FrozenTrial] = []
        found = self._writer.trial_updates(study.experiment, behind, runs)
        native = {each.id for each in found if is_native(each)}
        space = self._store.experiment(study.experiment).space if native else {}
        figures = self._figures(study, min(t.number for t in found) - 1) if native else {}
        for told in found:
            number = told.number - 1
            trial = study.finished.get(number)
            if trial is None:
                study.runs[number] = told.id
                trial = frozen_trial(study.number, told, space, figures.get(told.id))
                if trial.state.is_finished():
                    study.finished[number] = trial
                    study.ended.pop(number, None)
            trials.append(trial)
        return trials

    def _figures(self, study: Known, after: int) -> dict[str, list[float | None]]:
        """Run → the last values of the objectives, of those that were not run by Optuna."""
        names = [o.metric for o in self._store.experiment(study.experiment).objectives]
        found = self._storage.observations({study.experiment: after}, ["COMPLETED"], names)
        return {each.run: [each.metrics.get(name) for name in names] for each in found}


__all__ = ["RunbaseArtifactStore", "RunbaseStorage"]
