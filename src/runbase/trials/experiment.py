"""`Experiment`: an experiment record with methods for its queue of trials and their results.

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
from runbase.errors import NotFound, RunbaseError, UsageError
from runbase.ids import name_for, new_id
from runbase.run.context import OpenStore
from runbase.run.lease import Held
from runbase.status import Status
from runbase.storage.types import NewTrial, Query
from runbase.trials import ranking, results
from runbase.trials.claim import LEASE, Claim, Claiming, this_runner
from runbase.trials.groups import Group, group
from runbase.trials.launchers import launch
from runbase.trials.launchers.launch import Launch
from runbase.trials.observations import ENDED, Observations
from runbase.trials.ranking import Scored
from runbase.trials.sampling import Suggestion
from runbase.trials.trial_attributes import plain, scopes
from runbase.typing import ExperimentLike, JsonObject, RunLike, TagsLike
from runbase.values import Moment, as_params, as_tags, to_seconds

if TYPE_CHECKING:
    from runbase.run.run import Run

RETRIES = 2
"""The default number of retries of a trial whose runner is lost."""


class Experiment(model.Experiment, frozen=True, kw_only=True, dict=True):
    """A named group of runs, as it was when it was read, and its queue of trials.

    A trial is a run that waits in the queue until a runner claims it. Its number is that of the run in
    the experiment: from 1 without gaps, even if many processes create trials.
    """

    def new_trial(
        self,
        params: Mapping[str, object] | None = None,
        *,
        name: str | None = None,
        at: Moment | None = None,
        priority: int = 0,
        retries: int = RETRIES,
        tags: TagsLike = None,
        runner: str | None = None,
        config: Mapping[str, object] | None = None,
    ) -> model.Run:
        """Add a trial to the queue.

        Args:
            params: its parameters. Nested mappings are flattened with ``/``. Equal parameters are
                stored once.
            name: the display name. Default: a generated one such as `brisk-heron-42`.
            at: the earliest time to claim it: a datetime, ISO text, or seconds since the epoch.
            priority: the trial with the highest priority is claimed first; if equal, the one with the
                lowest number.
            retries: the number of retries if its runner is lost.
            tags: plain tags, or a mapping of tag to value.
            runner: the only runner that can claim it.
            config: other settings for the runner (`Claim.config`), as plain data. They are not
                parameters, so samplers ignore them.

        Returns:
            The record of the trial, with status PENDING.

        Raises:
            UsageError: `retries` is negative, or `config` is not plain data.
            InvalidValue: a parameter cannot be stored.
        """
        [run_id] = self.new_trials(
            [params or {}],
            names=None if name is None else [name],
            at=at,
            priority=priority,
            retries=retries,
            tags=tags,
            runner=runner,
            config=config,
        )
        return self._store.storage.get_runs([run_id])[0]

    def new_trials(
        self,
        params: Iterable[Mapping[str, object]],
        *,
        names: Sequence[str] | None = None,
        at: Moment | None = None,
        priority: int = 0,
        retries: int = RETRIES,
        tags: TagsLike = None,
        runner: str | None = None,
        config: Mapping[str, object] | None = None,
    ) -> list[str]:
        """Add trials to the queue in one transaction.

        Args:
            params: the parameters of each trial.
            names: the display name of each trial.
            at: as for `new_trial`.
            priority: as for `new_trial`.
            retries: as for `new_trial`.
            tags: as for `new_trial`.
            runner: as for `new_trial`.
            config: as for `new_trial`.

        Returns:
            The ids of the trials, in order.
        """
        if retries < 0:
            raise UsageError(f"retries is {retries}; it must be at least 0")
        more = plain(config or {})
        due = None if at is None else to_seconds(at)
        plain_tags: Mapping[str, str | None] = {} if tags is None else as_tags(tags)
        new: list[NewTrial] = []
        for number, trial_params in enumerate(params):
            key = new_id()
            new.append(
                NewTrial(
                    id=key,
                    name=name_for(key) if names is None else names[number],
                    params=as_params(trial_params),
                    tags=plain_tags,
                    due=due,
                    priority=priority,
                    retries=retries,
                    runner=runner,
                    suggested=trial_params.suggested
                    if isinstance(trial_params, Suggestion)
                    else {},
                    attributes=scopes(trial_params, more),
                )
            )
        if new:
            self._store.storage.add_trials(self.id, new)
        return [trial.id for trial in new]

    def trials(self, where: str | None = None, **options: Any) -> Runs:
        """Return its trials in any status, by number; the arguments are those of `Store.runs`."""
        options.setdefault("order_by", "number")
        trials = "queued_at is not null"
        return self._runs(trials if where is None else f"{trials} and ({where})", **options)

    def trial(self, number: int) -> model.Run:
        """Return the trial with a number.

        Raises:
            NotFound: the experiment has no such trial.
        """
        matches = self.trials(f"number = {int(number)}")
        if not matches:
            raise NotFound(f"experiment {self.name!r} has no trial {number}")
        return self._run(matches[0].id)

    def pending_trials(
        self,
        *,
        at: Moment | None = None,
        running: bool = False,
        assigned: bool | None = None,
        limit: int | None = None,
    ) -> Runs:
        """Return the waiting trials, in the order in which they will be claimed.

        Args:
            at: trials that are due by this time. Default: now.
            running: include running trials.
            assigned: only trials with (True) or without (False) a runner.
            limit: the maximum number of trials.
        """
        when = time.time() if at is None else to_seconds(at)
        states = "('PENDING', 'RUNNING')" if running else "('PENDING')"
        where = f"status in {states} and (due_at is null or due_at <= {when!r})"
        if assigned is not None:
            where += f" and runner is {'not ' if assigned else ''}null"
        return self.trials(where, order_by="priority desc, number", limit=limit)

    def claim_trial(self, runner: str | None = None, *, lease: float = LEASE) -> "Claim | None":
        """Claim the next waiting trial for this runner.

        The claim is atomic: no two runners get the same trial. It must be renewed within `lease`
        seconds; the `Run` returned by `claim` or `Claim.start` does that automatically. If it is not
        renewed, the trial returns to the queue for its next attempt.

        Args:
            runner: the name of the runner. Default: host and process.
            lease: seconds until the claim expires, at least 1.

        Returns:
            The claim, or None if no trial is waiting.

        Raises:
            UsageError: the lease is too short.
        """
        if lease < 1:
            raise UsageError(f"a lease of {lease} s is too short; use at least 1 s")
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
        """Claim a trial and start its run: ``with experiment.claim() as trial:``.

        Args:
            runner: as for `claim_trial`.
            lease: as for `claim_trial`.
            options: arguments of `start_run` (`capture`, `tags`, `ends`, `home`, …).

        Returns:
            A context manager that returns a `Run`, or None if no trial is waiting.
        """
        return Claiming(lambda: self.claim_trial(runner, lease=lease), options)

    # Launches

    def launch(
        self,
        command: Sequence[str],
        *,
        on: str = "local",
        n: int = 1,
        time: str | None = None,
        cpus: float | None = None,
        gpus: int | None = None,
        mem: str | None = None,
        max_parallel: int | None = None,
        wait: str = "0",
        lease: float | None = None,
        options: Sequence[str] = (),
        image: str | None = None,
        once: bool = False,
    ) -> Launch:
        """Start workers that run the trials of the queue as commands, as `runbase worker` does.

        Args:
            command: the program and its arguments, with the placeholders of `runbase worker`.
            on: ``"local"`` (processes of this machine), ``"slurm"`` (the tasks of an array), ``"ray"``
                (tasks) or ``"kubernetes"`` (the pods of a Job).
            n: the number of workers.
            time: how long each may run: ``"30m"``, ``"4h"``, ``"1d"``, or a form of Slurm.
            cpus: CPUs of each.
            gpus: GPUs of each.
            mem: memory of each, such as ``"16G"``.
            max_parallel: the number of workers that run at once. Default: all.
            wait: how long a worker waits for trials before it ends.
            lease: seconds after which the claim of a lost worker expires. Default: 60.
            options: of sbatch or kubectl, or ``name=value`` for Ray.
            image: the container image, for Kubernetes.
            once: ignore the queue, and run the command once, as a new trial without parameters.

        Returns:
            The launch, with the methods `status`, `cancel` and `logs`. Its runs have the tag `launch`.

        Raises:
            UsageError: an argument is not valid, or the workers could not reach the store.
            RunbaseError: the scheduler is missing, or refused.
        """
        planned = launch.plan(
            self._store,
            self,
            command,
            on=on,
            n=n,
            time=time,
            cpus=cpus,
            gpus=gpus,
            mem=mem,
            max_parallel=max_parallel,
            wait=wait,
            lease=lease,
            options=options,
            image=image,
            once=once,
        )
        return launch.submit(self._store, planned, on)

    def launches(self) -> list[Launch]:
        """Return the launches of this experiment, the oldest first."""
        return launch.launches(self._store, self)

    # Changes

    def cancel(self, trial: RunLike, reason: str = "cancelled") -> bool:
        """End a waiting or running trial as CANCELLED.

        Its runner sees this within a third of its lease (`Run.should_stop`).

        Args:
            trial: the number, id or record of the trial.
            reason: why, for people.

        Returns:
            False if the trial has already ended.
        """
        return self._store.storage.cancel_trial(self._id(trial), reason)

    def requeue(self, trial: RunLike, reason: str = "requeued") -> model.Run:
        """Put a trial, or any run, into the queue for another attempt. What it logged is kept.

        Args:
            trial: the number, id or record of the trial.
            reason: why, for people.

        Returns:
            The changed run.
        """
        key = self._id(trial)
        self._store.storage.requeue_trial(key, reason)
        return self._run(key)

    def prune(self, trial: RunLike, reason: str = "pruned") -> model.Run:
        """End a trial as PRUNED: its intermediate results were not good enough to continue.

        Args:
            trial: the number, id or record of the trial.
            reason: why, for people.

        Returns:
            The changed run.
        """
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
        """Return all ended trials for an optimizer, with two queries.

        Args:
            after: only trials with a greater number; or the `after` of an earlier result, to continue
                from there, also in merged experiments.
            metrics: the metrics to return as scores. Default: the objectives.
            merged: include the trials of merged experiments. Missing parameters are imputed and
                marked.

        Returns:
            The observations, as columns of equal length.

        Raises:
            UsageError: there are neither objectives nor `metrics`.
        """
        others = self.merged() if merged else []
        return results.load(self, self._store.storage, after, metrics, others)

    def merge(self, *others: ExperimentLike) -> list["Experiment"]:
        """Use the trials of other experiments too: `load` includes them from now on.

        Args:
            others: names, ids or records of experiments.

        Returns:
            All merged experiments.

        Raises:
            UsageError: an experiment is not compatible: an objective has the opposite direction, a
                parameter another type, or no parameter is common. The message gives the reason.
        """
        storage = self._store.storage
        experiments = [self._other(other) for other in others]
        results.check_mergeable(self, storage, experiments)
        for other in experiments:
            storage.link("experiment", self.id, "merges", other.id)
        return self.merged()

    def merged(self) -> list["Experiment"]:
        """Return the experiments whose trials `load` includes."""
        return [self._other(key) for key in results.merged_ids(self, self._store.storage)]

    def suggest(
        self, *, sampler: Any = "random", seed: int | None = None, **options: Any
    ) -> Suggestion | None:
        """Suggest the parameters of the next trial, for `new_trial`.

        Args:
            sampler: ``"random"``; ``"grid"``, in the order of the space, without points that were tried
                or are waiting; or a sampler of Optuna: ``"optuna:TPESampler"`` (short:
                ``"optuna:tpe"``) or an object of `optuna.samplers`. Optuna's samplers use all trials
                that `load` returns, avoid running ones, and store their state in this record, so that
                any process can continue from it.
            seed: a seed, to get the same suggestions from the same record.
            options: arguments of Optuna's sampler, such as ``n_startup_trials=20``.

        Returns:
            The parameters, or None if all points of a grid were tried.

        Raises:
            UsageError: the experiment has no search space, or an Optuna sampler has no objectives.
        """
        return results.suggest(self, self._store.storage, sampler, seed, options, self.merged())

    def best_trials(self, count: int = 1) -> list[Scored]:
        """Return the best trials within the limits, by the weighted sum of the objectives."""
        return ranking.best(results.scored(self, self._store.storage), count)

    def pareto_front(self) -> list[Scored]:
        """Return the trials within the limits that no other trial dominates, by number."""
        return ranking.pareto_front(self.objectives, results.scored(self, self._store.storage))

    def progress(self) -> list[tuple[int, float]]:
        """Return (number, best value so far) for the trials within the limits.

        The value is the weighted sum of the objectives, where those to maximize are negated; lower is
        better.
        """
        return ranking.progress(results.scored(self, self._store.storage))

    def groups(
        self, metrics: Sequence[str] | None = None, *, confidence: float = 0.95
    ) -> list[Group]:
        """Group the trials with equal parameters, as repeated measurements.

        Args:
            metrics: the metrics. Default: the objectives.
            confidence: the level of Student's confidence interval.

        Returns:
            Groups with count, mean, standard deviation and confidence interval of each metric, and
            the share of failed trials.
        """
        wanted = results.objective_metrics(self) if metrics is None else list(metrics)
        return group(self._store.storage.observations({self.id: 0}, ENDED, wanted), confidence)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the record with its store, which opens connections of its own in the other process."""
        return _with_store, (type(self), msgspec.structs.asdict(self), vars(self).get("_store"))

    @property
    def _store(self) -> OpenStore:
        try:
            return vars(self)["_store"]
        except KeyError:
            raise RunbaseError(
                f"experiment {self.name!r} is detached; load it with store.experiment(…)"
            ) from None

    def _other(self, experiment: ExperimentLike) -> "Experiment":
        """Return another experiment of the same store, by its name, id or record."""
        storage = self._store.storage
        name_or_id = experiment if isinstance(experiment, str) else str(experiment.id)
        experiment_id = storage.find_experiment(name_or_id, deleted=False)
        return attach(self._store, storage.get_experiments([experiment_id])[0])

    def _runs(self, where: str, **options: Any) -> Runs:
        page = self._store.storage.runs(Query(where=where, experiment=self.id, **options))
        return Runs(page, page.cursor)

    def _run(self, key: str) -> model.Run:
        record = self._store.storage.whole_run(key)
        if record is None:
            raise NotFound(f"run {key!r} not found")
        return record

    def _id(self, trial: RunLike) -> str:
        if isinstance(trial, int):
            return self.trial(trial).id
        return trial if isinstance(trial, str) else str(trial.id)


def attach(store: OpenStore, record: model.Experiment) -> Experiment:
    """Return a record attached to the store that it was read from."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    experiment = Experiment(**fields)
    vars(experiment)["_store"] = store
    return experiment


def _with_store(
    kind: "type[Experiment]", fields: JsonObject, store: OpenStore | None
) -> Experiment:
    experiment = kind(**fields)
    if store is not None:
        vars(experiment)["_store"] = store
    return experiment
