"""A server over an empty store, and MLflow's own client."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.server.options import ServerOptions
from runbase.server.serve import serving
from tests.integration.server.conftest import Http

mlflow: Any = pytest.importorskip("mlflow")


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[runbase.Store]:
    """An empty store with a home: SQLite, then PostgreSQL."""
    home = tmp_path / ".runbase"
    home.mkdir()
    url = str(home / "runbase.db")
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")
    with runbase.open(url, home=home) as opened:
        yield opened


@pytest.fixture
def url(store: runbase.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a server; MLflow's fluent functions use it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    before = mlflow.get_tracking_uri()
    with serving(store, ServerOptions(port=0, ingest=False)) as address:
        mlflow.set_tracking_uri(address)
        mlflow.set_experiment(experiment_id="0")
        yield address
        while mlflow.active_run() is not None:
            mlflow.end_run()
    mlflow.set_tracking_uri(before)


@pytest.fixture
def client(url: str) -> Any:
    """MLflow's client of the server."""
    return mlflow.MlflowClient(url)


@pytest.fixture
def http(url: str) -> Http:
    """A plain client of the server."""
    return Http(url)
