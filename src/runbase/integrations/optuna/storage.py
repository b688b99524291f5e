"""Optuna's storage on a runbase store: studies are experiments, trials are runs.

    from runbase.integrations.optuna import RunbaseStorage

    study = optuna.create_study(study_name="digits", storage=RunbaseStorage())

Parameters are the parameters of the runs, with their external values. When a trial ends, objective values and
intermediate values become metrics (`value` or `value_0`, `value_1`, …; `intermediate_value` by step). Distributions
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
    """An Optuna storage that uses a runbase store.

    It is thread-safe and can be pickled; it is opened again in the other process.

    Args:
        store: an open store, or a database URL or path. Default: the store of runbase's settings.
        heartbeat_interval: seconds between heartbeats of running trials; None for no heartbeats.
        grace_period: seconds without a heartbeat after which a trial is stale. Default: two
            intervals.
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
                raise ValueError(f"{name} is {value}; it must be positive")
        self._interval, self._grace = heartbeat_interval, grace_period
        self._stale_callback = heartbeat_stale_trial_callback
        self._address = store if isinstance(store, str) or store is None else store.address
        self._store = store if isinstance(store, runbase.Store) else runbase.open(store, sync=False)
        self._studies: dict[int, Known] = {}
        self._writer = self._storage.trial_writer()

    # Trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Create a running run, or one with the fields of a template."""
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
        """Set a parameter; raise ValueError if the study has it with an incompatible distribution."""
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
        """Set the state and values; return False for a trial to be started that is no longer waiting."""
        study, number, run = self._written(trial_id)
        if state is TrialState.RUNNING:
            if self._storage.begin_trial(run):
                return True
            self._read(study, [number])
            if number in study.finished:
                raise self._ended(study, number)
            return False
        if state is TrialState.WAITING:
            self._storage.requeue_trial(run, "requeued")
            return True
        scores = {} if values is None else {"value": {str(n): v for n, v in enumerate(values)}}
        own = study.running.pop(number, None)
        now = datetime.now().astimezone()
        if own is None:
            steps = self._storage.attributes("run", [run], "intermediate")[run]
            metrics = final_values(values) + curve({int(step): v for step, v in steps.items()})
            closed = self._storage.finish_trial(
                run, STATES[state], attributes=scores, metrics=metrics, ended=now.timestamp()
            )
        else:
            closed = self._writer.finish_trial(
                run,
                STATES[state],
                params=own.params,
                attributes=scores,
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
        """Set an intermediate value, replacing one of the same step."""
        own = self._set_attribute(trial_id, "intermediate", str(step), intermediate_value)
        if own is not None:
            own.intermediate_values[step] = intermediate_value

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a user attribute of a trial."""
        own = self._set_attribute(trial_id, "user", key, value)
        if own is not None:
            own.user_attrs = {**own.user_attrs, key: value}

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Set a system attribute of a trial."""
        own = self._set_attribute(trial_id, "system", key, value)
        if own is not None:
            own.system_attrs = {**own.system_attrs, key: value}

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial with its current state."""
        study, number, _ = self._trial(trial_id)
        ended = study.finished.get(number) or study.ended.get(number)
        if ended is not None:
            return ended
        own = study.running.get(number)  # copied, because Optuna modifies it
        return copied(own) if own is not None else self._read(study, [number])[0]

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials by number; ended trials are read from the database once."""
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
        """Return the trial id, which consists of the study id and the trial number."""
        trial_id = study_id << NUMBERS | trial_number
        self._trial(trial_id)
        return trial_id

    def get_trial_number_from_id(self, trial_id: int) -> int:
        """Return the trial number contained in a trial id."""
        return self._trial(trial_id)[1]

    def get_trial_param(self, trial_id: int, param_name: str) -> float:
        """Return the internal value of a parameter."""
        trial = self.get_trial(trial_id)
        return trial.distributions[param_name].to_internal_repr(trial.params[param_name])

    def get_n_trials(
        self, study_id: int, state: tuple[TrialState, ...] | TrialState | None = None
    ) -> int:
        """Return the number of trials, of all or of some states."""
        states = (state,) if isinstance(state, TrialState) else state
        return len(self.get_all_trials(study_id, deepcopy=False, states=states))

    def remove_session(self) -> None:
        """Wait until all changes are written to the database."""
        self._writer.flush()

    # Heartbeats

    def record_heartbeat(self, trial_id: int) -> None:
        """Record a heartbeat, using the database clock."""
        self._storage.heartbeat([self._trial(trial_id)[2]])

    def get_heartbeat_interval(self) -> int | None:
        """Return the seconds between heartbeats, or None."""
        return self._interval

    def get_heartbeat_stale_trial_callback(
        self,
    ) -> "Callable[[Study, FrozenTrial], None] | None":
        """Return the callback for stale trials."""
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

    # Implementation

    @property
    def store(self) -> "runbase.Store":
        """The runbase store that it uses."""
        return self._store

    def _written(self, trial_id: int) -> tuple[Known, int, str]:
        """Return study, number and run of a trial to be changed; raise UpdateFinishedTrialError if it has ended."""
        study, number, run = self._trial(trial_id)
        if run in self._writer.lost:  # another process ended it
            study.running.pop(number, None)
        if number in study.finished or number in study.ended:
            raise self._ended(study, number)
        return study, number, run

    def _trial(self, trial_id: int) -> tuple[Known, int, str]:
        """Return study, number and run of a trial."""
        study = self._study(trial_id >> NUMBERS)
        number = trial_id & (1 << NUMBERS) - 1
        run = study.runs.get(number)
        if run is None:
            rows = self._store.storage.sql(
                "select id from runs where experiment_id = :experiment and number = :number "
                "and deleted_at is null",
                {"experiment": study.experiment, "number": number + 1},
            )
            if not rows:
                raise KeyError(f"trial with id {trial_id} not found")
            run = study.runs.setdefault(number, rows[0][0])
        return study, number, run

    def _set_attribute(self, trial_id: int, scope: str, key: str, value: Any) -> FrozenTrial | None:
        """Set an attribute of a trial; return this process's copy of the trial if it runs here."""
        study, number, run = self._written(trial_id)
        own = study.running.get(number)
        if own is not None:
            self._writer.set_attribute(run, scope, key, value)
        elif not self._storage.set_attribute(run, scope, key, value):
            raise self._ended(study, number)
        return own

    def _ended(self, study: Known, number: int) -> UpdateFinishedTrialError:
        return UpdateFinishedTrialError(
            f"trial {number} of {study.name!r} has ended and cannot be changed"
        )

    def _distribution(self, study: Known, name: str) -> BaseDistribution | None:
        """Return the distribution of a parameter in the study, or None."""
        distribution = study.distributions.get(name)
        if distribution is None:
            rows = self._store.storage.sql(
                "select p.suggested from params p join runs r on r.id = p.run_id "
                "where r.experiment_id = :experiment and p.key = :key and p.suggested is not null "
                "order by r.number limit 1",
                {"experiment": study.experiment, "key": name},
            )
            if rows:
                distribution = json_to_distribution(json.loads(rows[0][0])["distribution"])
                study.distributions[name] = distribution
        return distribution

    def _close(self, run: str, template: FrozenTrial) -> None:
        """End a run with the state and values of a template."""
        metrics = final_values(template.values) + curve(template.intermediate_values)
        status, ended = STATES[template.state], epoch(template.datetime_complete)
        self._storage.finish_trial(run, status, metrics=metrics, ended=ended)

    def _read(
        self, study: Known, numbers: Sequence[int] = (), *, after: int | None = None
    ) -> list[FrozenTrial]:
        """Read trials from the database, and cache those that have ended."""
        behind = 2**31 - 1 if after is None else after + 1
        runs = [study.runs[number] for number in numbers]
        trials: list[FrozenTrial] = []
        updates = self._writer.trial_updates(study.experiment, behind, runs)
        native = {update.id for update in updates if is_native(update)}
        space = self._store.experiment(study.experiment).space if native else {}
        figures = self._figures(study, min(u.number for u in updates) - 1) if native else {}
        for update in updates:
            number = update.number - 1
            trial = study.finished.get(number)
            if trial is None:
                study.runs[number] = update.id
                trial = frozen_trial(study.number, update, space, figures.get(update.id))
                if trial.state.is_finished():
                    study.finished[number] = trial
                    study.ended.pop(number, None)
            trials.append(trial)
        return trials

    def _figures(self, study: Known, after: int) -> dict[str, list[float | None]]:
        """Return run → last values of the objectives, for trials that Optuna did not run."""
        names = [o.metric for o in self._store.experiment(study.experiment).objectives]
        completed = self._storage.observations({study.experiment: after}, ["COMPLETED"], names)
        return {trial.run: [trial.metrics.get(name) for name in names] for trial in completed}


__all__ = ["RunbaseArtifactStore", "RunbaseStorage"]
