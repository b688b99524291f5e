"""An experiment as an object: its record, and the queue of its trials.

experiment = store.experiment("tuning")
experiment.new_trials([{"lr": lr} for lr in (0.1, 0.01, 0.001)])
with experiment.claim() as trial:
    if trial is not None:
        trial.log({"loss": train(**trial.params)})
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import msgspec

from runbase import model
from runbase.analysis.listings import Runs
from runbase.coerce import as_params, as_tags
from runbase.errors import NotFound, RunbaseError, UsageError
from runbase.ids import name_for, new_id
from runbase.run.context import OpenStore
from runbase.run.lease import Held
from runbase.status import Status
from runbase.storage.types import NewTrial, Query
from runbase.trials import ranking, results
from runbase.trials.claim import LEASE, Claim, Claiming, this_runner
from runbase.trials.groups import Group, group
from runbase.trials.observations import ENDED, Observations
from runbase.trials.ranking import Scored
from runbase.trials.sampling import Suggestion
from runbase.values import Moment, to_seconds

if TYPE_CHECKING:
    from runbase.run.run import Run

RETRIES = 2
"""How often a trial is tried again when the machine it runs on is lost."""


class Experiment(model.Experiment, frozen=True, kw_only=True, dict=True):
    """A named group of runs, as it stood when it was read, and its queue of trials.

    A trial is a run that waits in the queue until somebody claims it. Numbers are the runs' numbers in the
    experiment, from 1 without a gap, however many processes make them.
    """

    def new_trial(
        self,
        params: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        at: Moment | None = None,
        priority: int = 0,
        retries: int = RETRIES,
        tags: Any = None,
        runner: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> model.Run:
        """Queue a trial; the record of it, PENDING.

        Args:
            params: its parameters; nested mappings flatten with ``/``. Equal ones are stored once.
            name: a readable name; default: one such as `brisk-heron-42`.
            at: not to be claimed before: a datetime, ISO text, or seconds since the epoch.
            priority: the greatest is claimed first; of equal ones, the lowest number.
            retries: how often it is tried again when its runner is lost.
            tags: plain tags, or a mapping of tag to value.
            runner: reserve it for one runner.
            config: what else its runner is to know (`Claim.config`): plain data, no parameter to tune.
        """
        [found] = self.new_trials(
            [params or {}],
            names=None if name is None else [name],
            at=at,
            priority=priority,
            retries=retries,
            tags=tags,
            runner=runner,
            config=config,
        )
        [record] = self._store.storage.get_runs([found])
        return record

    def new_trials(
        self,
        params: Iterable[Mapping[str, Any]],
        *,
        names: Sequence[str] | None = None,
        at: Moment | None = None,
        priority: int = 0,
        retries: int = RETRIES,
        tags: Any = None,
        runner: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Queue many at once, in one transaction; their ids, in order. Arguments as for `new_trial`."""
        if retries < 0:
            raise UsageError(f"retries is {retries}; 0 is the least")
        more = _plain(config or {})
        due = None if at is None else to_seconds(at)
        given: Mapping[str, str | None] = {} if tags is None else as_tags(tags)
        new: list[NewTrial] = []
        for number, one in enumerate(params):
            key = new_id()
            new.append(
                NewTrial(
                    id=key,
                    name=name_for(key) if names is None else names[number],
                    params=as_params(one),
                    tags=given,
                    due=due,
                    priority=priority,
                    retries=retries,
                    runner=runner,
                    suggested=one.suggested if isinstance(one, Suggestion) else {},
                    attributes=_scopes(one, more),
                )
            )
        if new:
            self._store.storage.add_trials(self.id, new)
        return [trial.id for trial in new]

    def trials(self, where: str | None = None, **options: Any) -> Runs:
        """Its trials, in any state, by number; `where` and the options are those of `Store.runs`."""
        options.setdefault("order_by", "number")
        trials = "queued_at is not null"
        return self._runs(trials if where is None else f"{trials} and ({where})", **options)

    def trial(self, number: int) -> model.Run:
        """The trial of a number; NotFound where there is none."""
        found = self.trials(f"number = {int(number)}")
        if not found:
            raise NotFound(f"experiment {self.name!r} has no trial {number}")
        return self._run(found[0].id)

    def pending_trials(
        self,
        *,
        at: Moment | None = None,
        running: bool = False,
        assigned: bool | None = None,
        limit: int | None = None,
    ) -> Runs:
        """What waits, in the order in which it will be claimed.

        Args:
            at: those that are due by then; default: now.
            running: those that are running as well.
            assigned: only those with (True) or without (False) a runner.
            limit: how many at most.
        """
        when = time.time() if at is None else to_seconds(at)
        states = "('PENDING', 'RUNNING')" if running else "('PENDING')"
        where = f"status in {states} and (due_at is null or due_at <= {when!r})"
        if assigned is not None:
            where += f" and runner is {'not ' if assigned else ''}null"
        return self.trials(where, order_by="priority desc, number", limit=limit)

    def claim_trial(self, runner: str | None = None, *, lease: float = LEASE) -> "Claim | None":
        """Take the next trial that waits, for this runner alone; None when nothing waits.

        Atomic under any number of claimers. The claim holds for `lease` seconds and is to be renewed
        (a Run that `claim` or `Claim.start` gives does so by itself); one that is not returns the trial to
        the queue, for its next attempt. `runner` defaults to this host and process.
        """
        if lease < 1:
            raise UsageError(f"a lease of {lease} s is too short; 1 is the least")
        name = runner or this_runner()
        storage = self._store.storage
        claimed = storage.claim_trial(self.id, name, lease)
        if claimed is None:
            return None
        held = Held(run=claimed.run, attempt=claimed.attempt, runner=name, seconds=lease)
        return Claim(self._store, self.name, held)

    def claim(
        self, runner: str | None = None, *, lease: float = LEASE, **options: Any
    ) -> "AbstractContextManager[Run | None]":
        """Claim a trial and run it: ``with experiment.claim() as trial:`` gives a `Run`, or None when nothing
        waits. The options are those of `start_run` (`capture`, `tags`, `ends`, `home`, …).
        """
        return Claiming(lambda: self.claim_trial(runner, lease=lease), options)

    # Changes

    def cancel(self, trial: Any, reason: str = "cancelled") -> bool:
        """End a trial that waits or runs, as CANCELLED; False where it has ended. A runner that works on
        it finds out within a third of its lease (`Run.should_stop`).
        """
        return self._store.storage.cancel_trial(self._id(trial), reason)

    def requeue(self, trial: Any, reason: str = "requeued") -> model.Run:
        """Put a trial, or any run, into the queue (again), as its next attempt; what it logged stays."""
        key = self._id(trial)
        self._store.storage.requeue_trial(key, reason)
        return self._run(key)

    def prune(self, trial: Any, reason: str = "pruned") -> model.Run:
        """End a trial as PRUNED: it was not worth going on with."""
        key = self._id(trial)
        self._store.storage.set_status(key, Status.PRUNED, reason, None)
        return self._run(key)

    # Results

    def load(
        self,
        after: "int | Mapping[str, int]" = 0,
        *,
        metrics: Sequence[str] | None = None,
        merged: bool = True,
    ) -> Observations:
        """Every trial that has ended, for an optimizer to begin from, in two queries.

        Args:
            after: only those with a greater number; or the `after` of an earlier result, which goes on from
                there in merged experiments as well.
            metrics: which metrics are the scores; default: the objectives.
            merged: also those of merged experiments, with the parameters they lack imputed and marked.

        Raises UsageError where there are neither objectives nor `metrics`.
        """
        others = self.merged() if merged else []
        return results.load(self, self._store.storage, after, metrics, others)

    def merge(self, *others: Any) -> list["Experiment"]:
        """Learn from other experiments as well: `load` includes their trials from now on.

        Raises UsageError, with the reason, for one that is not compatible: an objective with the opposite
        direction, a parameter of another type, no common parameter.
        """
        storage = self._store.storage
        found = [self._other(other) for other in others]
        results.check_mergeable(self, storage, found)
        for other in found:
            storage.link("experiment", self.id, "merges", other.id)
        return self.merged()

    def merged(self) -> list["Experiment"]:
        """The experiments whose trials `load` includes."""
        return [self._other(key) for key in results.merged_ids(self, self._store.storage)]

    def suggest(
        self, *, sampler: Any = "random", seed: int | None = None, **options: Any
    ) -> Suggestion | None:
        """What to try next, from the search space: parameters for `new_trial`. None when a grid is used up.

        Args:
            sampler: ``"random"``; ``"grid"``, in the order of the space, without what has been tried or waits; or
                one of Optuna's, ``"optuna:TPESampler"`` (short: ``"optuna:tpe"``), or an object of
                `optuna.samplers`. Those learn from all trials that `load` gives, merged ones too, spare what
                still runs, and keep what they note in this record, so that any process goes on from it.
            seed: for the same suggestions from the same record.
            options: of Optuna's sampler, such as ``n_startup_trials=20``.

        Raises UsageError where the experiment has no search space, or an optimizer has no objectives.
        """
        return results.suggest(self, self._store.storage, sampler, seed, options, self.merged())

    def best_trials(self, count: int = 1) -> list[Scored]:
        """The best trials within the limits, by the weighted sum of the objectives."""
        return ranking.best(results.scored(self, self._store.storage), count)

    def pareto_front(self) -> list[Scored]:
        """The trials within the limits that no other beats in every objective, by number."""
        return ranking.pareto_front(self.objectives, results.scored(self, self._store.storage))

    def progress(self) -> list[tuple[int, float]]:
        """(number, the best so far) over the trials within the limits; the best is the least weighted sum of the
        objectives, with the sign of those turned of which more is better.
        """
        return ranking.progress(results.scored(self, self._store.storage))

    def groups(
        self, metrics: Sequence[str] | None = None, *, confidence: float = 0.95
    ) -> list[Group]:
        """Repeated measurements: the trials that share parameters, with count, mean, standard deviation and
        Student's confidence interval of each metric (default: the objectives), and the share that failed.
        """
        wanted = results.objective_metrics(self) if metrics is None else list(metrics)
        found = self._store.storage.observations({self.id: 0}, ENDED, wanted)
        return group(found, confidence)

    @property
    def _store(self) -> OpenStore:
        try:
            return vars(self)["_store"]
        except KeyError:
            raise RunbaseError(
                f"experiment {self.name!r} is detached; load it with store.experiment(…)"
            ) from None

    def _other(self, experiment: Any) -> "Experiment":
        """Another experiment of the same store, by its name, id or record."""
        storage = self._store.storage
        key = experiment if isinstance(experiment, str) else str(experiment.id)
        found = storage.find_experiment(key, deleted=False)
        return attach(self._store, storage.get_experiments([found])[0])

    def _runs(self, where: str, **options: Any) -> Runs:
        page = self._store.storage.runs(Query(where=where, experiment=self.id, **options))
        return Runs(page, page.cursor)

    def _run(self, key: str) -> model.Run:
        record = self._store.storage.whole_run(key)
        if record is None:
            raise NotFound(f"there is no run {key!r}")
        return record

    def _id(self, trial: Any) -> str:
        if isinstance(trial, int):
            return self.trial(trial).id
        return trial if isinstance(trial, str) else str(trial.id)


def attach(store: OpenStore, record: model.Experiment) -> Experiment:
    """Attach a record to the store that it was read from."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    made = Experiment(**fields)
    vars(made)["_store"] = store
    return made


def _scopes(params: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What is kept beside the parameters: what its runner is to know, and what a sampler noted."""
    notes = params.notes if isinstance(params, Suggestion) else {}
    scopes: dict[str, Mapping[str, Any]] = {"config": config, "system": notes}
    return {scope: values for scope, values in scopes.items() if values}


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in config.items():
        try:
            msgspec.json.encode(value)
        except (TypeError, ValueError):
            raise UsageError(
                f"the config's {key!r} is a {type(value).__name__}; it is to be plain data"
            ) from None
    return dict(config)
