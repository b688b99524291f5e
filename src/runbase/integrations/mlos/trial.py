"""A trial as mlos_bench's schedulers run it: its claim, status, results and telemetry."""

import inspect
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mlos_bench.environments.status import Status as Word
from mlos_bench.storage.base_storage import Storage

from runbase.integrations.mlos import terms
from runbase.integrations.mlos.data import KEPT, RESULT, Access
from runbase.run.lease import Held, Lease, LeaseRenewer
from runbase.trials.claim import LEASE, this_runner

_LOG = logging.getLogger(__name__)
_ACCEPTED = frozenset(inspect.signature(Storage.Trial.__init__).parameters)
"""What this version of mlos_bench's base class takes: versions after 0.6.2 also take the runner and the status."""


class Trial(Storage.Trial):
    """A trial that a scheduler runs.

    Args:
        access: the store.
        run: the id of the trial's run.
        trial_runner_id: the runner that it is assigned to.
        status: its status.
        restoring: whether it was read from the database, not made now.
        given: what every version of the base class takes.
    """

    def __init__(
        self,
        *,
        access: Access,
        run: str,
        trial_runner_id: int | None,
        status: Word,
        restoring: bool,
        **given: Any,
    ) -> None:
        more: dict[str, Any] = {
            "trial_runner_id": trial_runner_id,
            "status": status,
            "restoring": restoring,
        }
        super().__init__(**given, **{key: more[key] for key in more if key in _ACCEPTED})
        self._access, self.run = access, run
        self._trial_runner_id, self._status = trial_runner_id, status
        self._lease: Lease | None = None
        self._renewer: LeaseRenewer | None = None
        self._attempt: int | None = None
        self.touched = False
        """Whether the scheduler works on it, or has only looked at it."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lease": None, "_renewer": None}

    def config(self, global_config: dict[str, Any] | None = None) -> dict[str, Any]:
        """The configuration of its environment: the trial's own and the global one."""
        self.touched = True  # a scheduler asks for it before it runs the trial
        return super().config(global_config)

    def update(
        self, status: Word, timestamp: datetime, metrics: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Record a status, and with the last one the results.

        Args:
            status: what the trial is now.
            timestamp: since when; without a zone, local time.
            metrics: name → value; only with a status that ends the trial.

        Returns:
            `metrics`.

        Raises:
            AssertionError: SUCCEEDED without metrics, or metrics with a status that ends nothing.
            RuntimeError: the trial has ended already, or another scheduler has taken it over.
        """
        self.touched = True
        when = terms.utc(timestamp).timestamp()
        before = self._status
        try:
            metrics = super().update(status, timestamp, metrics)
            if status.is_completed():
                self._complete(status, when, metrics or {})
            elif not self._proceed(status, when, metrics):
                self._status = before
        except BaseException:
            self._status = before
            raise
        return metrics

    def _proceed(self, status: Word, when: float, metrics: Mapping[str, Any] | None) -> bool:
        if metrics is not None:
            raise AssertionError(
                f"trial {self} cannot have results while it is {status.name}; "
                "they come with the status that ends it"
            )
        ours = terms.STATUSES[status]
        if self._access.storage.set_trial_status(self.run, ours, when, status.name):
            return True
        _LOG.warning("Trial %s: it runs or has ended, and cannot be %s", self, status.name)
        return False

    def _complete(self, status: Word, when: float, metrics: Mapping[str, Any]) -> None:
        told = {key: terms.plain(value) for key, value in metrics.items()}
        closed = self._access.storage.finish_trial(
            self.run,
            terms.STATUSES[status],
            attributes={RESULT: told} if told else None,
            metrics=terms.points(told, when),
            ended=when,
            attempt=self._attempt,
            source=status.name,
        )
        self._let_go()
        if not closed:
            raise RuntimeError(
                f"trial {self} cannot be {status.name}: it has ended, or another scheduler has taken it over"
            )

    def update_telemetry(
        self, status: Word, timestamp: datetime, metrics: list[tuple[datetime, str, Any]]
    ) -> None:
        """Record telemetry. What is recorded for the same time and metric already stays.

        Args:
            status: what the trial is now.
            timestamp: the time of the status.
            metrics: (time, metric, value) with values of any type.
        """
        self.touched = True
        super().update_telemetry(status, timestamp, metrics)
        if not status.is_completed():  # `update` records the end
            when, ours = terms.utc(timestamp).timestamp(), terms.STATUSES[status]
            self._access.storage.set_trial_status(self.run, ours, when, status.name)
        samples = [
            (terms.utc(when).timestamp(), key, terms.plain(value)) for when, key, value in metrics
        ]
        self._access.storage.add_samples(self.run, samples)

    @property
    def trial_runner_id(self) -> int | None:
        """The number of the runner that it is assigned to."""
        return self._trial_runner_id

    def set_trial_runner(self, trial_runner_id: Any) -> int:
        """Assign it to a runner, which can change while it waits; returns the runner it has then.

        Args:
            trial_runner_id: the runner's number, or a TrialRunner.
        """
        wanted = int(getattr(trial_runner_id, "trial_runner_id", trial_runner_id))
        held = self._access.storage.set_attribute_once(self.run, KEPT, "trial_runner", wanted)
        if held != wanted:
            _LOG.warning("Trial %s stays with runner %s; %s asked for it", self, held, wanted)
        self._trial_runner_id = int(held)
        return self._trial_runner_id

    def add_new_config_data(self, new_config_data: Mapping[str, int | float | str]) -> None:
        """Add to its configuration; ValueError where it has a key already, and then nothing is added."""
        storage = self._access.storage
        known = {**self._config, **storage.attributes("run", [self.run], "config")[self.run]}
        for key in new_config_data:
            if key in known:
                raise ValueError(f"trial {self} has {key!r} in its configuration already")
        self._config.update(new_config_data)
        self._save_new_config_data(new_config_data)

    def _save_new_config_data(self, new_config_data: Mapping[str, int | float | str]) -> None:
        self._access.storage.put_attributes("run", self.run, "config", dict(new_config_data))

    # Its claim

    def claim(self, renewer: LeaseRenewer) -> bool:
        """Claim it for this process; False where it does not wait any more."""
        runner = this_runner()
        claimed = self._access.storage.claim_trial_by_id(self.run, runner, LEASE)
        if claimed is None:
            return False
        held = Held(run=self.run, attempt=claimed.attempt, runner=runner, seconds=LEASE)
        self._attempt, self._lease, self._renewer = claimed.attempt, Lease(held), renewer
        renewer.add(self._lease)
        return True

    @property
    def claimed(self) -> bool:
        """Whether this process has claimed it."""
        return self._lease is not None

    def untake(self) -> None:
        """Undo the claim without a trace: the scheduler only looked at the trial."""
        if self._lease is not None:
            self._access.storage.undo_claim(self.run, self._lease.held.attempt)
            self._attempt = None
            self._let_go()

    def give_back(self) -> None:
        """The scheduler stopped early: the trial waits again, unless it has ended."""
        if not self.touched:
            self.untake()
        elif self._lease is not None:
            attempt = self._lease.held.attempt
            self._access.storage.release_claim(self.run, attempt, "its scheduler stopped early")
            self._let_go()

    def _let_go(self) -> None:
        if self._lease is not None and self._renewer is not None:
            self._renewer.drop(self._lease)
        self._lease = None
