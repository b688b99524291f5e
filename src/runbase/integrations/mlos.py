"""mlos_bench's storage over a runbase store: its experiments are experiments, its trials are trials.

    { "class": "runbase.integrations.mlos.RunbaseStorage", "config": { "store": "runbase.db" } }

in the file given with --storage, and ``python -m runbase.integrations.mlos`` with mlos_bench's own arguments;
or `mlos_bench` itself, with MLOS_BENCH_SKIP_SCHEMA_VALIDATION=true, for its schema of storage files knows but
its own class. SqlStorage's parameters (drivername, database, …) name a store as well.

Tunables are parameters; results are metrics, and exact, of any type, in the scope `result` of the table
`attributes`; what a scheduler says with a trial is in the scope `config`; telemetry is in `samples`.

A trial that `pending_trials` gives to a scheduler is claimed while that one works on it: no other scheduler runs
it as well, and one that dies gives it back.
"""

import logging
import os
import socket
import sys
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
from runbase.experiment import Experiment as OurExperiment
from runbase.ids import name_for, new_id
from runbase.integrations import mlos_terms as terms
from runbase.integrations.mlos_config import address, register
from runbase.integrations.mlos_data import KEPT, RESULT, Access, RunbaseExperimentData
from runbase.integrations.mlos_trial import Trial
from runbase.leases import Keeper
from runbase.model import Objective, Run
from runbase.storage.records import NewTrial

Objectives = dict[str, Literal["min", "max"]]
_LOG = logging.getLogger(__name__)

register()


class RunbaseStorage(Storage):
    """A store as mlos_bench's storage; pickles, and is opened anew in the other process.

    Args:
        config: ``{"store": "…"}``, a database URL or path; or SqlStorage's parameters.
        global_config: mlos_bench's; not used.
        service: mlos_bench's; not used.
    """

    def __init__(
        self,
        config: dict[str, Any],
        global_config: dict[str, Any] | None = None,
        service: Service | None = None,
    ) -> None:
        super().__init__(config, global_config, service)  # pyright: ignore[reportUnknownMemberType]
        self._access = Access(address(config))

    @property
    def store(self) -> "runbase.Store":
        """The store below."""
        return self._access.store

    def update_schema(self) -> None:
        """A store brings its schema up to date when it is opened."""

    def __repr__(self) -> str:
        return f"RunbaseStorage({self.store.address!r})"

    @property
    def experiments(self) -> dict[str, ExperimentData]:
        """Every experiment of the store, by its name."""
        records = list(self.store.experiments(order_by="created_at"))
        kept = self._access.storage.attributes("experiment", [r.id for r in records], KEPT)
        return {
            record.name: RunbaseExperimentData(self._access, record, kept[record.id])
            for record in sorted(records, key=lambda r: (r.name, r.created_at))
        }

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
        """An experiment to be entered: a new one, or the one of this name, gone on with."""
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
        if config:  # without one, runbase's own settings name the store
            super()._validate_json_config(config)  # pyright: ignore[reportUnknownMemberType]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_service": None}


