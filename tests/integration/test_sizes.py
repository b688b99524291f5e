"""Where the bytes of a store are, and stores that are handed to other processes."""

import multiprocessing
import pickle
from typing import Any

import pytest

import runbase
from runbase.errors import UsageError
from runbase.events import ArtifactLogged
from runbase.store.store import Store
from runbase.testing.contract import T0, Journal, points
from tests.integration import backends


class SizesContract:
    """What every store tells of its bytes."""

    def test_sizes_are_counted_by_run_and_experiment(self, store: Store) -> None:
        large = Journal(store.storage, name="large", experiment="a")
        large.write(points([0.5] * 30_000))
        with_file = Journal(store.storage, name="file", experiment="b")
        artifact = ArtifactLogged(
            time=T0, path="model.pt", uri="artifacts/model.pt", size=10**9, kind="file"
        )
        folder = ArtifactLogged(time=T0, path="all/", uri="artifacts/all/", size=10**9, kind="file")
        with_file.write(artifact, folder)
        Journal(store.storage, name="small", experiment="b").write(points([1.0]))
        sizes = store.sizes()
        assert [row.name for row in sizes.runs] == ["b/file", "a/large", "b/small"]
        assert [(row.name, row.runs, row.points) for row in sizes.experiments] == [
            ("b", 2, 1),
            ("a", 1, 30_000),
        ]
        assert sizes.runs[0].artifacts == 10**9
        assert sizes.runs[0].total == sizes.runs[0].artifacts + sizes.runs[0].journals
        assert sizes.runs[1].journals == 1
        assert list(sizes.tables.values()) == sorted(sizes.tables.values(), reverse=True)
        points_of_large = sizes.runs[1].database
        assert 0.9 * sizes.tables["blocks"] < points_of_large < sum(sizes.tables.values())
        assert [row.name for row in store.sizes(1).runs] == ["b/file"]


class TestSizesOfSqlite(backends.Sqlite, SizesContract):
    def test_a_store_is_pickled_by_its_address(self, store: Store) -> None:
        run = store.create_run("e", name="x")
        copy = pickle.loads(pickle.dumps(store))
        with copy:
            assert copy.run(run.id).name == "x"
            copy.note(run.id, "from the copy")
        assert store.run(run.id).notes == "from the copy"

    def test_a_store_reaches_another_process(self, store: Store) -> None:
        store.create_run("e", name="x")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            assert pool.apply(names, [store]) == ["x"]

    def test_a_trial_queue_is_pickled_with_its_store(self, store: Store) -> None:
        experiment = store.create_experiment("e")
        experiment.new_trial(params={"x": 1})
        copy = pickle.loads(pickle.dumps(experiment))
        assert [run.params for run in copy.pending_trials()] == [{"x": 1}]


class TestSizesOfPostgres(backends.Postgres, SizesContract):
    def test_a_store_is_pickled_by_its_address(self, store: Store) -> None:
        run = store.create_run("e", name="x")
        with pickle.loads(pickle.dumps(store)) as copy:
            assert copy.run(run.id).name == "x"


def names(store: Any) -> list[str]:
    return [run.name for run in store.runs()]


def test_a_database_in_memory_is_not_pickled() -> None:
    with runbase.open("sqlite://") as store, pytest.raises(UsageError, match="in memory"):
        pickle.dumps(store)
