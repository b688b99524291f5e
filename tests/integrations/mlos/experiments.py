"""Experiments of mlos_bench as schedulers use them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from mlos_bench.environments.status import Status
from mlos_bench.storage.base_storage import Storage
from mlos_bench.tunables.tunable_groups import TunableGroups

from runbase.integrations.mlos import RunbaseStorage

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


def typed(storage: RunbaseStorage) -> RunbaseStorage:
    """The same store, with values of their types."""
    return RunbaseStorage({"store": storage._access._address, "values": "typed"})
