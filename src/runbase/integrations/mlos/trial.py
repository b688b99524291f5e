"""The trial object of mlos_bench's schedulers: claim, status, results and telemetry."""

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
"""The arguments of the installed base class: versions after 0.6.2 also accept the runner and the status."""


class Trial(Storage.Trial):
    """A trial that a scheduler runs.

    Args:
        access: the store.
        run: the id of the run.
        trial_runner_id: the runner that it is assigned to.
        status: its status.
        restoring: whether it was read from the database, not created now.
        given: the arguments that every version of the base class accepts.
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
        """Whether the scheduler works on it, as opposed to only reading it."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lease": None, "_renewer": None}

    def config(self, global_config: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the configuration of its environment: that of the trial and the global one."""
        self.touched = True  # a scheduler calls this before it runs the trial
        return super().config(global_config)

    def update(
        self, status: Word, timestamp: datetime, metrics: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """Record a status and, with a final one, the results.

        Args:
            status: the new status.
            timestamp: the time of the status; without a zone, local time.
            metrics: name → value; only with a final status.

        Returns:
            `metrics`.

        Raises:
            AssertionError: SUCCEEDED without metrics, or metrics with a status that is not final.
            RuntimeError: the trial has already ended, or another scheduler has claimed it.
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
                "pass them with a final status"
            )
        ours = terms.STATUSES[status]
        if self._access.storage.set_trial_status(self.run, ours, when, status.name):
            return True
        _LOG.warning("Trial %s is running or has ended, and cannot be set to %s", self, status.name)
        return False

    def _complete(self, status: Word, when: float, metrics: Mapping[str, Any]) -> None:
        results = {key: terms.plain(value) for key, value in metrics.items()}
        closed = self._access.storage.finish_trial(
            self.run,
            terms.STATUSES[status],
            attributes={RESULT: results} if results else None,
            metrics=terms.points(results, when),
            ended=when,
            attempt=self._attempt,
            source=status.name,
        )
        self._drop_lease()
        if not closed:
            raise RuntimeError(
                f"trial {self} cannot be set to {status.name}: it has ended, or another scheduler has claimed it"
            )

    def update_telemetry(
        self, status: Word, timestamp: datetime, metrics: list[tuple[datetime, str, Any]]
    ) -> None:
        """Record telemetry. A stored value for the same time and metric is not replaced.

        Args:
            status: the current status of the trial.
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
        """Assign the trial to a runner, unless it has one; return the assigned runner.

        Args:
            trial_runner_id: the number of the runner, or a TrialRunner.
        """
        wanted = int(getattr(trial_runner_id, "trial_runner_id", trial_runner_id))
        held = self._access.storage.set_attribute_once(self.run, KEPT, "trial_runner", wanted)
        if held != wanted:
            _LOG.warning("Trial %s stays with runner %s; %s asked for it", self, held, wanted)
        self._trial_runner_id = int(held)
        return self._trial_runner_id

    def add_new_config_data(self, new_config_data: Mapping[str, int | float | str]) -> None:
        """Add keys to its configuration; raise ValueError, and add nothing, if one of them exists."""
        storage = self._access.storage
        known = {**self._config, **storage.attributes("run", [self.run], "config")[self.run]}
        for key in new_config_data:
            if key in known:
                raise ValueError(f"trial {self} already has {key!r} in its configuration")
        self._config.update(new_config_data)
        self._save_new_config_data(new_config_data)

    def _save_new_config_data(self, new_config_data: Mapping[str, int | float | str]) -> None:
        self._access.storage.put_attributes("run", self.run, "config", dict(new_config_data))

    # Claim

    def claim(self, renewer: LeaseRenewer) -> bool:
        """Claim the trial for this process; return False if it is no longer waiting."""
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
        """Whether this process has claimed the trial."""
        return self._lease is not None

    def untake(self) -> None:
        """Undo the claim without a history entry: the scheduler only read the trial."""
        if self._lease is not None:
            self._access.storage.undo_claim(self.run, self._lease.held.attempt)
            self._attempt = None
            self._drop_lease()

    def give_back(self) -> None:
        """Release the trial to the queue, unless it has ended, because the scheduler stopped early."""
        if not self.touched:
            self.untake()
        elif self._lease is not None:
            attempt = self._lease.held.attempt
            self._access.storage.release_claim(self.run, attempt, "scheduler stopped early")
            self._drop_lease()

    def _drop_lease(self) -> None:
        if self._lease is not None and self._renewer is not None:
            self._renewer.drop(self._lease)
        self._lease = None
