"""`store.changes` lists what moved since a cursor, whoever wrote it, and nothing else."""

import subprocess
import sys
import threading
import time
from typing import Any

import pytest

import runbase
from runbase.errors import UsageError
from runbase.store.store import Store
from runbase.testing.contract import Journal, points
from tests.integration import backends


class ChangesContract:
    """What the list of changes gives on every store."""

    def test_the_first_call_gives_a_cursor_and_no_ids(self, store: Store) -> None:
        store.create_run("e", name="before")
        seen = store.changes()
        assert (seen.runs, seen.experiments, seen.reset, bool(seen)) == ([], [], True, True)
        assert not store.changes(seen.cursor)

    def test_each_way_to_change_a_run_is_listed(self, store: Store) -> None:
        run = store.create_run("e", name="x", params={"lr": 1})
        other = store.create_run("e", name="y")
        journal = Journal(store.storage, run.id)
        changes: list[Any] = [
            lambda: journal.write(points([1.0])),
            lambda: journal.write(points([2.0], first=1)),
            lambda: store.tag(run, "good"),
            lambda: store.untag(run, "good"),
            lambda: store.note(run, "a note"),
            lambda: store.update_run(run, params={"lr": 2}),
            lambda: store.add_to_run(run, params={"more": 1}),
            lambda: store.set_status(run, "RUNNING"),
            lambda: store.link(run, "uses", other),
            lambda: store.unlink(run, other),
            lambda: store.delete(run),
            lambda: store.restore(run),
            lambda: store.sql(
                "update runs set host = 'h' where id = :id", {"id": run.id}, write=True
            ),
            lambda: store.purge(run),
        ]
        for number, change in enumerate(changes):
            cursor = store.changes().cursor
            change()
            seen = store.changes(cursor)
            assert run.id in seen.runs, number
            assert not store.changes(seen.cursor), number

    def test_experiments_are_listed(self, store: Store) -> None:
        cursor = store.changes().cursor
        experiment = store.create_experiment("e")
        seen = store.changes(cursor)
        assert (seen.runs, seen.experiments) == ([], [experiment.id])
        store.update_experiment("e", notes="new")
        assert store.changes(seen.cursor).experiments == [experiment.id]

    def test_only_what_moved_is_listed_once_each(self, store: Store) -> None:
        journals = [Journal(store.storage, name=f"run-{n}") for n in range(5)]
        for journal in journals:
            journal.write(points([1.0]))
        cursor = store.changes().cursor
        for first in range(1, 4):
            journals[3].write(points([1.0], first=first))
            journals[1].write(points([1.0], first=first))
        seen = store.changes(cursor)
        assert sorted(seen.runs) == sorted([journals[1].run, journals[3].run])

    def test_a_cursor_of_another_database_asks_for_everything(self, store: Store) -> None:
        seen = store.changes(str(2**50))
        assert seen.reset
        assert not store.changes(seen.cursor)
        with pytest.raises(UsageError, match="not a cursor"):
            store.changes("yesterday")

    def test_waiting_ends_with_a_change_by_another_process(self, store: Store) -> None:
        run = store.create_run("e", name="x")
        cursor = store.changes().cursor
        address = self.address(store)
        code = f"import runbase; runbase.open({address!r}).note({run.id!r}, 'changed')"
        began = time.monotonic()
        with subprocess.Popen([sys.executable, "-c", code]) as process:
            seen = store.changes(cursor, wait=60)
            assert seen.runs == [run.id]
            assert process.wait(60) == 0
        assert time.monotonic() - began < 60

    def test_waiting_ends_with_a_change_by_another_thread(self, store: Store) -> None:
        run = store.create_run("e", name="x")
        cursor = store.changes().cursor
        writer = threading.Timer(0.2, lambda: store.note(run, "changed"))
        writer.start()
        assert store.changes(cursor, wait=60).runs == [run.id]
        writer.join()

    def test_waiting_for_nothing_ends(self, store: Store) -> None:
        began = time.monotonic()
        assert not store.changes(store.changes().cursor, wait=0.3)
        assert 0.3 <= time.monotonic() - began < 30

    def address(self, store: Store) -> str:
        raise NotImplementedError


class TestChangesOfSqlite(backends.Sqlite, ChangesContract):
    def address(self, store: Store) -> str:
        return store.url


class TestChangesOfPostgres(backends.Postgres, ChangesContract):
    @pytest.fixture(autouse=True)
    def _address(self, postgres: str) -> None:
        self._url = postgres

    def address(self, store: Store) -> str:
        return self._url

    def test_a_transaction_that_commits_late_is_listed(self, store: Store) -> None:
        """Its number is less than that of a change that was listed before."""
        early, late = store.create_run("e", name="early"), store.create_run("e", name="late")
        connection = store.connect()
        cursor = store.changes().cursor
        connection.execute("update runs set notes = 'first' where id = %s", [late.id])
        store.note(early, "second")
        seen = store.changes(cursor)
        assert seen.runs == [early.id]
        connection.commit()
        connection.close()
        assert late.id in store.changes(seen.cursor).runs


def test_nothing_moved_costs_little(tmp_path: Any) -> None:
    with runbase.open(tmp_path / "a.db") as store:
        for number in range(50):
            store.create_run("e", name=f"run-{number}")
        cursor = store.changes().cursor
        store.changes(cursor)
        took = []
        for _ in range(200):
            began = time.thread_time()
            store.changes(cursor)
            took.append(time.thread_time() - began)
        assert min(took) < 0.0005
