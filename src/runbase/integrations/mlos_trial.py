"""A trial as mlos_bench's schedulers run it: its claim, its states, its results and telemetry."""

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mlos_bench.environments.status import Status as Word
from mlos_bench.storage.base_storage import Storage

from runbase.experiment import LEASE, this_runner
from runbase.integrations import mlos_terms as terms
from runbase.integrations.mlos_data import KEPT, RESULT, Access
from runbase.leases import Held, Keeper, Lease

_LOG = logging.getLogger(__name__)


class Trial(Storage.Trial):
    """A trial that a scheduler runs."""

    def __init__(
        self,
        *,
        access: Access,
        run: str,
        runner: int | None,
        status: Word = Word.UNKNOWN,
        **given: Any,
    ) -> None:
        super().__init__(**given)
        self._access, self.run, self._runner = access, run, runner
        self._status = status
        self._lease: Lease | None = None
        self._keeper: Keeper | None = None
        self._attempt: int | None = None
        self.touched = False
        """Whether the scheduler works on it, or has only looked."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lease": None, "_keeper": None}

    def config(self, global_config: dict[str, Any] | None = None) -> dict[str, Any]:
        """What its environment is told: the global configuration and what was said with the trial."""
        self.touched = True  # whoever asks for it is about to run the trial
        return super().config(global_config)

    def update(
        self, status: Word, timestamp: datetime, metrics: dict[str, Any] | None = None
    ) -> dict[str, Any] | None:
        """A state at a time, and at the end the results; RuntimeError where it has ended already."""
        self.touched = True
        when = terms.utc(timestamp)
        metrics = super().update(status, timestamp, metrics)
        ours = terms.STATUSES[status]
        if not status.is_completed():
            if metrics is not None:
                raise ValueError(f"trial {self} is {status.name}: results come with its end")
            if not self._access.storage.tell_status(self.run, ours, when.timestamp(), status.name):
                _LOG.warning("Trial %s: it runs or has ended, and cannot be %s", self, status.name)
            return metrics
        told = {key: terms.plain(value) for key, value in (metrics or {}).items()}
        closed = self._access.storage.close_trial(
            self.run,
            ours,
            attributes={RESULT: told} if told else None,
            metrics=terms.points(told, when.timestamp()),
            ended=when.timestamp(),
            attempt=self._attempt,
            source=status.name,
        )
        self._let_go()
        if not closed:
            raise RuntimeError(
                f"trial {self} cannot be {status.name}: it has ended, or is another scheduler's by now"
            )
        return metrics

    def update_telemetry(
        self, status: Word, timestamp: datetime, metrics: list[tuple[datetime, str, Any]]
    ) -> None:
        """Figures by time, of any type; what is there already stays."""
        self.touched = True
        super().update_telemetry(status, timestamp, metrics)
        if not status.is_completed():  # an end is told by `update`
            when, ours = terms.utc(timestamp).timestamp(), terms.STATUSES[status]
            self._access.storage.tell_status(self.run, ours, when, status.name)
        samples = [
            (terms.utc(when).timestamp(), key, terms.plain(value)) for when, key, value in metrics
        ]
        self._access.storage.add_samples(self.run, samples)

    @property
    def trial_runner_id(self) -> int | None:
        """The number of the runner that it is assigned to."""
        return self._runner

    def set_trial_runner(self, trial_runner: Any) -> int:
        """Assign it to a runner, or to one's number, while it waits; the number that holds."""
        wanted = int(getattr(trial_runner, "trial_runner_id", trial_runner))
        held = self._access.storage.assign(self.run, KEPT, "trial_runner", wanted)
        if held != wanted:
            _LOG.warning("Trial %s stays with runner %s; %s asked for it", self, held, wanted)
        self._runner = int(held)
        return self._runner

    def add_new_config_data(self, new_config_data: Mapping[str, int | float | str]) -> None:
        """Say more with it; ValueError where a key is there already."""
        storage = self._access.storage
        known = {**self._config, **storage.attributes("run", [self.run], "config")[self.run]}
        for key in new_config_data:
            if key in known:
                raise ValueError(f"trial {self} has a {key!r} in its configuration already")
        self._config.update(new_config_data)
        storage.put_attributes("run", self.run, "config", dict(new_config_data))

    # Its claim

    def claim(self, keeper: Keeper) -> bool:
        """Make it this process's; False where it does not wait any more."""
        runner = this_runner()
        claimed = self._access.storage.take_trial(self.run, runner, LEASE)
        if claimed is None:
            return False
        held = Held(run=self.run, attempt=claimed.attempt, runner=runner, seconds=LEASE)
        self._attempt, self._lease, self._keeper = claimed.attempt, Lease(held), keeper
        keeper.add(self._lease)
        return True

    @property
    def claimed(self) -> bool:
        """Whether it is this process's."""
        return self._lease is not None

    def untake(self) -> None:
        """It was only looked at: its claim is to have been none."""
        if self._lease is not None:
            self._access.storage.untake_trial(self.run, self._lease.held.attempt)
            self._attempt = None
            self._let_go()

    def give_back(self) -> None:
        """The scheduler broke off: it waits again, unless it has ended."""
        if not self.touched:
            self.untake()
        elif self._lease is not None:
            attempt = self._lease.held.attempt
            self._access.storage.release_claim(self.run, attempt, "its scheduler broke off")
            self._let_go()

    def _let_go(self) -> None:
        if self._lease is not None and self._keeper is not None:
            self._keeper.drop(self._lease)
        self._lease = None
