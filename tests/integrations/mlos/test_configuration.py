"""The configuration of the storage: addresses and drivers."""

import json
from pathlib import Path
from typing import Any

import pytest
from mlos_bench.storage.storage_factory import from_config

import runbase
from runbase.integrations.mlos import RunbaseStorage


def test_configuration(tmp_path: Path) -> None:
    path = tmp_path / "storage.jsonc"
    given: dict[str, Any] = {
        "class": "runbase.integrations.mlos.RunbaseStorage",
        "config": {"store": str(tmp_path / "one.db")},
    }
    path.write_text(json.dumps(given))
    storage = from_config(str(path))
    assert isinstance(storage, RunbaseStorage)
    assert (tmp_path / "one.db").exists()
    storage.update_schema()
    given["config"] = {"drivername": "sqlite", "database": str(tmp_path / "two.db")}
    path.write_text(json.dumps(given))
    assert repr(from_config(str(path))).endswith("two.db')")
    given["config"] = {"stoer": "x"}
    path.write_text(json.dumps(given))
    with pytest.raises(ValueError):
        from_config(str(path))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"store": "runs.db"}, "runs.db"),
        ({"drivername": "sqlite", "database": "a.db"}, "a.db"),
        ({"drivername": "sqlite", "database": ":memory:"}, "sqlite://"),
        (
            {
                "drivername": "postgresql+psycopg2",
                "database": "team",
                "username": "u@x",
                "password": "p/w",
                "host": "db",
                "port": 5433,
            },
            "postgresql://u%40x:p%2Fw@db:5433/team",
        ),
        ({"drivername": "postgresql", "database": "team", "host": "db"}, "postgresql://db/team"),
    ],
)
def test_addresses(config: dict[str, Any], expected: str) -> None:
    from runbase.integrations.mlos.config import address

    assert address(config) == expected


def test_a_driver_that_we_do_not_have() -> None:
    with pytest.raises(runbase.UsageError, match="duckdb"):
        RunbaseStorage({"drivername": "duckdb", "database": "x"})
