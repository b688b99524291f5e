"""mlos_bench's storage interface on a runbase store: its experiments are experiments, its trials are trials.

Set the class in the file passed with --storage:

    { "class": "runbase.integrations.mlos.RunbaseStorage", "config": { "store": "runbase.db" } }

and run ``python -m runbase.integrations.mlos`` with mlos_bench's own arguments; or `mlos_bench` itself with
MLOS_BENCH_SKIP_SCHEMA_VALIDATION=true, because its schema of storage files accepts only its own classes. The
parameters of SqlStorage (drivername, database, …) can be used as well. The class supports mlos_bench 0.6.2 and the
interface of its main branch.

Tunables are parameters. Results are metrics and, with their types, attributes in the scope `result`; other
configuration of a trial is in the scope `config`; telemetry is in `samples`. The database stores the type of every
value; the storage returns text, as SqlStorage does, unless its configuration has ``"values": "typed"``.

A trial that `pending_trials` yields to a scheduler is claimed while the scheduler works on it: no other scheduler
runs it, and if a scheduler exits unexpectedly, the trial waits again.
"""

import logging
import os
import socket
import subprocess
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from mlos_bench.environments.status import Status as Word
from mlos_bench.services.base_service import Service
from mlos_bench.storage.base_experiment_data import ExperimentData
from mlos_bench.storage.base_storage import Storage
from mlos_bench.tunables.tunable_groups import TunableGroups

import runbase
from runbase.errors import NotFound
from runbase.ids import name_for, new_id
from runbase.integrations.mlos import terms
from runbase.integrations.mlos.config import address, register
from runbase.integrations.mlos.data import KEPT, RESULT, Access, RunbaseExperimentData
from runbase.integrations.mlos.trial import Trial
from runbase.model import Experiment as ExperimentRecord
from runbase.model import Objective
from runbase.run.lease import LeaseRenewer
from runbase.storage.types import NewTrial, TrialRow
from runbase.trials.experiment import Experiment as OurExperiment

Objectives = dict[str, Literal["min", "max"]]
_LOG = logging.getLogger(__name__)

register()


class RunbaseStorage(Storage):
    """An mlos_bench storage that uses a runbase store. It can be pickled; it is opened again in the other process.

    Args:
        config: ``{"store": "…"}``, a database URL or path, or SqlStorage's parameters; with
            ``"values": "typed"``, values are returned with their types, not as text.
        global_config: not used.
        service: not used.
    """

    def __init__(
        self,
        config: dict[str, Any],
        global_config: dict[str, Any] | None = None,
        service: Service | None = None,
    ) -> None:
        super().__init__(config, global_config, service)  # pyright: ignore[reportUnknownMemberType]
        self._access = Access(address(config), typed=config.get("values") == "typed")

    @property
    def store(self) -> "runbase.Store":
        """The runbase store that it uses."""
        return self._access.store

    def update_schema(self) -> None:
        """Do nothing: the schema of an open store is up to date."""

    def __repr__(self) -> str:
        return f"RunbaseStorage({self.store.address!r})"

    @property
    def experiments(self) -> dict[str, ExperimentData]:
        """Name → experiment, for all experiments of the store."""
        records = list(self.store.experiments(order_by="created_at"))
        kept = self._access.storage.attributes("experiment", [r.id for r in records], KEPT)
        return {
            record.name: RunbaseExperimentData(self._access, record, kept[record.id])
            for record in sorted(records, key=lambda r: (r.name, r.created_at))
        }

    def get_experiment_by_id(
        self, experiment_id: str, tunables: TunableGroups, opt_targets: Objectives
    ) -> "Experiment | None":
        """Return an experiment to read and to run trials of, without entering it; None if it does not exist.

        Args:
            experiment_id: the name of the experiment.
            tunables: the tunables that its trials have.
            opt_targets: metric → direction.
        """
        try:
            record = self.store.experiment(experiment_id)
        except NotFound:
            return None
        if record.name != experiment_id:  # matched by its id or a prefix of it
            return None
        kept = self._access.storage.attributes("experiment", [record.id], KEPT)[record.id]
        experiment = Experiment(
            access=self._access,
            kept=kept,
            tunables=tunables,
            experiment_id=experiment_id,
            trial_id=-1,
            root_env_config=kept.get("root_env_config", ""),
            description=record.description,
            opt_targets=opt_targets,
        )
        experiment.resolve(record, kept)
        return experiment

    def experiment(
        self,
        *,
        experiment_id: str,
        trial_id: int,
        root_env_config: str,
        description: str,
        tunables: TunableGroups,
        opt_targets: Objectives,
    ) -> "Experiment":
        """Return an experiment to enter: a new one, or the existing one of this name, which is continued."""
        return Experiment(
            access=self._access,
            tunables=tunables,
            experiment_id=experiment_id,
            trial_id=trial_id,
            root_env_config=root_env_config,
            description=description,
            opt_targets=opt_targets,
        )

    def _validate_json_config(self, config: dict[str, Any]) -> None:
        if config:  # without a configuration, the store is that of runbase's settings
            super()._validate_json_config(config)  # pyright: ignore[reportUnknownMemberType]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_service": None}


