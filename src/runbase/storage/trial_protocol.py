"""The interface and the guarantees of every storage backend for trials: a queue that many processes claim from, and optimizer data.

**Claims.** Of any number of concurrent claimers, each gets a different trial. A claim is valid for its lease, by the
database's clock. What an attempt reports after its claim was lost does not change a later attempt.

**Ends.** A trial ends once: a second end returns False and changes nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from runbase.events import ArtifactLogged, ArtifactRemoved, Points
from runbase.status import Status
from runbase.storage.types import Claimed, Kind, NewTrial, Observation, TrialRow, TrialUpdate


class TrialWriter(Protocol):
    """Writes trials that one process creates, runs and ends.

    When a call returns, its data has been sent to the database, in order, and survives the end of the process; `flush`
    waits until it is stored.
    """

    lost: set[str]
    """Trials that another process ended."""

    def add_trial(self, experiment: str, new: NewTrial) -> int:
        """Create a running trial; returns its number."""
        ...

    def set_param(self, run: str, key: str, value: Any, suggested: str) -> None:
        """Set a parameter that an optimizer chose, and the distribution that it was chosen from."""
        ...

    def set_attribute(self, run: str, scope: str, key: str, value: Any) -> None:
        """Set an attribute of a trial."""
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
        """End a trial; False if it has ended."""
        ...

    def trial_updates(
        self, experiment: str, after: int, also: Sequence[str] = ()
    ) -> list[TrialUpdate]:
        """Return what `TrialStorage.trial_updates` returns, after all statements that were sent here."""
        ...

    def flush(self) -> None:
        """Wait until all data that was sent is stored."""
        ...

    def end(self) -> None:
        """Flush, and close the connection."""
        ...


class TrialStorage(Protocol):
    """The trials of a store."""

    def add_trials(self, experiment: str, new: Sequence[NewTrial]) -> None:
        """Queue trials, numbered without gaps, in one transaction."""
        ...

    def claim_trial(self, experiment: str, runner: str, lease: float) -> Claimed | None:
        """Claim the next trial in the queue, for one runner, for `lease` seconds; None if no trial is waiting."""
        ...

    def claim_trial_by_id(self, run: str, runner: str, lease: float) -> Claimed | None:
        """Claim a certain trial for one runner; None if it is not waiting."""
        ...

    def undo_claim(self, run: str, attempt: int) -> bool:
        """Undo a claim as if it had not been made; False if it is lost."""
        ...

    def renew_claim(self, run: str, attempt: int, lease: float) -> bool:
        """Extend a claim; False if it is lost."""
        ...

    def release_claim(self, run: str, attempt: int, reason: str) -> bool:
        """Return a claimed trial to the queue without using up a retry; False if the claim is lost."""
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
        """Store the last metrics of a claimed trial and end it; False, without any change, if the claim is lost."""
        ...

    def requeue_trial(self, run: str, reason: str) -> None:
        """Put a run into its experiment's queue, again or for the first time."""
        ...

    def enqueue(self, run: str, due: float) -> None:
        """Put a waiting run into its experiment's queue of trials, due at a time (seconds since the epoch)."""
        ...

    def cancel_trial(self, run: str, reason: str) -> bool:
        """End a waiting or running trial; False if it has ended."""
        ...

    def add_trial(self, experiment: str, new: NewTrial) -> int:
        """Queue a trial; returns its number."""
        ...

    def begin_trial(self, run: str) -> bool:
        """Set a waiting trial to RUNNING; False if it is not waiting."""
        ...

    def set_attribute(self, run: str, scope: str, key: str, value: Any) -> bool:
        """Set an attribute of a trial; False, without any change, if it has ended."""
        ...

    def set_attribute_once(self, run: str, scope: str, key: str, value: Any) -> Any:
        """Set an attribute unless it is set and the trial runs or has ended; returns the attribute's value."""
        ...

    def set_trial_status(self, run: str, status: Status, time: float, source: str) -> bool:
        """Store a status before the end, with the tool's own name for it; False if the trial has ended or is RUNNING already."""
        ...

    def set_param(self, run: str, key: str, value: Any, suggested: str) -> bool:
        """Set a parameter that an optimizer chose, and the distribution; False if the trial has ended."""
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
        """End a trial; False, without any change, if it has ended or is in another attempt.

        `source` is the tool's own name for the status.
        """
        ...

    def trial_writer(self) -> TrialWriter:
        """Return the writer of this process's own trials, which does not wait for each statement."""
        ...

    def trial_updates(
        self, experiment: str, after: int, also: Sequence[str] = ()
    ) -> list[TrialUpdate]:
        """Return an experiment's runs after a number, and the runs `also`, with their attributes, by number."""
        ...

    def trial_rows(self, experiment: str, number: int | None = None) -> list[TrialRow]:
        """Return an experiment's trials and runs by number, or the one with a number."""
        ...

    def due_trials(self, experiment: str, by: float) -> list[TrialRow]:
        """Return waiting or running trials that started or are due by a time (seconds since the epoch), by number.

        Expired claims on them are released first.
        """
        ...

    def configs(self, ids: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return the parameters of configurations, by number."""
        ...

    def stale_trials(self, experiment: str, seconds: float) -> list[int]:
        """Return the numbers of running trials without a heartbeat for so many seconds."""
        ...

    def count_on(self, name: str) -> int:
        """Return the next number of a counter, starting at 1; no number is returned twice."""
        ...

    def observations(
        self, after: Mapping[str, int], statuses: Sequence[str], metrics: Sequence[str]
    ) -> list[Observation]:
        """Return the runs of experiments in some states with some metrics, by experiment and number, in two queries.

        Args:
            after: experiment id → only runs with a greater number.
            statuses: the states.
            metrics: keys of metrics.
        """
        ...

    def flush(self) -> None:
        """Wait until all data that trial writers sent is stored."""
        ...

    def log_artifact(self, run: str, event: ArtifactLogged) -> None:
        """Record an artifact of a run without a journal."""
        ...

    def remove_artifact(self, run: str, event: ArtifactRemoved) -> None:
        """Record that the content of an artifact was removed."""
        ...

    def put_attributes(self, kind: Kind, key: str, scope: str, values: Mapping[str, Any]) -> None:
        """Set attributes of a run or an experiment, in a tool's scope."""
        ...

    def put_all_attributes(
        self, kind: Kind, scope: str, values: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Set attributes of many runs or experiments, id → key → value, in one transaction."""
        ...

    def attributes(self, kind: Kind, keys: Sequence[str], scope: str) -> dict[str, dict[str, Any]]:
        """Return attributes in a tool's scope: id → key → value."""
        ...

    def add_samples(self, run: str, samples: Iterable[tuple[float, str, Any]]) -> None:
        """Store telemetry (time, key, value); existing values are kept."""
        ...

    def samples(
        self, runs: Sequence[str], key: str | None = None
    ) -> list[tuple[str, tuple[float, str, Any]]]:
        """Return telemetry of runs, of one key or all, by run and time."""
        ...
