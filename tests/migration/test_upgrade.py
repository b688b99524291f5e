"""A database of every schema that was ever released is kept, upgraded, and then used."""

import gzip
import sqlite3
from pathlib import Path

import pytest

from runbase.storage.open import open_storage
from runbase.storage.sql.migrate import migrations

FIXTURES = Path(__file__).parent / "fixtures"


def schema(path: Path) -> list[tuple[str, ...]]:
    connection = sqlite3.connect(path)
    query = "select type, name, sql from sqlite_master where name not like 'sqlite_%' order by 1, 2"
    return connection.execute(query).fetchall()


@pytest.mark.parametrize("fixture", sorted(FIXTURES.glob("*.db.gz")), ids=lambda p: p.name)
def test_upgraded_is_as_good_as_new(tmp_path: Path, fixture: Path) -> None:
    old, new = tmp_path / "old.db", tmp_path / "new.db"
    old.write_bytes(gzip.decompress(fixture.read_bytes()))
    open_storage(str(new)).close()
    storage = open_storage(str(old))
    assert schema(old) == schema(new)
    (run,) = storage.runs()
    assert (run.name, run.params, run.tags) == ("released", {"lr": 0.1}, {"kept": None})
    assert storage.series(run.id, "loss").values.tolist() == [
        1 / (step + 1) for step in range(3000)
    ]
    assert storage.sql("select count(*) from metrics") == [(3000,)]
    assert storage.check() == []
    storage.close()


def test_each_schema_has_its_fixture() -> None:
    names = {path.name.removesuffix(".db.gz") for path in FIXTURES.glob("*.db.gz")}
    assert names == {step.name.removesuffix(".sql") for step in migrations("sqlite")}