class Experiment(Storage.Experiment):
    """An experiment that schedulers work on, in one or several processes.

    Args:
        access: the store.
        kept: the attributes that mlos_bench recorded, for an experiment read from the database.
        given: the arguments of the base class.
    """

    def __init__(
        self, *, access: Access, kept: Mapping[str, Any] | None = None, **given: Any
    ) -> None:
        try:
            super().__init__(**given)
        except (OSError, subprocess.CalledProcessError):
            if kept is None:
                raise
            # The base class runs git on the environment's file, which may not exist on this machine.
            self._tunables = given["tunables"].copy()
            self._experiment_id, self._trial_id = given["experiment_id"], given["trial_id"]
            self._description, self._opt_targets = given["description"], given["opt_targets"]
            self._in_context = False
        if kept is not None:
            self._root_env_config = kept.get("root_env_config", "")
            self._git_repo, self._git_commit = kept.get("git_repo", ""), kept.get("git_commit", "")
        self._access = access
        self._id = ""
        self._first = max(1, self._trial_id)
        """mlos_bench's number of the first trial. It is not 0, the number of trials of merged experiments."""
        self._settled = False
        """Whether `_first` is fixed, because the experiment has trials."""
        self._renewer = LeaseRenewer(lambda: access.storage)
        self._out: dict[str, Trial] = {}
        """Run → trial that was yielded to a scheduler and is not finished."""

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_renewer"], state["_out"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._renewer = LeaseRenewer(lambda: self._access.storage)
        self._out = {}

    # Set-up and tear-down

    def _setup(self) -> None:
        super()._setup()
        self._id, is_new = self._find()
        kept = self._access.storage.attributes("experiment", [self._id], KEPT)[self._id]
        if is_new:
            _LOG.info("Start a new experiment: %s", self)
        else:
            self._continue(kept)
        last = self._last_number()
        if last or self._trial_id < 1:
            self._first = int(kept.get("first_trial", 1))
        self._settled = last > 0
        attributes = {
            "root_env_config": kept.get("root_env_config", self._root_env_config),
            "git_repo": kept.get("git_repo", self._git_repo),
            "git_commit": kept.get("git_commit", self._git_commit),
            "first_trial": self._first,
            "driver_host": socket.gethostname(),
            "driver_pid": os.getpid(),
            "started_at": kept.get("started_at", terms.moment(time.time())),
            "ended_at": None,
        }
        self._access.storage.put_attributes("experiment", self._id, KEPT, attributes)
        space = terms.space(self._tunables)
        changes: dict[str, Any] = (
            {} if space == self._access.store.experiment(self._id).space else {"space": space}
        )
        self._access.store.update_experiment(self._id, status=Word.RUNNING.name, **changes)
        self._trial_id = self._first + last

    def resolve(self, record: ExperimentRecord, kept: Mapping[str, Any]) -> None:
        """Bind this object to an experiment of the database, without entering it.

        Args:
            record: the experiment.
            kept: the attributes that mlos_bench recorded.
        """
        self._id = record.id
        last = self._last_number()
        self._first, self._settled = int(kept.get("first_trial", 1)), last > 0

    def _last_number(self) -> int:
        [[last]] = self._access.store.storage.sql(
            "select max(number) from runs where experiment_id = :id", {"id": self._id}
        )
        return int(last or 0)

    def _find(self) -> tuple[str, bool]:
        """Return the id of the experiment, and whether it was created now."""
        created = new_id()
        fields = {
            "description": self._description,
            "method": "mlos_bench",
            "objectives": [
                Objective(metric=metric, direction=direction)
                for metric, direction in self._opt_targets.items()
            ],
        }
        existing = self._access.storage.get_or_create_experiment(
            self._experiment_id, fields, created
        )
        return existing, existing == created

    def _continue(self, kept: Mapping[str, Any]) -> None:
        _LOG.info("Continue experiment: %s", self)
        commit = kept.get("git_commit", self._git_commit)
        if commit != self._git_commit:
            _LOG.warning(
                "Experiment %s was started at commit %s of %s, and is continued at %s",
                self,
                commit,
                kept.get("git_repo"),
                self._git_commit,
            )
        record = self._access.store.experiment(self._id)
        if not record.objectives:
            self._access.store.update_experiment(self._id, objectives=self._opt_targets)
        elif {o.metric: o.direction for o in record.objectives} != self._opt_targets:
            _LOG.warning(
                "Experiment %s was started with other objectives: %s",
                self,
                ", ".join(f"{o.metric} ({o.direction})" for o in record.objectives),
            )

    def _teardown(self, is_ok: bool) -> None:
        super()._teardown(is_ok)
        for trial in list(self._out.values()):
            trial.give_back()
        ended = {"ended_at": terms.moment(time.time())}
        self._access.storage.put_attributes("experiment", self._id, KEPT, ended)
        word = Word.SUCCEEDED if is_ok else Word.FAILED
        self._access.store.update_experiment(self._id, status=word.name)

    # Results

    def merge(self, experiment_ids: list[str]) -> None:
        """Include the trials of other experiments in `load`.

        Raises:
            UsageError: an experiment is not compatible; the message gives the reason. Also a ValueError.
            NotFound: an experiment does not exist. Also a LookupError.
        """
        _LOG.info("Merge: %s <- %s", self, experiment_ids)
        self._ours().merge(*experiment_ids)

    def load(
        self, last_trial_id: int = -1
    ) -> tuple[list[int], list[dict[str, Any]], list[dict[str, Any] | None], list[Word]]:
        """Return the ended trials, by number.

        Args:
            last_trial_id: only trials after this one. Without it, trials of merged experiments come first. Their
                number is one less than this experiment's first, so that a scheduler that continues after the
                greatest number sees all of its own trials.

        Returns:
            Numbers, configurations, scores and statuses. Tunables that a trial lacks have the declared default.
            Scores of trials that did not succeed are None.
        """
        found = self._ours().load(
            max(0, last_trial_id - self._first + 1),
            metrics=list(self._opt_targets),
            merged=last_trial_id < self._first - 1,
        )
        results = self._access.storage.attributes("run", found.runs, RESULT)
        order = sorted(range(len(found)), key=lambda n: found.experiments[n] == self._id)
        declared = terms.defaults(self._tunables)
        numbers: list[int] = []
        scores: list[dict[str, Any] | None] = []
        for n in order:
            own = found.experiments[n] == self._id
            numbers.append(found.numbers[n] + self._first - 1 if own else self._first - 1)
            score = found.scores[n]
            typed = results[found.runs[n]]
            scores.append(None if score is None else self._access.given({**score, **typed}))
        configs = [self._access.given({**declared, **found.params[n]}) for n in order]
        return numbers, configs, scores, [terms.word(found.statuses[n]) for n in order]

    def load_tunable_config(self, config_id: int) -> dict[str, Any]:
        """Return the values of a configuration; empty if it does not exist."""
        configs = self._access.storage.configs([config_id])
        return self._access.given(configs.get(config_id, {}))

    def load_telemetry(self, trial_id: int) -> list[tuple[datetime, str, Any]]:
        """Return (time, metric, value) of a trial, by time and metric."""
        row = self._row(trial_id)
        if row is None:
            return []
        samples = self._access.storage.samples([row.id])
        typed = self._access.typed
        return [
            (terms.moment(when), key, value if typed else terms.text(value))
            for _, (when, key, value) in samples
        ]

    # The queue

    def pending_trials(
        self,
        timestamp: datetime,
        *,
        running: bool = False,
        trial_runner_assigned: bool | None = None,
    ) -> Iterator["Storage.Trial"]:
        """Yield waiting trials that are due, each claimed while the caller works on it.

        Args:
            timestamp: the time by which they are due; without a zone, local time.
            running: include running trials, unless another scheduler has claimed them.
            trial_runner_assigned: only trials that have (True) or do not have (False) a runner.
        """
        by = terms.utc(timestamp).timestamp()
        words = {Word.PENDING, Word.READY, Word.RUNNING} if running else {Word.PENDING}
        due = [
            row
            for row in self._access.storage.due_trials(self._id, by)
            if terms.word(row.status, row.source_status) in words
            and (row.claimed_until is None or row.id in self._out)
        ]
        if not due:
            return iter(())
        trials = [
            trial
            for trial in self._trials(due)
            if trial_runner_assigned in (None, trial.trial_runner_id is not None)
        ]
        return self._claimed(trials)

    def _claimed(self, trials: "Sequence[Trial]") -> Generator["Storage.Trial"]:
        """Yield trials, each claimed first; a trial that the caller only reads is released again."""
        claiming = True
        for trial in trials:
            if not claiming or trial.status is Word.RUNNING:
                yield trial
                continue
            if not trial.claim(self._renewer):
                continue  # another scheduler claimed it first
            self._out[trial.run] = trial
            try:
                yield trial
            except GeneratorExit:
                trial.give_back()
                raise
            claiming = trial.touched
            if not claiming:
                trial.untake()
            if not trial.claimed:
                del self._out[trial.run]

    def get_trial_by_id(self, trial_id: int) -> "Storage.Trial | None":
        """Return a trial, or None if it does not exist."""
        row = self._row(trial_id)
        return None if row is None else self._trials([row])[0]

    def _new_trial(
        self,
        tunables: TunableGroups,
        ts_start: datetime | None = None,
        config: dict[str, Any] | None = None,
    ) -> "Storage.Trial":
        due = terms.utc(ts_start or datetime.now().astimezone())
        key = new_id()
        new = NewTrial(
            id=key,
            name=name_for(key),
            params=terms.values(tunables),
            due=due.timestamp(),
            attributes={"config": dict(config)} if config else {},
        )
        number = self._access.storage.add_trial(self._id, new)
        if not self._settled:  # another process may have set another first number meanwhile
            self._first, self._settled = self._access.first(self._id), True
        [[config_id]] = self._access.store.storage.sql(
            "select config_id from runs where id = :id", {"id": key}
        )
        self._trial_id = max(self._trial_id, number + self._first)
        return Trial(
            access=self._access,
            run=key,
            trial_runner_id=None,
            status=Word.PENDING,
            restoring=False,
            tunables=tunables.copy(),
            experiment_id=self._experiment_id,
            trial_id=number + self._first - 1,
            tunable_config_id=config_id,
            opt_targets=self._opt_targets,
            config=config,
        )

    def _trials(self, rows: Sequence[TrialRow]) -> "list[Trial]":
        ids = [row.id for row in rows]
        params = self._access.configs(rows)
        configs = self._access.storage.attributes("run", ids, "config")
        kept = self._access.storage.attributes("run", ids, KEPT)
        return [
            Trial(
                access=self._access,
                run=row.id,
                trial_runner_id=kept[row.id].get("trial_runner"),
                status=terms.word(row.status, row.source_status),
                restoring=True,
                # Reset, because this assignment is not a change by the scheduler:
                tunables=self._tunables.copy()
                .assign(self._known(params.get(row.config or 0, {})))
                .reset(),
                experiment_id=self._experiment_id,
                trial_id=row.number + self._first - 1,
                tunable_config_id=row.config or 0,
                opt_targets=self._opt_targets,
                config=self._access.given(configs[row.id]),
            )
            for row in rows
        ]

    def _known(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in params.items() if name in self._tunables}

    def _row(self, trial_id: int) -> TrialRow | None:
        rows = self._access.storage.trial_rows(self._id, trial_id - self._first + 1)
        return rows[0] if rows else None

    def _ours(self) -> OurExperiment:
        return self._access.store.experiment(self._id)


RunbaseStorage.__module__ = "runbase.integrations.mlos"  # the name used in configuration files
