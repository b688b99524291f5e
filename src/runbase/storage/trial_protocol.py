"""What every storage backend promises of trials: a queue that many claim from, and what optimizers tell and ask.

**Claims.** Of any number of claimers at once, each gets another trial. A claim holds for its lease, by the database's
clock, and whatever an attempt still says after it was lost changes nothing of a later one's.

**Ends.** A trial ends once: who comes second is told so.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from runbase.events import ArtifactLogged, ArtifactRemoved, Points
from runbase.status import Status
from runbase.storage.types import Claimed, Kind, NewTrial, Observation, Told, TrialRow


class TrialWriter(Protocol):
    """A way for trials that one process makes, runs and ends. What it is told is on its way to the database
    when a call returns, in order, and survives the end of the process; `settle` waits for it.
    """

    lost: set[str]
    """Trials that turned out to have ended by others' hands."""

    def add_trial(self, experiment: str, new: NewTrial) -> int:
        """Make one that runs; its number."""
        ...

    def set_param(self, run: str, key: str, value: Any, suggested: str) -> None:
        """A parameter that an optimizer chose, and from what."""
        ...

    def set_attribute(self, run: str, scope: str, key: str, value: Any) -> None:
        """An attribute."""
        ...

    def finish_trial(
        self,
        run: str,
        status: Status,
        *,
        params: Mapping[str, Any],
        attributes: Mapping[str, Mapping[str, Any]],
        metrics: Sequence[Points],
        ended: float,
    ) -> bool:
        """Its end; False where it has ended."""
        ...

    def trial_updates(self, experiment: str, after: int, also: Sequence[str] = ()) -> list[Told]:
        """As `Storage.told`, behind all that was said here."""
        ...

    def flush(self) -> None:
        """Wait until the database has all of it."""
        ...

    def end(self) -> None:
        """Settle, and let go of what it holds."""
        ...


class TrialStorage(Protocol):
    """The trials of a store."""

    def add_trials(self, experiment: str, new: Sequence[NewTrial]) -> None:
        """Queue them, numbered without a gap, all in one transaction."""
        ...

    def claim_trial(self, experiment: str, runner: str, lease: float) -> Claimed | None:
        """The next one that waits, for this runner alone, until `lease` seconds have gone by."""
        ...

    def claim_trial_by_id(self, run: str, runner: str, lease: float) -> Claimed | None:
        """A certain one, if it waits, for this runner alone."""
        ...

    def undo_claim(self, run: str, attempt: int) -> bool:
        """A claim is to have been none: it leaves no trace; False where it is lost."""
        ...

    def renew_claim(self, run: str, attempt: int, lease: float) -> bool:
        """Keep a claim for longer; False where it is lost."""
        ...

    def release_claim(self, run: str, attempt: int, reason: str) -> bool:
        """Give it back, without using up a retry; False where it is lost."""
        ...

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
        ...

    def requeue_trial(self, run: str, reason: str) -> None:
        """Put a run into its experiment's queue (again)."""
        ...

    def enqueue(self, run: str, due: float) -> None:
        """Make a run that waits a trial of its experiment's queue, due at a time (seconds since the epoch)."""
        ...

    def cancel_trial(self, run: str, reason: str) -> bool:
        """End one that waits or runs; False where it has ended."""
        ...

    def add_trial(self, experiment: str, new: NewTrial) -> int:
        """Queue one; its number."""
        ...

    def begin_trial(self, run: str) -> bool:
        """One that waits runs; False where it does not wait (any more)."""
        ...

    def set_attribute(self, run: str, scope: str, key: str, value: Any) -> bool:
        """Set an attribute of a trial; False where it has ended, and then nothing changes."""
        ...

    def set_attribute_once(self, run: str, scope: str, key: str, value: Any) -> Any:
        """Set an attribute unless it is set and the trial runs or has ended; the value that holds."""
        ...

    def set_trial_status(self, run: str, status: Status, time: float, source: str) -> bool:
        """A state on the way, with the tool's own word; False where it said so of RUNNING, or it has ended."""
        ...

    def set_param(self, run: str, key: str, value: Any, suggested: str) -> bool:
        """Set a parameter that an optimizer chose, and from what; False where the trial has ended."""
        ...

    def finish_trial(
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
        """End a trial; False where it has ended, or is not in this attempt, and then nothing changes.

        `source` is the tool's own word for the state.
        """
        ...

    def trial_writer(self) -> TrialWriter:
        """A way for one process's own trials, on which it need not wait for each statement."""
        ...

    def trial_updates(self, experiment: str, after: int, also: Sequence[str] = ()) -> list[Told]:
        """An experiment's runs behind a number, and these, with what tools keep about them, by number."""
        ...

    def trial_rows(self, experiment: str, number: int | None = None) -> list[TrialRow]:
        """An experiment's trials and runs by number, or the one of a number."""
        ...

    def due_trials(self, experiment: str, by: float) -> list[TrialRow]:
        """Trials that wait or run and began or are due by a time (in seconds since the epoch), by number.

        Claims on them that ran out are given back first.
        """
        ...

    def configs(self, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Number of a configuration → its parameters."""
        ...

    def stale_trials(self, experiment: str, seconds: float) -> list[int]:
        """The numbers of trials that run, and gave no sign of life for so long."""
        ...

    def count_on(self, name: str) -> int:
        """A number that this counter never gave before, from 1."""
        ...

    def observations(
        self, after: Mapping[str, int], statuses: Sequence[str], metrics: Sequence[str]
    ) -> list[Observation]:
        """The trials and runs of experiments (id → those after this number) in some states, with these
        metrics, by experiment and number; two queries.
        """
        ...

    def flush(self) -> None:
        """Wait for all that is on its way, on every lane."""
        ...

    def log_artifact(self, run: str, event: ArtifactLogged) -> None:
        """A file of a run, told by a tool."""
        ...

    def remove_artifact(self, run: str, event: ArtifactRemoved) -> None:
        """Its bytes are gone."""
        ...

    def put_attributes(self, kind: Kind, key: str, scope: str, values: Mapping[str, Any]) -> None:
        """Set what a tool keeps about a run or an experiment."""
        ...

    def put_all_attributes(
        self, kind: Kind, scope: str, values: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """The same of many in one transaction: id → key → value."""
        ...

    def attributes(self, kind: Kind, keys: Sequence[str], scope: str) -> dict[str, dict[str, Any]]:
        """What a tool keeps about runs or experiments: id → key → value."""
        ...

    def add_samples(self, run: str, samples: Iterable[tuple[float, str, Any]]) -> None:
        """Figures (time, key, value); one that is there already stays."""
        ...

    def samples(
        self, runs: Sequence[str], key: str | None = None
    ) -> list[tuple[str, tuple[float, str, Any]]]:
        """Figures of runs, of one key or all, by run and time."""
        ...
