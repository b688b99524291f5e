"""The trash: runs and experiments are deleted, restored and purged."""

# pyright: basic
from typing import Any

import pytest

from runbase.errors import NotFound
from runbase.testing.contract import Journal, points
from runbase.testing.store.base import OnStore


class TrashContract(OnStore):
    """Delete, restore and purge runs and experiments."""

    def test_delete_and_restore(self, store: Any) -> None:
        run = self.logged(store, experiment="gone")
        assert store.delete(run) == 1
        assert store.runs() == []
        assert [r.id for r in store.runs(deleted=True)] == [run]
        with pytest.raises(NotFound):
            store.run(run)
        assert store.restore(run) == 1
        assert store.run(run).metrics["loss"].last == 1.0
        store.delete("gone")
        assert store.experiments() == []
        with pytest.raises(NotFound, match="trash"):
            store.restore("never")
        store.restore("gone")
        assert store.experiment("gone").runs == 1

    def test_purge_takes_everything_below(self, store: Any) -> None:
        kept = self.logged(store, experiment="kept")
        run = self.logged(store, experiment="gone")
        store.link(kept, "uses", run)
        child = store.fork("gone", "child")
        report = store.purge("gone", dry_run=True)
        assert (report.runs, report.experiments) == (1, 1)
        assert store.experiment("gone").runs == 1
        store.delete("gone")
        report = store.purge("gone")
        assert (report.runs, report.experiments) == (1, 1)
        assert [r.id for r in store.runs()] == [kept]
        assert store.experiment(child.id).parent_id is None
        for table in ("blocks", "groups", "series", "params", "status_history", "journals"):
            (rows,) = store.sql(f"select count(*) from {table}")
            (one,) = store.sql(
                f"select count(*) from {table} where {self.of(table)}", {"run": kept}
            )
            assert rows == one, f"{table} holds what was purged"
        assert store.run(kept).links == []
        assert store.check() == []

    def test_an_experiment_takes_its_runs_into_the_bin(self, store: Any) -> None:
        early, late = self.logged(store, experiment="a"), self.logged(store, experiment="a")
        other = self.logged(store, experiment="b")
        store.delete(early)
        store.delete("a")
        assert [run.id for run in store.runs()] == [other]
        assert {run.id for run in store.runs(deleted=True)} == {early, late}
        store.restore("a")
        assert {run.id for run in store.runs()} == {other, late}
        assert [run.id for run in store.runs(deleted=True)] == [early]

    def test_a_fork_shares_the_files_of_its_parent(self, store: Any) -> None:
        run = self.logged(store, experiment="parent")
        store.update_run(run, folder="runs/parent/x")
        copy = store.fork("parent", "child", runs=True)
        assert store.purge("child", dry_run=True).folders == []
        assert store.purge("parent", "child", dry_run=True).folders == ["runs/parent/x"]
        assert store.purge(run).folders == []
        assert store.purge(copy).folders == ["runs/parent/x"]

    def test_a_purged_run_stays_away(self, store: Any) -> None:
        journal = Journal(self.storage(store))
        delivery = journal.delivery([journal.opened(), points([1.0])])
        self.storage(store).apply([delivery])
        store.purge(journal.run)
        assert self.storage(store).apply([delivery])[0].taken is False
        assert store.runs() == []

    def test_gc_empties_the_bin(self, store: Any) -> None:
        run = self.logged(store)
        store.delete(run)
        assert store.gc().runs == 0
        assert store.gc(older_than=-1, dry_run=True).runs == 1
        assert store.gc(older_than=-1).runs == 1
        assert store.runs(deleted=True) == []
