"""mlos_bench's database, made by mlos_bench itself, imported, compared, and gone on with."""

import sqlite3
from pathlib import Path

import pandas as pd
from mlos_bench.environments.status import Status as Word
from mlos_bench.storage.sql.storage import SqlStorage

import runbase
from runbase.ingest.readers import importer_for
from runbase.integrations.mlos import RunbaseStorage
from tests.integrations.mlos.experiments import NOW, SECOND, enter, tunables, work


def test_a_database_comes_along_and_goes_on(
    store: runbase.Store, tmp_path: Path, root: Path
) -> None:
    path = tmp_path / "theirs.db"
    theirs = SqlStorage({"drivername": "sqlite", "database": str(path)})
    old = enter(theirs, root)
    work(old)
    assert importer_for(str(path)) == "mlos_bench"
    report = store.import_from(str(path), "mlos_bench")
    assert (report.runs, report.new, report.problems) == (6, 6, [])
    assert store.import_from(str(path), "mlos_bench").unchanged == 6

    ours = RunbaseStorage({"store": store.address})
    expected, found = theirs.experiments["tuning"], ours.experiments["tuning"]
    assert found.objectives == expected.objectives
    assert (found.description, found.root_env_config) == (
        expected.description,
        expected.root_env_config,
    )
    for number, trial in expected.trials.items():
        same = found.trials[number]
        assert (same.status, same.ts_start, same.ts_end) == (
            trial.status,
            trial.ts_start,
            trial.ts_end,
        )
        assert same.tunable_config.config_dict == trial.tunable_config.config_dict
        assert same.results_dict == trial.results_dict
        for kind in ("telemetry_df", "metadata_df", "results_df"):
            pd.testing.assert_frame_equal(getattr(same, kind), getattr(trial, kind), obj=kind)
    pd.testing.assert_frame_equal(found.results_df, expected.results_df)
    history = store.run(store.runs("number = 1")[0].id).history
    assert [(change.status.value, change.time) for change in history] == [
        ("PENDING", NOW + 10 * SECOND),  # READY
        ("RUNNING", NOW + 20 * SECOND),
        ("COMPLETED", NOW + 40 * SECOND),
    ]
    assert found.default_tunable_config_id == found.trials[2].tunable_config_id

    [waiting] = old.pending_trials(NOW + 99 * SECOND, running=False)
    waiting.update(Word.SUCCEEDED, NOW + 100 * SECOND, {"latency": 0.5, "throughput": 7})
    more = store.import_from(str(path), "mlos_bench")
    assert (more.new, more.updated, more.points) == (0, 1, 2)
    going_on = enter(ours, root)
    assert going_on.load()[0] == [1, 2, 3, 4, 6]
    assert going_on.load()[2][-1] == {"latency": "0.5", "throughput": "7"}
    assert going_on.new_trial(tunables()).trial_id == 7
    ours.store.close()


def test_numbers_weights_and_runners_come_along(
    store: runbase.Store, tmp_path: Path, root: Path
) -> None:
    path = tmp_path / "theirs.db"
    theirs = SqlStorage({"drivername": "sqlite", "database": str(path)})
    old = enter(theirs, root, trial_id=40)
    for n in range(3):
        old.new_trial(tunables(), NOW + n * SECOND)
    with sqlite3.connect(path) as database:
        database.execute("update trial set trial_runner_id = 3 where trial_id = 41")
        database.execute("update objectives set weight = 2.5 where optimization_target = 'latency'")
    store.import_from(str(path), "mlos_bench")
    experiment = store.experiment("tuning")
    assert {o.metric: o.weight for o in experiment.objectives} == {"latency": 2.5, "throughput": 1}
    ours = RunbaseStorage({"store": store.address})
    assert list(ours.experiments["tuning"].trials) == [40, 41, 42]
    going_on = enter(ours, root)
    assert going_on.trial_id == 43
    waiting = going_on.pending_trials(NOW + 9 * SECOND, running=False, trial_runner_assigned=True)
    assert [trial.trial_id for trial in waiting] == [41]
    ours.store.close()
