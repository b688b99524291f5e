"""The storage answers as mlos_bench's own storage does, on both databases."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlos_bench.environments.status import Status
from mlos_bench.storage.base_storage import Storage
from mlos_bench.storage.sql.storage import SqlStorage

from runbase.integrations.mlos import RunbaseStorage
from tests.integrations.mlos.experiments import NOW, SECOND, enter, tunables, work


@pytest.fixture
def both(storage: RunbaseStorage, root: Path, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """The same work on mlos_bench's storage and on ours."""
    path = str(tmp_path / "theirs.db")
    theirs = SqlStorage({"drivername": "sqlite", "database": path})
    pair = enter(theirs, root), enter(storage, root)
    for experiment in pair:
        work(experiment)
    yield theirs, storage
    for experiment in pair:
        experiment.__exit__(None, None, None)


def test_frames_are_the_same_column_by_column(both: tuple[Storage, Storage]) -> None:
    theirs, ours = (storage.experiments["tuning"] for storage in both)
    expected, found = theirs.results_df, ours.results_df
    assert list(found.columns) == list(expected.columns)
    pd.testing.assert_frame_equal(found, expected)
    assert len(found) == 6
    for number, group in theirs.tunable_config_trial_groups.items():
        same = ours.tunable_config_trial_groups[number].results_df
        pd.testing.assert_frame_equal(same, group.results_df)


def test_data_objects_are_the_same(both: tuple[Storage, Storage]) -> None:
    theirs, ours = (storage.experiments["tuning"] for storage in both)
    assert repr(ours) == repr(theirs)
    assert ours.objectives == theirs.objectives == {"latency": "min", "throughput": "max"}
    assert ours.root_env_config == theirs.root_env_config
    assert ours.root_env_config[1] == "https://example.org/tuning.git"
    assert ours.default_tunable_config_id == theirs.default_tunable_config_id == 2
    assert list(ours.tunable_configs) == list(theirs.tunable_configs) == [1, 2, 3, 4, 5]
    for number, config in theirs.tunable_configs.items():
        assert ours.tunable_configs[number].config_dict == config.config_dict
        pd.testing.assert_frame_equal(ours.tunable_configs[number].config_df, config.config_df)
    assert ours.trials.keys() == theirs.trials.keys()
    for number, trial in theirs.trials.items():
        same = ours.trials[number]
        assert same.status is trial.status
        assert (same.experiment_id, same.trial_id) == (trial.experiment_id, trial.trial_id)
        assert same.tunable_config_id == trial.tunable_config_id
        assert (same.ts_start, same.ts_end) == (trial.ts_start, trial.ts_end)
        assert same.results_dict == trial.results_dict
        assert list(same.telemetry_df.columns) == list(trial.telemetry_df.columns)
        for kind in ("telemetry_df", "metadata_df", "results_df"):
            pd.testing.assert_frame_equal(getattr(same, kind), getattr(trial, kind), obj=kind)
        assert same.metadata_dict == trial.metadata_dict
        assert same.tunable_config.config_dict == trial.tunable_config.config_dict
        group = trial.tunable_config_trial_group
        assert same.tunable_config_trial_group.tunable_config_trial_group_id == (
            group.tunable_config_trial_group_id
        )
    groups = theirs.tunable_config_trial_groups
    assert len(ours.tunable_config_trial_groups) == len(groups)
    for number, group in groups.items():
        same_group = ours.tunable_config_trial_groups[number]
        assert same_group.tunable_config_trial_group_id == group.tunable_config_trial_group_id
        assert same_group.trials.keys() == group.trials.keys()
        assert list(same_group.results_df["trial_id"]) == list(group.results_df["trial_id"])
        assert same_group.tunable_config.config_dict == group.tunable_config.config_dict


def test_what_an_optimizer_loads_is_the_same(both: tuple[Storage, Storage], root: Path) -> None:
    def loaded(storage: Storage, after: int) -> Any:
        experiment = enter(storage, root)
        return experiment.load(after)

    theirs, ours = both
    for after in (-1, 1, 3, 9):
        assert loaded(ours, after) == loaded(theirs, after)
    assert loaded(ours, -1)[0] == [1, 2, 3, 4]
    experiment = enter(ours, root)
    assert experiment.trial_id == enter(theirs, root).trial_id == 7
    same = enter(theirs, root)
    for number in (1, 5, 77):
        assert experiment.load_tunable_config(number) == same.load_tunable_config(number)
        assert experiment.load_telemetry(number) == same.load_telemetry(number)
    assert experiment.load_tunable_config(1) == {
        "scheduler": "bfq",
        "readahead": "128",
        "ratio": "0.25",
    }


def test_what_waits_is_the_same(both: tuple[Storage, Storage], root: Path) -> None:
    theirs, ours = both
    for experiment in (enter(theirs, root), enter(ours, root)):
        trial = experiment.new_trial(tunables(), NOW + 100 * SECOND)
        ready = experiment.new_trial(tunables(), NOW)
        ready.update(Status.READY, NOW + SECOND)
        running = experiment.new_trial(tunables(), NOW)
        running.update(Status.RUNNING, NOW + SECOND)
        running.update(Status.READY, NOW + 2 * SECOND)  # never overwrites that it runs
        for _ in range(2):  # looking changes nothing
            pending = [
                t.trial_id for t in experiment.pending_trials(NOW + 50 * SECOND, running=False)
            ]
            assert pending == [6]
            pending = [
                t.trial_id for t in experiment.pending_trials(NOW + 100 * SECOND, running=True)
            ]
            assert pending == [6, 7, 8, 9]
        found = next(iter(experiment.pending_trials(NOW + 50 * SECOND, running=False)))
        assert found.tunables.get_param_values()["readahead"] == 7
        assert not found.tunables.is_updated()
        assert found.opt_targets == {"latency": "min", "throughput": "max"}
        assert found.config({"more": 1})["more"] == 1
        assert {str(v) for v in found.config().values()} >= {"tuning", "6", "Mock"}
        assert trial.trial_id == 7
