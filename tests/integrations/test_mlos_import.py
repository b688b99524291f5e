"""mlos_bench's database, made by mlos_bench itself, imported, compared, and gone on with."""

from pathlib import Path

from mlos_bench.environments.status import Status as Word
from mlos_bench.storage.sql.storage import SqlStorage
from mlos_bench.util import try_parse_val

import runbase
from runbase.importers import import_from, importer_for
from runbase.integrations.mlos import RunbaseStorage
from tests.integrations.test_mlos import NOW, SECOND, enter, root, tunables, work

__all__ = ["root"]


def test_a_database_comes_along_and_goes_on(
    store: runbase.Store, tmp_path: Path, root: Path
) -> None:
    path = tmp_path / "theirs.db"
    theirs = SqlStorage({"drivername": "sqlite", "database": str(path)})
    old = enter(theirs, root)
    work(old)
    assert importer_for(str(path)) == "mlos_bench"
    report = import_from(store, str(path), "mlos_bench")
    assert (report.runs, report.new, report.problems) == (6, 6, [])
    assert import_from(store, str(path), "mlos_bench").unchanged == 6

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
        assert [tuple(row) for row in same.telemetry_df.astype(object).values] == [
            (ts, key, try_parse_val(value))
            for ts, key, value in trial.telemetry_df.astype(object).values
        ]
        assert {k: str(v) for k, v in same.metadata_dict.items()} == {
            k: str(v) for k, v in trial.metadata_dict.items()
        }
    assert found.default_tunable_config_id == found.trials[2].tunable_config_id

    [waiting] = old.pending_trials(NOW + 99 * SECOND, running=False)
    waiting.update(Word.SUCCEEDED, NOW + 100 * SECOND, {"latency": 0.5, "throughput": 7})
    more = import_from(store, str(path), "mlos_bench")
    assert (more.new, more.updated, more.points) == (0, 1, 2)
    going_on = enter(ours, root)
    assert going_on.load()[0] == [1, 2, 3, 4, 6]
    assert going_on.load()[2][-1] == {"latency": 0.5, "throughput": 7}
    assert going_on.new_trial(tunables()).trial_id == 7
    ours.store.close()