class Experiment(Storage.Experiment):
    """An experiment that a scheduler works on. Several processes may, at once."""

    def __init__(self, *, access: Access, **given: Any) -> None:
        super().__init__(**given)
        self._access = access
        self._id = ""
        self._trial_id = max(1, self._trial_id)  # 0 is what a merged experiment's trials are
        self._first = self._trial_id
        self._keeper = Keeper(lambda: access.storage)
        self._out: dict[str, Trial] = {}
        """What a scheduler was given and has not been done with."""

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_keeper"], state["_out"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._keeper = Keeper(lambda: self._access.storage)
        self._out = {}

    # Begin and end

    def _setup(self) -> None:
        super()._setup()
        self._id, made = self._find()
        kept = self._access.storage.attributes("experiment", [self._id], KEPT)[self._id]
        if made:
            _LOG.info("Start a new experiment: %s", self)
        else:
            self._go_on(kept)
        self._first = int(kept.get("first_trial", self._trial_id if made else 1))
        told = {
            "root_env_config": kept.get("root_env_config", self._root_env_config),
            "git_repo": kept.get("git_repo", self._git_repo),
            "git_commit": kept.get("git_commit", self._git_commit),
            "first_trial": self._first,
            "driver_host": socket.gethostname(),
            "driver_pid": os.getpid(),
            "started_at": kept.get("started_at", terms.moment(time.time())),
            "ended_at": None,
        }
        self._access.storage.put_attributes("experiment", self._id, KEPT, told)
        space = terms.space(self._tunables)
        changes: dict[str, Any] = (
            {} if space == self._access.store.experiment(self._id).space else {"space": space}
        )
        self._access.store.update_experiment(self._id, status=Word.RUNNING.name, **changes)
        [[last]] = self._access.store.sql(
            "select max(number) from runs where experiment_id = :id", {"id": self._id}
        )
        self._trial_id = self._first + (last or 0)

    def _find(self) -> tuple[str, bool]:
        """Its id, and whether it was made now."""
        made = new_id()
        fields = {
            "description": self._description,
            "method": "mlos_bench",
            "objectives": [
                Objective(metric=metric, direction=direction)
                for metric, direction in self._opt_targets.items()
            ],
        }
        found = self._access.storage.get_or_create_experiment(self._experiment_id, fields, made)
        return found, found == made

    def _go_on(self, kept: Mapping[str, Any]) -> None:
        _LOG.info("Go on with experiment: %s", self)
        commit = kept.get("git_commit", self._git_commit)
        if commit != self._git_commit:
            _LOG.warning(
                "Experiment %s was begun at commit %s of %s, and goes on at %s",
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
                "Experiment %s was begun with other objectives: %s",
                self,
                ", ".join(f"{o.metric} ({o.direction})" for o in record.objectives),
            )

    def _teardown(self, is_ok: bool) -> None:
        super()._teardown(is_ok)
        for trial in list(self._out.values()):
            trial.give_back()
        told = {"ended_at": terms.moment(time.time())}
        self._access.storage.put_attributes("experiment", self._id, KEPT, told)
        word = Word.SUCCEEDED if is_ok else Word.FAILED
        self._access.store.update_experiment(self._id, status=word.name)

    # What was learnt

    def merge(self, experiment_ids: list[str]) -> None:
        """Learn from other experiments as well, from now on; UsageError, a ValueError, names the reason
        against one that is not compatible."""
        _LOG.info("Merge: %s <- %s", self, experiment_ids)
        self._ours().merge(*experiment_ids)

    def load(
        self, last_trial_id: int = -1
    ) -> tuple[list[int], list[dict[str, Any]], list[dict[str, Any] | None], list[Word]]:
        """Trials that have ended (numbers, configurations, scores, states), by number.

        From the beginning, those of merged experiments come first, numbered below this one's first, so that a
        scheduler goes on from its own last. What a trial lacks of the tunables is imputed.
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
            scores.append(None if score is None else {**score, **results[found.runs[n]]})
        configs = [{**declared, **found.params[n]} for n in order]
        return numbers, configs, scores, [terms.word(found.statuses[n]) for n in order]

    def load_tunable_config(self, config_id: int) -> dict[str, Any]:
        """The values of a configuration; NotFound, a LookupError, where there is none."""
        return self._access.config(config_id)

    def load_telemetry(self, trial_id: int) -> list[tuple[datetime, str, Any]]:
        """(time, metric, value) of a trial, by time; each value of the type that it had."""
        run = self._run(trial_id)
        if run is None:
            return []
        found = self._access.storage.samples([run.id])
        return [(terms.moment(when), key, value) for _, (when, key, value) in found]

    # The queue

    def pending_trials(
        self,
        timestamp: datetime,
        *,
        running: bool,
        trial_runner_assigned: bool | None = None,
    ) -> Iterator["Storage.Trial"]:
        """What waits and is due by then, each claimed while the caller works on it.

        Args:
            timestamp: by when; without a zone, local.
            running: also what runs, unless another scheduler holds it.
            trial_runner_assigned: only what has (True) or has no (False) runner.
        """
        by = terms.utc(timestamp)
        self._access.storage.expire_claims(self._id)
        words = {Word.PENDING, Word.READY, Word.RUNNING} if running else {Word.PENDING}
        due = [
            run
            for run in self._access.store.runs(
                "status in ('PENDING', 'RUNNING')", experiment=self._id, order_by="number"
            )
            if terms.word_of(run) in words
            and run.queued_at is not None
            and terms.began(run) <= by
            and (run.lease_until is None or run.id in self._out)
        ]
        trials = [
            trial
            for trial in self._trials(due)
            if trial_runner_assigned in (None, trial.trial_runner_id is not None)
        ]
        return self._claimed(trials)

    def _claimed(self, trials: "Sequence[Trial]") -> Generator["Storage.Trial"]:
        """Trials, claimed one by one; whoever only looks at them holds none of them up."""
        claiming = True
        for trial in trials:
            if not claiming or trial.status is Word.RUNNING:
                yield trial
                continue
            if not trial.claim(self._keeper):
                continue  # another scheduler was quicker
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
        """A trial; None where there is none of this number."""
        run = self._run(trial_id)
        return None if run is None else self._trials([run])[0]

    def _new_trial(
        self,
        tunables: TunableGroups,
        ts_start: datetime | None = None,
        config: dict[str, Any] | None = None,
    ) -> "Storage.Trial":
        # Whole seconds, as SqlStorage has them: a time must not be in the future by rounding.
        due = terms.utc(ts_start or datetime.now().astimezone()).replace(microsecond=0)
        key = new_id()
        new = NewTrial(
            id=key,
            name=name_for(key),
            params=terms.values(tunables),
            due=due.timestamp(),
            attributes={"config": dict(config)} if config else {},
        )
        number = self._access.storage.add_trial(self._id, new)
        [[made]] = self._access.store.sql("select config_id from runs where id = :id", {"id": key})
        self._trial_id = max(self._trial_id, number + self._first)
        return Trial(
            access=self._access,
            run=key,
            runner=None,
            tunables=tunables,
            experiment_id=self._experiment_id,
            trial_id=number + self._first - 1,
            tunable_config_id=made,
            opt_targets=self._opt_targets,
            config=config,
        )

    def _trials(self, runs: Sequence[Run]) -> "list[Trial]":
        ids = [run.id for run in runs]
        configs = self._access.configs(self._id)
        told = self._access.storage.attributes("run", ids, "config")
        kept = self._access.storage.attributes("run", ids, KEPT)
        return [
            Trial(
                access=self._access,
                run=run.id,
                runner=kept[run.id].get("trial_runner"),
                status=terms.word_of(run),
                # What is assigned is no change of the trial's:
                tunables=self._tunables.copy().assign(self._known(run.params)).reset(),
                experiment_id=self._experiment_id,
                trial_id=run.number + self._first - 1,
                tunable_config_id=configs.get(run.id, 0),
                opt_targets=self._opt_targets,
                config=told[run.id],
            )
            for run in runs
        ]

    def _known(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in params.items() if name in self._tunables}

    def _run(self, trial_id: int) -> Run | None:
        number = trial_id - self._first + 1
        found = list(self._access.store.runs(f"number = {number:d}", experiment=self._id))
        return found[0] if found else None

    def _ours(self) -> OurExperiment:
        return self._access.store.experiment(self._id)


def main() -> None:
    """mlos_bench's own command line, with this storage known to its schema of configuration files."""
    from mlos_bench.run import _shell_main  # pyright: ignore[reportPrivateUsage]

    sys.exit(_shell_main())


if __name__ == "__main__":
    main()

__all__ = ["RunbaseStorage"]
