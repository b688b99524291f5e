"""The shelf of trials, over a driver: each verb in one transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from runbase.events import ArtifactLogged, ArtifactRemoved, Points
from runbase.status import Status
from runbase.storage.sql import artifacts, trials, typed_values
from runbase.storage.sql import attributes as kept
from runbase.storage.sql.attributes import Sample
from runbase.storage.sql.driver import Driver
from runbase.storage.sql.session import Session
from runbase.storage.sql.trial_writer import lane
from runbase.storage.trial_protocol import Lane
from runbase.storage.types import Claimed, Kind, NewTrial, Observation, Told, TrialRow

T = TypeVar("T")


class TrialStore:
    """Trials of a store."""

    _driver: Driver
    _lanes: list[Lane]
    """The one that there is, once it is asked for; it ends with the store."""

    def add_trials(self, experiment: str, new: Sequence[NewTrial]) -> None:
        """Queue them, numbered without a gap, all in one transaction."""
        self._driver.transact(
            lambda s: trials.add(s, experiment, new)(),
            bulk=len(new) == 1,  # many are poured, which a pipeline cannot
        )

    def claim_trial(self, experiment: str, runner: str, lease: float) -> Claimed | None:
        """The next one that waits, for this runner alone, until `lease` seconds have gone by."""
        with self._driver.look() as session:  # who waits for work takes no turn at writing
            if not trials.has_work(session, experiment, runner):
                return None
        return self._transact(lambda session: trials.claim(session, experiment, runner, lease))

    def take_trial(self, run: str, runner: str, lease: float) -> Claimed | None:
        """A certain one, if it waits, for this runner alone."""
        return self._transact(lambda session: trials.take(session, run, runner, lease))

    def untake_trial(self, run: str, attempt: int) -> bool:
        """A claim is to have been none: it leaves no trace; False where it is lost."""
        return self._transact(lambda session: trials.untake(session, run, attempt))

    def renew_claim(self, run: str, attempt: int, lease: float) -> bool:
        """Keep a claim for longer; False where it is lost."""
        return self._transact(lambda session: trials.renew(session, run, attempt, lease))

    def release_claim(self, run: str, attempt: int, reason: str) -> bool:
        """Give it back, without using up a retry; False where it is lost."""
        return self._transact(lambda session: trials.release(session, run, attempt, reason))

    def end_trial(
        self,
        run: str,
        attempt: int,
        status: Status,
        *,
        error: Mapping[str, Any] | None = None,
        metrics: Points | None = None,
    ) -> bool:
        """Its last metrics and its end; False where the claim is lost, and then nothing changes."""

        def work(session: Session) -> bool:
            if not trials.end(session, run, attempt, status, error):
                return False
            if metrics is not None:
                trials.log(session, run, metrics)
            return True

        return self._driver.transact(work, bulk=True)

    def requeue_trial(self, run: str, reason: str) -> None:
        """Put a run into its experiment's queue (again)."""
        self._transact(lambda session: trials.requeue(session, run, reason))

    def enqueue(self, run: str, due: float) -> None:
        """Make a run that waits a trial of its experiment's queue, due at a time."""

        def work(session: Session) -> None:
            session.run("enqueue_run", run=run, due=session.time(due))

        self._transact(work)

    def cancel_trial(self, run: str, reason: str) -> bool:
        """End one that waits or runs; False where it has ended."""
        return self._transact(lambda session: trials.cancel(session, run, reason))

    def add_trial(self, experiment: str, new: NewTrial) -> int:
        """Queue one; its number."""
        return self._driver.transact(
            lambda session: trials.add(session, experiment, [new])(), bulk=True
        )

    def begin_trial(self, run: str) -> bool:
        """One that waits runs; False where it does not wait (any more)."""
        return self._transact(lambda session: trials.begin(session, run))

    def tell(self, run: str, scope: str, key: str, value: Any) -> bool:
        """Set an attribute of a trial; False where it has ended, and then nothing changes."""
        row = {"of": run, "scope": scope, "key": key, **typed_values.typed(value)}
        return bool(self._driver.once("tell_attribute", **row))

    def assign(self, run: str, scope: str, key: str, value: Any) -> Any:
        """Set an attribute unless it is set and the trial runs or has ended; the value that holds."""

        def work(session: Session) -> Any:
            row = {"of": run, "scope": scope, "key": key, **typed_values.typed(value)}
            session.run("assign_attribute", **row)
            return kept.get(session, "run", [run], scope)[run][key]

        return self._transact(work)

    def tell_status(self, run: str, status: Status, time: float, source: str) -> bool:
        """A state on the way, with the tool's own word; False where it said so of RUNNING, or it has ended."""
        return self._transact(lambda session: trials.tell(session, run, status, time, source))

    def suggest(self, run: str, key: str, value: Any, suggested: str) -> bool:
        """Set a parameter that an optimizer chose, and from what; False where the trial has ended."""
        row = {"of": run, "key": key, **typed_values.typed(value), "suggested": suggested}
        return bool(self._driver.once("suggest_param", **row))

    def close_trial(
        self,
        run: str,
        status: Status,
        *,
        attributes: Mapping[str, Mapping[str, Any]] | None = None,
        metrics: Sequence[Points] = (),
        ended: float | None = None,
        attempt: int | None = None,
        source: str | None = None,
    ) -> bool:
        """End a trial; False where it has ended, or is not in this attempt, and then nothing changes."""
        ending = trials.Ending(
            status=status,
            attributes=attributes or {},
            metrics=metrics,
            ended=ended,
            attempt=attempt,
            source=source,
        )
        return self._driver.transact(lambda session: trials.close(session, run, ending), bulk=True)

    def lane(self) -> Lane:
        """A way for one process's own trials, on which it need not wait for each statement."""
        if not self._lanes:
            self._lanes.append(lane(self, self._driver))
        return self._lanes[0]

    def told(self, experiment: str, after: int, also: Sequence[str] = ()) -> list[Told]:
        """An experiment's runs behind a number, and these, with what tools keep about them, by number."""
        with self._driver.look() as session:
            return trials.told(session, experiment, after, also)

    def trial_rows(self, experiment: str, number: int | None = None) -> list[TrialRow]:
        """An experiment's trials and runs by number, or the one of a number."""
        with self._driver.look() as session:
            return trials.rows(session, experiment, number)

    def due_trials(self, experiment: str, by: float) -> list[TrialRow]:
        """Trials that wait or run and began or are due by a time (in seconds since the epoch), by number.

        Claims on them that ran out are given back first.
        """
        with self._driver.look() as session:  # who looks for work takes no turn at writing
            found, expired = trials.due(session, experiment, by)
        if not expired:
            return found

        def work(session: Session) -> list[TrialRow]:
            trials.expire(session, experiment, trials.server_time(session))
            return trials.due(session, experiment, by)[0]

        return self._transact(work)

    def configs(self, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Number of a configuration → its parameters."""
        with self._driver.look() as session:
            return trials.configs(session, ids)

    def silent(self, experiment: str, seconds: float) -> list[int]:
        """The numbers of trials that run, and gave no sign of life for so long."""
        with self._driver.read() as session:
            return trials.silent(session, experiment, seconds)

    def count_on(self, name: str) -> int:
        """A number that this counter never gave before, from 1."""
        return self._transact(lambda session: session.row("count_on", name=name)["value"])

    def observations(
        self, after: Mapping[str, int], statuses: Sequence[str], metrics: Sequence[str]
    ) -> list[Observation]:
        """The runs of experiments (id → those after this number) in some states, with these metrics."""
        with self._driver.read() as session:
            return trials.observations(session, after, statuses, metrics)

    def settle(self) -> None:
        """Wait for all that is on its way."""
        for each in self._lanes:
            each.settle()

    def log_artifact(self, run: str, event: ArtifactLogged) -> None:
        """A file of a run, told by a tool."""
        self._transact(lambda session: artifacts.logged(session, run, event))

    def remove_artifact(self, run: str, event: ArtifactRemoved) -> None:
        """Its bytes are gone."""
        self._transact(lambda session: artifacts.removed(session, run, event))

    def put_attributes(self, kind: Kind, key: str, scope: str, values: Mapping[str, Any]) -> None:
        """Set what a tool keeps about a run or an experiment."""
        self._transact(lambda session: kept.put(session, kind, key, scope, values))

    def put_all_attributes(
        self, kind: Kind, scope: str, values: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """The same of many in one transaction: id → key → value."""
        self._transact(lambda session: kept.put_all(session, kind, scope, values))

    def attributes(self, kind: Kind, keys: Sequence[str], scope: str) -> dict[str, dict[str, Any]]:
        """What a tool keeps about runs or experiments: id → key → value."""
        with self._driver.read() as session:
            return kept.get(session, kind, keys, scope)

    def add_samples(self, run: str, samples: Iterable[Sample]) -> None:
        """Figures (time, key, value); one that is there already stays."""
        self._transact(lambda session: kept.add_samples(session, run, samples))

    def samples(self, runs: Sequence[str], key: str | None = None) -> list[tuple[str, Sample]]:
        """Figures of runs, of one key or all, by run and time."""
        with self._driver.read() as session:
            return kept.samples(session, runs, key)

    def _transact(self, work: Callable[[Session], T]) -> T:
        return self._driver.transact(work)
