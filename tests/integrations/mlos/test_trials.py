"""Trials of mlos_bench: their values, times, configurations and ends."""

import logging
from datetime import timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from mlos_bench.environments.status import Status

from runbase.integrations.mlos import RunbaseStorage
from tests.integrations.mlos.experiments import NOW, SECOND, enter, tunables, typed


def test_values_keep_their_types(storage: RunbaseStorage, root: Path) -> None:
    storage = typed(storage)
    results = {
        "text": "007",
        "long": "x" * 1000,
        "flag": True,
        "int": 2**70,
        "float": 0.1,
        "none": None,
        "nan": float("nan"),
        "numpy": np.float64(1.25),
        "whole": np.int64(3),
        "narrow": np.float32(0.5),
        "latency": 1.0,
        "throughput": np.bool_(True),
    }
    experiment = enter(storage, root)
    trial = experiment.new_trial(tunables(), config={"nested": {"a": [1, 2]}, "flag": False})
    trial.update(Status.SUCCEEDED, NOW, results)
    telemetry = [(NOW + n * SECOND, key, value) for n, (key, value) in enumerate(results.items())]
    for _ in range(2):  # twice is once
        trial.update_telemetry(Status.SUCCEEDED, NOW, telemetry)
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in results.items()}
    ((_, _, (score,), _), kept) = experiment.load(), experiment.load_telemetry(trial.trial_id)
    for found in (score, {key: value for _, key, value in kept}):
        assert repr({k: found[k] for k in plain}) == repr(plain)
    assert [when for when, _, _ in kept] == [when for when, _, _ in telemetry]
    [again] = [experiment.get_trial_by_id(1)]
    assert again.config() == {
        "nested": {"a": [1, 2]},
        "flag": False,
        "experiment_id": "tuning",
        "trial_id": 1,
    }
    data = storage.experiments["tuning"].trials[1]
    assert data.metadata_dict == {"flag": False, "nested": '{"a": [1, 2]}'}
    assert storage.store.sql(
        "select value from latest where key = 'numpy' and experiment = 'tuning'"
    ) == [(1.25,)]


def test_ends_once(storage: RunbaseStorage, root: Path, caplog: pytest.LogCaptureFixture) -> None:
    experiment = enter(storage, root)
    trial = experiment.new_trial(tunables())
    assert trial.status is Status.PENDING
    with pytest.raises(AssertionError, match="cannot have results while it is RUNNING"):
        trial.update(Status.RUNNING, NOW, {"latency": 1.0})
    with pytest.raises(AssertionError):
        trial.update(Status.SUCCEEDED, NOW)
    assert trial.status is Status.PENDING
    assert experiment.get_trial_by_id(1).status is Status.PENDING
    with caplog.at_level(logging.WARNING):
        trial.update(Status.SUCCEEDED, NOW, {"latency": 1.0})
        assert "throughput" in caplog.text  # a target that is missing is worth a warning
    with pytest.raises(RuntimeError, match="has ended"):
        trial.update(Status.FAILED, NOW + SECOND)
    assert trial.status is Status.SUCCEEDED
    caplog.clear()
    trial.update(Status.RUNNING, NOW + SECOND)
    assert "cannot be set to RUNNING" in caplog.text
    assert trial.status is experiment.get_trial_by_id(1).status is Status.SUCCEEDED
    assert experiment.load()[2] == [{"latency": "1.0"}]
    history = storage.store.run(experiment.get_trial_by_id(1).run).history
    assert {change.status.value for change in history} == {"PENDING", "RUNNING", "COMPLETED"}


def test_numbers_of_configurations_have_no_gaps(storage: RunbaseStorage, root: Path) -> None:
    experiment = enter(storage, root)
    numbers = [
        experiment.new_trial(tunables().assign({"readahead": n % 3})).tunable_config_id
        for n in range(9)
    ]
    last = experiment.new_trial(tunables().assign({"readahead": 99})).tunable_config_id
    assert [*numbers, last] == [1, 2, 3] * 3 + [4]


def test_times_keep_their_microseconds(storage: RunbaseStorage, root: Path) -> None:
    experiment = enter(storage, root)
    times = [NOW + timedelta(microseconds=n * 104_729) for n in range(50)]
    for when in times:
        experiment.new_trial(tunables(), when)
    assert [trial.ts_start for trial in storage.experiments["tuning"].trials.values()] == times
    for n, when in enumerate(times):
        assert len(list(experiment.pending_trials(when, running=False))) == n + 1


def test_a_trial_has_tunables_of_its_own(storage: RunbaseStorage, root: Path) -> None:
    experiment, group = enter(storage, root), tunables().assign({"readahead": 5})
    trial = experiment.new_trial(group)
    group.assign({"readahead": 6})
    assert trial.tunables.get_param_values()["readahead"] == 5
    trial.tunables.assign({"readahead": 7})
    assert group.get_param_values()["readahead"] == 6
    assert experiment.get_trial_by_id(1).tunables.get_param_values()["readahead"] == 5


def test_runners_and_more_config(
    storage: RunbaseStorage, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    experiment = enter(storage, root)
    trial, other = (
        experiment.new_trial(tunables(), config={"a": 1}),
        experiment.new_trial(tunables()),
    )
    assert trial.trial_runner_id is None
    assert trial.set_trial_runner(3) == 3
    assert trial.set_trial_runner(4) == 4  # it waits: it can change
    later = NOW + timedelta(days=1000)

    def waiting(assigned: bool | None) -> list[int]:
        found = experiment.pending_trials(later, running=True, trial_runner_assigned=assigned)
        return [t.trial_id for t in found]

    assert (waiting(True), waiting(False), waiting(None)) == ([1], [2], [1, 2])
    trial.update(Status.RUNNING, NOW)
    with caplog.at_level(logging.WARNING):
        assert experiment.get_trial_by_id(1).set_trial_runner(5) == 4
    assert "stays with runner 4" in caplog.text
    other.update(Status.RUNNING, NOW)
    assert other.set_trial_runner(6) == 6  # it had none
    trial.add_new_config_data({"b": "two"})
    assert experiment.get_trial_by_id(1).config()["b"] == "two"
    with pytest.raises(ValueError, match="'a'"):
        experiment.get_trial_by_id(1).add_new_config_data({"c": 1, "a": 2})
    assert "c" not in experiment.get_trial_by_id(1).config()
    with pytest.raises(ValueError):
        experiment.new_trial(tunables(), config={"f": print})


def test_times_without_a_zone_are_local(storage: RunbaseStorage, root: Path) -> None:
    experiment = enter(storage, root)
    trial = experiment.new_trial(tunables(), NOW.astimezone(timezone(timedelta(hours=5))))
    local = NOW.astimezone().replace(tzinfo=None)
    trial.update_telemetry(Status.RUNNING, local, [(local, "x", 1)])
    trial.update(Status.FAILED, local + SECOND)
    data = storage.experiments["tuning"].trials[1]
    assert (data.ts_start, data.ts_end) == (NOW, NOW + SECOND)
    assert experiment.load_telemetry(1) == [(NOW, "x", "1")]
    assert data.ts_end.tzinfo is not None
