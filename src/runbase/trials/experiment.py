"""An experiment as an object: its record, and the queue of its trials.

experiment = store.experiment("tuning")
experiment.new_trials([{"lr": lr} for lr in (0.1, 0.01, 0.001)])
with experiment.claim() as trial:
    if trial is not None:
        trial.log({"loss": train(**trial.params)})
"""

import functools
import os
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from runbase import model
from runbase.errors import UsageError
from runbase.events import Points
from runbase.ids import name_for, new_id
from runbase.run.lease import Held, Lease
from runbase.status import Status
from runbase.storage.types import NewTrial
from runbase.store.base import labels
from runbase.store.listings import Runs
from runbase.trials.results import Learner
from runbase.trials.sampling import Suggestion
from runbase.values import Moment, flatten, to_scalar, to_seconds

if TYPE_CHECKING:
    from runbase.run.run import Run
    from runbase.store.store import Store

RETRIES = 2
"""How often a trial is tried again when the machine it runs on is lost."""
LEASE = 60.0
"""Seconds after which a claim that nobody renews is given to another."""


class Experiment(Learner, frozen=True, kw_only=True, dict=True):
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
        [record] = self._store._storage.get_runs([found])  # pyright: ignore[reportPrivateUsage]
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
        from runbase.coerce import as_params

        if retries < 0:
            raise UsageError(f"retries is {retries}; 0 is the least")
        more = _plain(config or {})
        due = None if at is None else to_seconds(at)
        given: Mapping[str, str | None] = {} if tags is None else labels(tags)
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
            self._store._storage.add_trials(self.id, new)  # pyright: ignore[reportPrivateUsage]
        return [trial.id for trial in new]

    def trials(self, where: str | None = None, **options: Any) -> Runs:
        """Its trials, in any state, by number; `where` and the options are those of `Store.runs`."""
        options.setdefault("order_by", "number")
        trials = "queued_at is not null"
        return self._store.runs(
            trials if where is None else f"{trials} and ({where})", experiment=self, **options
        )

    def trial(self, number: int) -> model.Run:
        """The trial of a number; NotFound where there is none."""
        from runbase.errors import NotFound

        found = self.trials(f"number = {int(number)}")
        if not found:
            raise NotFound(f"experiment {self.name!r} has no trial {number}")
        return self._store.run(found[0])

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
        storage = self._store._storage  # pyright: ignore[reportPrivateUsage]
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
        return _Claiming(self, runner, lease, options)

    # Changes

    def cancel(self, trial: Any, reason: str = "cancelled") -> bool:
        """End a trial that waits or runs, as CANCELLED; False where it has ended. A runner that works on
        it finds out within a third of its lease (`Run.should_stop`).
        """
        return self._store._storage.cancel_trial(self._id(trial), reason)  # pyright: ignore[reportPrivateUsage]

    def requeue(self, trial: Any, reason: str = "requeued") -> model.Run:
        """Put a trial, or any run, into the queue (again), as its next attempt; what it logged stays."""
        key = self._id(trial)
        self._store._storage.requeue_trial(key, reason)  # pyright: ignore[reportPrivateUsage]
        return self._store.run(key)

    def prune(self, trial: Any, reason: str = "pruned") -> model.Run:
        """End a trial as PRUNED: it was not worth going on with."""
        return self._store.set_status(self._id(trial), Status.PRUNED, reason)

    def _id(self, trial: Any) -> str:
        if isinstance(trial, int):
            return self.trial(trial).id
        return trial if isinstance(trial, str) else str(trial.id)


class Claim:
    """A trial that is this runner's, until it is ended, given back, or not renewed in time.

    Attributes: `id`, `attempt` (from 1), `runner`, `lease` (seconds).
    """

    def __init__(self, store: "Store", experiment: str, held: Held) -> None:
        self._store, self._experiment, self._held = store, experiment, held
        self._lease = Lease(held)
        self.id, self.attempt, self.runner, self.lease = (
            held.run,
            held.attempt,
            held.runner,
            held.seconds,
        )

    @functools.cached_property
    def run(self) -> model.Run:
        """Its record, as it was when it was first asked for."""
        return self._store._storage.get_runs([self.id])[0]  # pyright: ignore[reportPrivateUsage]

    @property
    def params(self) -> dict[str, Any]:
        """Its parameters."""
        return self.run.params

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """What else was said with it, and is no parameter."""
        storage = self._store._storage  # pyright: ignore[reportPrivateUsage]
        return storage.attributes("run", [self.id], "config")[self.id]

    @property
    def number(self) -> int:
        """Its number in the experiment."""
        return self.run.number

    def start(self, **options: Any) -> "Run":
        """Begin to run it: a `Run` that renews the claim by itself; the options are those of `start_run`."""
        from runbase.run.start import begin

        options.setdefault("store", self._store)
        return begin(self._held, run_id=self.id, **options)

    def renew(self) -> bool:
        """Keep it for another `lease` seconds; False where it is lost."""
        return self._lease.renew(self._store._storage)  # pyright: ignore[reportPrivateUsage]

    def release(self, reason: str = "given back") -> bool:
        """Give it back to the queue, without using up a retry; False where it is lost."""
        return self._store._storage.release_claim(self.id, self.attempt, reason)  # pyright: ignore[reportPrivateUsage]

    def finish(
        self,
        status: Status | str = Status.COMPLETED,
        *,
        metrics: Mapping[str, Any] | None = None,
        error: str | None = None,
    ) -> bool:
        """End it without a `Run`, with its last metrics; False where the claim is lost, and then nothing
        changes. Raises UsageError for a status that is no end.
        """
        try:
            parsed = Status.parse(status)
        except ValueError as wrong:
            raise UsageError(str(wrong)) from None
        if parsed.phase != "ended":
            raise UsageError(f"a trial cannot end as {parsed.value}, which is no end")
        document = None if error is None else {"type": "error", "message": error, "traceback": ""}
        storage = self._store._storage  # pyright: ignore[reportPrivateUsage]
        points = None if not metrics else _points(metrics)
        return storage.end_trial(self.id, self.attempt, parsed, error=document, metrics=points)

    def __repr__(self) -> str:
        return f"<Claim of {self.runner} on {self.id}, attempt {self.attempt}>"


class _Claiming:
    """`with experiment.claim() as trial`."""

    def __init__(
        self, experiment: Experiment, runner: str | None, lease: float, options: Mapping[str, Any]
    ) -> None:
        self._experiment, self._runner, self._lease = experiment, runner, lease
        self._options = options
        self._run: Run | None = None

    def __enter__(self) -> "Run | None":
        claim = self._experiment.claim_trial(self._runner, lease=self._lease)
        if claim is None:
            return None
        try:
            self._run = claim.start(**self._options)
        except BaseException:
            claim.release("could not be started")
            raise
        return self._run.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._run is not None:
            self._run.__exit__(kind, error, trace)


def bound(store: Any, record: model.Experiment) -> Experiment:
    """A record as an object of its store."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    made = Experiment(**fields)
    vars(made)["_store"] = store
    return made


def this_runner() -> str:
    """This host and process."""
    return f"{socket.gethostname()}:{os.getpid()}"


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


def _points(metrics: Mapping[str, Any]) -> Points:
    plain = {key: to_scalar(key, value)[0] for key, value in flatten(metrics)}
    now = time.time()
    return Points(
        keys=tuple(plain), steps=[0], times=[now], columns=[[value] for value in plain.values()]
    )


__all__ = ["Claim", "Experiment", "bound", "this_runner"]
