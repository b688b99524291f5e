"""mlos_bench's storage interface on runbase, beside mlos_bench's own storage, on both databases."""

import json
import logging
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlos_bench.environments.status import Status
from mlos_bench.storage.base_storage import Storage
from mlos_bench.storage.sql.storage import SqlStorage
from mlos_bench.storage.storage_factory import from_config
from mlos_bench.tunables.tunable_groups import TunableGroups

import runbase
from runbase.integrations.mlos import RunbaseStorage
from runbase.run.lease import LeaseRenewer
from runbase.space import Categorical, Float, Int
from tests.patience import PATIENCE

NOW = datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def tunables(**more: Any) -> TunableGroups:
    return TunableGroups(
        {
            "kernel": {
                "cost": 1,
                "params": {
                    "scheduler": {
                        "type": "categorical",
                        "values": ["none", "bfq"],
                        "default": "none",
                    },
                    "readahead": {
                        "type": "int",
                        "range": [0, 4096],
                        "default": -1,
                        "special": [-1],
                    },
                },
            },
            "cache": {
                "cost": 1,
                "params": {
                    "ratio": {"type": "float", "range": [0.01, 1], "log": True, "default": 0.5},
                    **more,
                },
            },
        }
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An environment's file, under version control, as mlos_bench wants it."""
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "environment.jsonc").write_text("{}")
    for command in (
        ["init", "-q"],
        ["remote", "add", "origin", "https://example.org/tuning.git"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "first"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder / "environment.jsonc"


@pytest.fixture(params=["sqlite", "postgres"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunbaseStorage]:
    url = str(tmp_path / "mlos.db")
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")
    made = RunbaseStorage({"store": url})
    yield made
    made.store.close()


def enter(storage: Storage, root: Path, name: str = "tuning", **changes: Any) -> Any:
    given: dict[str, Any] = {
        "experiment_id": name,
        "trial_id": 1,
        "root_env_config": str(root),
        "description": "the kernel",
        "tunables": tunables(),
        "opt_targets": {"latency": "min", "throughput": "max"},
    }
    return storage.experiment(**{**given, **changes}).__enter__()


def work(experiment: Any) -> None:
    """What a scheduler may do, at times of its own."""
    values = [
        {"scheduler": "bfq", "readahead": 128, "ratio": 0.25},
        {"scheduler": "none", "readahead": -1, "ratio": 0.5},
        {"scheduler": "bfq", "readahead": 128, "ratio": 0.25},
        {"scheduler": "bfq", "readahead": 1, "ratio": 1.0},
        {"scheduler": "none", "readahead": 2, "ratio": 0.125},
        {"scheduler": "none", "readahead": 7, "ratio": 0.125},
    ]
    trials = []
    for n, one in enumerate(values):
        group = tunables().assign(one)
        config = {"is_defaults": n == 1, "repeat_i": n, "optimizer": "Mock", "note": None}
        trials.append(experiment.new_trial(group, NOW + n * SECOND, config))
    for n, trial in enumerate(trials[:4]):
        trial.update(Status.READY, NOW + (10 + n) * SECOND)
        trial.update(Status.RUNNING, NOW + (20 + n) * SECOND)
        trial.update_telemetry(
            Status.RUNNING,
            NOW + (21 + n) * SECOND,
            [
                (NOW + (20 + n) * SECOND, "cpu", 0.5 + n),
                (NOW + (20 + n) * SECOND, "state", "warm"),
                (NOW + (21 + n) * SECOND, "cpu", 7),
            ],
        )
    trials[0].update(
        Status.SUCCEEDED,
        NOW + 40 * SECOND,
        {"latency": 1.5, "throughput": 100, "version": "v2", "nothing": None},
    )
    trials[1].update(Status.SUCCEEDED, NOW + 41 * SECOND, {"latency": 2.5, "throughput": 90})
    trials[2].update(Status.FAILED, NOW + 42 * SECOND)
    trials[3].update(Status.TIMED_OUT, NOW + 43 * SECOND, {"latency": 99.0})
    trials[4].update(Status.CANCELED, NOW + 44 * SECOND)


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


# The same as their own storage


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


# Better than their own


def typed(storage: RunbaseStorage) -> RunbaseStorage:
    """The same store, with values of their types."""
    return RunbaseStorage({"store": storage._access._address, "values": "typed"})


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


def test_an_experiment_in_sql_and_native(storage: RunbaseStorage, root: Path) -> None:
    experiment = enter(storage, root)
    work(experiment)
    native = storage.store.experiment("tuning")
    assert native.space == {
        "scheduler": Categorical(["none", "bfq"], default="none"),
        "readahead": Int(0, 4096, default=-1, special=[-1]),
        "ratio": Float(0.01, 1, log=True, default=0.5),
    }
    assert (native.status, native.method) == ("RUNNING", "mlos_bench")
    assert [trial.number for trial in native.best_trials(2)] == [1, 2]
    rows = storage.store.sql("select number, status, source_status from runs order by number")
    assert rows == [
        (1, "COMPLETED", "SUCCEEDED"),
        (2, "COMPLETED", "SUCCEEDED"),
        (3, "FAILED", "FAILED"),
        (4, "TIMEOUT", "TIMED_OUT"),
        (5, "CANCELLED", "CANCELED"),
        (6, "PENDING", None),
    ]
    experiment.__exit__(None, None, None)
    assert storage.store.experiment("tuning").status == "SUCCEEDED"
    with native.claim(capture=False) as run:  # a worker of ours goes on with the queue
        assert run is not None
        run.log({"latency": 0.5, "throughput": 1.0})
    storage.store.sync()
    frame = storage.experiments["tuning"].results_df
    assert frame["result.latency"].tolist()[-1] == 0.5
    assert frame["status"].tolist()[-1] == "SUCCEEDED"


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


def test_goes_on_and_warns_of_what_changed(
    storage: RunbaseStorage, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    experiment = enter(storage, root)
    assert experiment.trial_id == 1
    experiment.new_trial(tunables())
    experiment.__exit__(None, None, None)
    (root.parent / "more").write_text("x")
    for command in (
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@e", "commit", "-qm", "2"],
    ):
        subprocess.run(["git", *command], cwd=root.parent, check=True)
    with caplog.at_level(logging.WARNING):
        again = enter(storage, root, opt_targets={"latency": "max"})
    assert again.trial_id == 2
    assert "is continued at" in caplog.text
    assert "started with other objectives" in caplog.text
    assert storage.experiments["tuning"].objectives == {"latency": "min", "throughput": "max"}


def test_numbers_begin_where_they_are_told_to(storage: RunbaseStorage, root: Path) -> None:
    experiment = enter(storage, root, trial_id=100)
    assert [experiment.new_trial(tunables()).trial_id for _ in range(3)] == [100, 101, 102]
    again = enter(storage, root, trial_id=1)
    assert again.trial_id == 103
    trial = again.get_trial_by_id(101)
    assert trial.trial_id == 101
    trial.update(Status.FAILED, NOW)
    assert again.load()[0] == again.load(100)[0] == [101]
    assert again.load(101)[0] == []
    assert list(storage.experiments["tuning"].trials) == [100, 101, 102]
    assert again.get_trial_by_id(1) is None


def test_an_experiment_without_trials_takes_a_later_first_number(
    storage: RunbaseStorage, root: Path
) -> None:
    enter(storage, root, trial_id=1).__exit__(None, None, None)
    first = enter(storage, root, trial_id=100)
    second = enter(storage, root, trial_id=500)  # while the first one has made no trial yet
    assert [first.new_trial(tunables()).trial_id, second.new_trial(tunables()).trial_id] == [
        500,
        501,
    ]
    assert first.trial_id == 501
    assert enter(storage, root, trial_id=7).trial_id == 502
    assert list(storage.experiments["tuning"].trials) == [500, 501]


def test_an_experiment_is_found_by_its_name(
    storage: RunbaseStorage, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets: Any = {"latency": "min", "throughput": "max"}
    assert storage.get_experiment_by_id("tuning", tunables(), targets) is None
    experiment = enter(storage, root, trial_id=10)
    trial = experiment.new_trial(tunables().assign({"readahead": 3}), config={"a": 1})
    monkeypatch.chdir(tmp_path)  # no git here, and no file of the environment
    found = storage.get_experiment_by_id("tuning", tunables(), targets)
    assert found is not None
    assert (found.experiment_id, found.trial_id, found.description) == ("tuning", -1, "the kernel")
    assert found.root_env_config == experiment.root_env_config == "environment.jsonc"
    assert found.tunables == experiment.tunables
    again = found.get_trial_by_id(trial.trial_id)
    assert again is not None
    assert again.tunables.get_param_values()["readahead"] == 3
    again.update(Status.SUCCEEDED, NOW, {"latency": 1.0, "throughput": 2.0})
    assert found.load()[0] == experiment.load()[0] == [10]
    with found as entered:
        assert entered.new_trial(tunables()).trial_id == 11
    record = storage.store.experiment("tuning")
    assert storage.get_experiment_by_id(record.id, tunables(), targets) is None


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


def test_the_interface_after_0_6_2(storage: RunbaseStorage, root: Path) -> None:
    """The same class under a stand-in for the interface of mlos_bench's main branch, in its own process."""
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.integrations.mlos_newer",
            storage._access._address,
            str(root),
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split()[-1] == "passed"


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


def test_merged_experiments_warm_the_optimizer_up(storage: RunbaseStorage, root: Path) -> None:
    storage = typed(storage)
    more = {"size": {"type": "int", "range": [1, 9], "default": 4}}
    old = enter(storage, root, "old")
    for n in range(20):
        trial = old.new_trial(tunables().assign({"readahead": n}))
        trial.update(Status.SUCCEEDED, NOW, {"latency": float(n), "throughput": 1, "extra": "x"})
    experiment = enter(storage, root, tunables=tunables(**more))
    experiment.merge(["old"])
    own = experiment.new_trial(tunables(**more).assign({"size": 7}))
    own.update(Status.SUCCEEDED, NOW, {"latency": 0.5, "throughput": 2})
    ids, configs, scores, statuses = experiment.load()
    assert (len(ids), set(statuses)) == (21, {Status.SUCCEEDED})
    assert [config["size"] for config in configs] == [4] * 20 + [7]
    assert [config["readahead"] for config in configs] == [*range(20), -1]
    assert scores[3] == {"latency": 3.0, "throughput": 1, "extra": "x"}
    # A scheduler goes on after the greatest number that it has seen: that is its own last trial's.
    assert max(ids) == 1
    assert experiment.load(max(ids))[0] == []
    assert enter(storage, root).load()[0] == ids
    with pytest.raises(ValueError, match="'latency' is min"):
        enter(storage, root, "opposite", opt_targets={"latency": "max"}).merge(["old"])
    with pytest.raises(LookupError, match="nowhere"):
        experiment.merge(["nowhere"])


def test_a_scheduler_of_mlos_bench_sees_its_own_trials_after_merging(
    storage: RunbaseStorage, root: Path
) -> None:
    old = enter(storage, root, "old")
    for _ in range(5):
        old.new_trial(tunables()).update(Status.SUCCEEDED, NOW, {"latency": 1.0, "throughput": 1})
    experiment = enter(storage, root)
    experiment.merge(["old"])
    seen, last = [], -1
    for n in range(4):  # as Scheduler does it
        ids, *_ = experiment.load(last)
        seen.append(len(ids))
        last = max(ids, default=last)
        trial = experiment.new_trial(tunables().assign({"readahead": n}))
        trial.update(Status.SUCCEEDED, NOW, {"latency": 1.0, "throughput": 1})
    assert seen == [5, 1, 1, 1]


# Several schedulers


def _schedule(address: str, root: str, told: Any) -> None:
    storage = RunbaseStorage({"store": address})
    experiment = enter(storage, Path(root))
    later = NOW + timedelta(days=1000)
    for trial in experiment.pending_trials(later, running=False):
        trial.config()
        told.put((trial.trial_id, os.getpid()))
        trial.update(Status.SUCCEEDED, NOW, {"latency": 1.0, "throughput": 1})


def test_two_schedulers_run_each_trial_once(storage: RunbaseStorage, root: Path) -> None:
    experiment = enter(storage, root)
    for n in range(100):
        experiment.new_trial(tunables().assign({"readahead": n}))
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    given = (storage.store.address, str(root), told)
    workers = [context.Process(target=_schedule, args=given) for _ in range(3)]
    for worker in workers:
        worker.start()
    ran = [told.get(timeout=PATIENCE) for _ in range(100)]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert sorted(number for number, _ in ran) == list(range(1, 101))
    assert told.empty()
    assert set(storage.experiments["tuning"].results_df["status"]) == {"SUCCEEDED"}


def test_a_scheduler_that_breaks_off_gives_its_trial_back(
    storage: RunbaseStorage, root: Path
) -> None:
    later = NOW + timedelta(days=1000)
    experiment = enter(storage, root)
    experiment.new_trial(tunables())
    experiment.new_trial(tunables())

    def state() -> list[Any]:
        rows = storage.store.sql("select status, attempt, runner is null from runs order by number")
        return [(status, attempt, bool(free)) for status, attempt, free in rows]

    waiting = experiment.pending_trials(later, running=False)
    trial = next(waiting)
    assert state()[0] == ("RUNNING", 1, False)
    waiting.close()  # it had only looked
    assert state() == [("PENDING", 1, True), ("PENDING", 1, True)]
    waiting = experiment.pending_trials(later, running=False)
    trial = next(waiting)
    trial.config()
    experiment.__exit__(None, None, None)  # it had begun
    assert state() == [("PENDING", 2, True), ("PENDING", 1, True)]
    with pytest.raises(RuntimeError, match="another scheduler has"):
        trial.update(Status.SUCCEEDED, NOW, {"latency": 1.0, "throughput": 1})
    assert state() == [("PENDING", 2, True), ("PENDING", 1, True)]


def _die(address: str, root: str) -> None:
    experiment = enter(RunbaseStorage({"store": address}), Path(root))
    for trial in experiment.pending_trials(NOW + timedelta(days=1000), running=False):
        trial.config()
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_scheduler_that_is_killed_gives_its_trial_back_in_time(
    storage: RunbaseStorage, root: Path
) -> None:
    later = NOW + timedelta(days=1000)
    experiment = enter(storage, root)
    experiment.new_trial(tunables())
    context = multiprocessing.get_context("spawn")
    worker = context.Process(target=_die, args=(storage.store.address, str(root)))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL
    assert (
        list(experiment.pending_trials(later, running=True)) == []
    )  # it may live, for all we know
    storage.store.sql(
        "update runs set lease_until = :then", {"then": "2001-01-01T00:00:00.000000Z"}, write=True
    )
    [trial] = experiment.pending_trials(later, running=False)
    assert trial.trial_id == 1
    assert storage.store.sql("select status, attempt from runs") == [("PENDING", 2)]


def test_a_claim_is_renewed_while_a_trial_runs(
    storage: RunbaseStorage, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbase.integrations.mlos.trial.LEASE", 1.0)
    renewed = threading.Event()
    inner = storage.store.storage.renew_claim

    def renew(*args: Any) -> bool:
        kept = inner(*args)
        if kept:
            renewed.set()
        return kept

    monkeypatch.setattr(storage.store.storage, "renew_claim", renew)
    experiment = enter(storage, root)
    experiment.new_trial(tunables())
    for trial in experiment.pending_trials(NOW + timedelta(days=1000), running=False):
        trial.config()
        assert renewed.wait(30)
        trial.update(Status.SUCCEEDED, NOW, {"latency": 1.0, "throughput": 1})
    assert storage.store.sql("select status, lease_until from runs") == [("COMPLETED", None)]


def test_a_keeper_ends_when_there_is_nothing_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runbase.run.lease.IDLE", 0.01)
    from runbase.run.lease import Held, Lease

    renewer = LeaseRenewer(lambda: pytest.fail("there is nothing to renew yet"))
    lease = Lease(Held(run="r", attempt=1, runner="me", seconds=600))
    renewer.add(lease)
    thread = renewer._thread
    assert thread is not None
    renewer.drop(lease)
    thread.join(30)
    assert not thread.is_alive()


def _in_child(pickled: bytes, told: Any) -> None:
    storage, experiment, trial, data = pickle.loads(pickled)
    trial.update(Status.SUCCEEDED, NOW, {"latency": 1.0, "throughput": 1})
    told.put((experiment.load()[0], list(storage.experiments), data.results_df["status"].tolist()))


def test_objects_pickle_to_another_process(storage: RunbaseStorage, root: Path) -> None:
    experiment = enter(storage, root)
    trial = experiment.new_trial(tunables())
    pickled = pickle.dumps((storage, experiment, trial, storage.experiments["tuning"]))
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    child = context.Process(target=_in_child, args=(pickled, told))
    child.start()
    assert told.get(timeout=PATIENCE) == ([1], ["tuning"], ["SUCCEEDED"])
    child.join(60)
    assert storage.experiments["tuning"].trials[1].status is Status.SUCCEEDED


# How it is named


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


def test_configuration(tmp_path: Path) -> None:
    path = tmp_path / "storage.jsonc"
    given: dict[str, Any] = {
        "class": "runbase.integrations.mlos.RunbaseStorage",
        "config": {"store": str(tmp_path / "one.db")},
    }
    path.write_text(json.dumps(given))
    storage = from_config(str(path))
    assert isinstance(storage, RunbaseStorage)
    assert (tmp_path / "one.db").exists()
    storage.update_schema()
    given["config"] = {"drivername": "sqlite", "database": str(tmp_path / "two.db")}
    path.write_text(json.dumps(given))
    assert repr(from_config(str(path))).endswith("two.db')")
    given["config"] = {"stoer": "x"}
    path.write_text(json.dumps(given))
    with pytest.raises(ValueError):
        from_config(str(path))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"store": "runs.db"}, "runs.db"),
        ({"drivername": "sqlite", "database": "a.db"}, "a.db"),
        ({"drivername": "sqlite", "database": ":memory:"}, "sqlite://"),
        (
            {
                "drivername": "postgresql+psycopg2",
                "database": "team",
                "username": "u@x",
                "password": "p/w",
                "host": "db",
                "port": 5433,
            },
            "postgresql://u%40x:p%2Fw@db:5433/team",
        ),
        ({"drivername": "postgresql", "database": "team", "host": "db"}, "postgresql://db/team"),
    ],
)
def test_addresses(config: dict[str, Any], expected: str) -> None:
    from runbase.integrations.mlos.config import address

    assert address(config) == expected


def test_a_driver_that_we_do_not_have() -> None:
    with pytest.raises(runbase.UsageError, match="duckdb"):
        RunbaseStorage({"drivername": "duckdb", "database": "x"})
