"""A stand-in for the interface of mlos_bench after 0.6.2, and what it must do with our storage.

It changes the base classes of the installed 0.6.2 to the signatures and abstract methods that
microsoft/MLOS documents at commit 549a69ab0, before runbase's storage is imported. Run it as a
process of its own:
``python -m tests.integrations.mlos.newer_interface ADDRESS ROOT_ENVIRONMENT``.
"""

import sys
from abc import abstractmethod
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mlos_bench.environments.status import Status
from mlos_bench.storage import base_storage, base_trial_data

NOW = datetime(2026, 11, 21, 10, 0, 0, 250, tzinfo=UTC)


class _Experiment(base_storage.Storage.Experiment):
    @abstractmethod
    def get_trial_by_id(self, trial_id: int) -> Any: ...

    @abstractmethod
    def pending_trials(
        self, timestamp: datetime, *, running: bool, trial_runner_assigned: bool | None = None
    ) -> Any: ...


class _Trial(base_storage.Storage.Trial):
    def __init__(
        self,
        *,
        tunables: Any,
        experiment_id: str,
        trial_id: int,
        tunable_config_id: int,
        trial_runner_id: int | None,
        opt_targets: Any,
        status: Status,
        restoring: bool,
        config: dict[str, Any] | None = None,
    ) -> None:
        if not restoring and status not in (Status.UNKNOWN, Status.PENDING):
            raise ValueError(status)
        super().__init__(
            tunables=tunables,
            experiment_id=experiment_id,
            trial_id=trial_id,
            tunable_config_id=tunable_config_id,
            opt_targets=opt_targets,
            config=config,
        )
        self._status, self._trial_runner_id = status, trial_runner_id

    @property
    def experiment_id(self) -> str:
        return self._experiment_id

    @property
    def trial_runner_id(self) -> int | None:
        return self._trial_runner_id

    def config(self, global_config: dict[str, Any] | None = None) -> dict[str, Any]:
        config = super().config(global_config)
        if self.trial_runner_id is not None:
            config["trial_runner_id"] = self.trial_runner_id
        return config

    @abstractmethod
    def set_trial_runner(self, trial_runner_id: int) -> int: ...

    def add_new_config_data(self, new_config_data: Any) -> None:
        self._save_new_config_data(new_config_data)

    @abstractmethod
    def _save_new_config_data(self, new_config_data: Any) -> None: ...


class _Storage(base_storage.Storage):
    Experiment = _Experiment
    Trial = _Trial

    @abstractmethod
    def get_experiment_by_id(self, experiment_id: str, tunables: Any, opt_targets: Any) -> Any: ...


class _TrialData(base_trial_data.TrialData):
    def __init__(self, *, trial_runner_id: int | None = None, **given: Any) -> None:
        super().__init__(**given)
        self._trial_runner_id = trial_runner_id

    @property
    def trial_runner_id(self) -> int | None:
        return self._trial_runner_id


def main(address: str, root: str) -> None:
    vars(base_storage)["Storage"] = _Storage
    vars(base_trial_data)["TrialData"] = _TrialData
    from runbase.integrations.mlos import RunbaseStorage
    from tests.integrations.mlos.experiments import enter, tunables

    storage: Any = RunbaseStorage({"store": address})
    assert isinstance(storage, _Storage)
    experiment = enter(storage, Path(root))
    first, _ = (
        experiment.new_trial(tunables().assign({"readahead": n}), NOW, {"repeat_i": n, "on": True})
        for n in (1, 2)
    )
    assert isinstance(first, _Trial)
    assert (first.status, first.trial_runner_id) == (Status.PENDING, None)
    assert "trial_runner_id" not in first.config()
    assert first.set_trial_runner(4) == 4
    assert first.config()["trial_runner_id"] == 4
    first.add_new_config_data({"more": 1})
    try:
        first.add_new_config_data({"more": 2})
    except ValueError:
        pass
    else:
        raise AssertionError("a key was added twice")

    def waiting(assigned: bool | None) -> list[int]:
        found = experiment.pending_trials(NOW, running=False, trial_runner_assigned=assigned)
        return [trial.trial_id for trial in found]

    assert (waiting(None), waiting(True), waiting(False)) == ([1, 2], [1], [2])
    again = experiment.get_trial_by_id(1)
    assert (again.status, again.trial_runner_id) == (Status.PENDING, 4)
    assert {k: again.config()[k] for k in ("repeat_i", "on", "more")} == {
        "repeat_i": "1",
        "on": "True",
        "more": "1",
    }
    found = storage.get_experiment_by_id("tuning", tunables(), {"latency": "min"})
    assert isinstance(found, _Experiment)
    child = found.get_trial_by_id(2)
    child.update(Status.RUNNING, NOW)
    child.update(Status.SUCCEEDED, NOW, {"latency": 1.5})
    data = storage.experiments["tuning"]
    assert [trial.trial_runner_id for trial in data.trials.values()] == [4, None]
    frame = data.results_df
    assert list(frame.columns)[:8] == [
        "trial_id",
        "ts_start",
        "ts_end",
        "tunable_config_id",
        "tunable_config_trial_group_id",
        "status",
        "trial_runner_id",
        "config.ratio",
    ]
    assert frame["trial_runner_id"].tolist()[0] == 4
    assert frame["ts_start"].tolist()[0] == NOW
    storage.store.close()
    print("passed")


if __name__ == "__main__":
    main(*sys.argv[1:])
