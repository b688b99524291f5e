"""Experiments of mlos_bench: numbers of trials, objectives, merged experiments, native access."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mlos_bench.environments.status import Status

from runbase.integrations.mlos import RunbaseStorage
from runbase.space import Categorical, Float, Int
from tests.integrations.mlos.experiments import NOW, enter, tunables, typed, work


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


def test_the_interface_after_0_6_2(storage: RunbaseStorage, root: Path) -> None:
    """The class under a stand-in for mlos_bench's main branch, in its own process."""
    ran = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.integrations.mlos.newer_interface",
            storage._access._address,
            str(root),
        ],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split()[-1] == "passed"
