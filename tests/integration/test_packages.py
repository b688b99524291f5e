"""Installed packages are stored once for all runs that have the same ones, and every record still has them."""

from pathlib import Path
from typing import Any

import runbase
from runbase.events import Captured
from runbase.store.store import Store
from runbase.testing.contract import T0, Journal
from tests.integration import backends

FIRST, SECOND = {"numpy": "2.4.0", "torch": "2.13.0+cu130"}, {"numpy": "2.3.1"}


def captured(store: Store, packages: dict[str, str] | None, **more: Any) -> str:
    journal = Journal(store.storage, name="run")
    system: dict[str, Any] = {"cpus": 2} | ({} if packages is None else {"packages": packages})
    journal.write(Captured(time=T0, system=system | more))
    return journal.run


class PackagesContract:
    def test_equal_packages_are_stored_once(self, store: Store) -> None:
        runs = [captured(store, packages) for packages in (FIRST, SECOND, FIRST, FIRST, None)]
        found = [store.run(run).system for run in runs]
        expected = [FIRST, SECOND, FIRST, FIRST]
        assert [system["packages"] for system in found[:4]] == expected
        assert found[4] == {"cpus": 2}
        assert [run.system for run in store.runs(order_by="number")] == found
        assert store.sql("select count(*) from package_sets") == [(2,)]
        assert store.sql("select count(*) from runs where cast(system as text) like '%numpy%'") == [
            (0,)
        ]

    def test_packages_are_a_view(self, store: Store) -> None:
        run, other = captured(store, FIRST), captured(store, SECOND)
        rows = store.sql("select run_id, version from packages where name = 'numpy'")
        assert sorted(rows) == sorted([(run, "2.4.0"), (other, "2.3.1")])

    def test_packages_captured_later_replace_earlier_ones(self, store: Store) -> None:
        journal = Journal(store.storage, name="run")
        journal.write(Captured(time=T0, system={"packages": FIRST}))
        journal.write(Captured(time=T0, system={"packages": SECOND, "python": "3.12"}))
        assert store.run(journal.run).system == {"packages": SECOND, "python": "3.12"}

    def test_edits_of_the_system_change_the_packages(self, store: Store) -> None:
        run = captured(store, FIRST)
        store.update_run(run, system={"packages": SECOND, "cpus": 4})
        assert store.run(run).system == {"packages": SECOND, "cpus": 4}
        store.update_run(run, system={"cpus": 8})
        assert store.run(run).system == {"cpus": 8}
        store.add_to_run(run, system={"packages": FIRST})
        assert store.run(run).system == {"packages": FIRST, "cpus": 8}
        store.remove_from_run(run, system=["packages"])
        assert store.run(run).system == {"cpus": 8}
        captured_again = captured(store, FIRST)
        store.remove_from_run(captured_again, system=["packages"])
        assert store.run(captured_again).system == {"cpus": 2}

    def test_a_copy_has_the_packages(self, store: Store, tmp_path: Path) -> None:
        run = captured(store, FIRST)
        with runbase.open(tmp_path / "copy.db") as target:
            store.copy_to(target)
            assert target.run(run).system == store.run(run).system
            assert target.sql("select count(*) from package_sets") == [(1,)]


class TestPackagesOfSqlite(backends.Sqlite, PackagesContract): ...


class TestPackagesOfPostgres(backends.Postgres, PackagesContract): ...
