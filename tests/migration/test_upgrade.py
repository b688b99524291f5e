"""A database of every schema that was ever released is kept, upgraded, and then used."""

import gzip
import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from runbase.cli.app import build
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


def test_a_long_metric_is_outlined_by_sync_after_the_upgrade(tmp_path: Path) -> None:
    """A database of the schema before outlines, with a metric of 5,000 points."""
    path = tmp_path / "runbase.db"
    path.write_bytes(gzip.decompress((FIXTURES / "0008_growth.db.gz").read_bytes()))
    with sqlite3.connect(path) as connection:
        connection.execute("update series set count = 4096")
    storage = open_storage(str(path))
    ((run, series, count),) = storage.unoutlined()
    assert (run, count) == (storage.runs()[0].id, 4096)
    storage.close()
    home = ["--home", str(tmp_path), "--store", str(path)]
    result = CliRunner().invoke(build(), ["sync", "--json", *home])
    assert json.loads(result.stdout)["outlined"] == 1
    storage = open_storage(str(path))
    assert storage.unoutlined() == []
    assert storage.sql("select series_id, blocks from outlines") == [(series, 2)]
    assert storage.envelope(run, "loss", resolution=1).counts.tolist() == [3000]
    storage.close()


def test_each_schema_has_its_fixture() -> None:
    names = {path.name.removesuffix(".db.gz") for path in FIXTURES.glob("*.db.gz")}
    assert names == {step.name.removesuffix(".sql") for step in migrations("sqlite")}
