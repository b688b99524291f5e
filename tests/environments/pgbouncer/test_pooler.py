"""The contracts of storages, stores and trials through a pooler that hands out a connection for each transaction."""

import threading
from pathlib import Path

import pytest

import runbase
from runbase.storage.open import open_storage
from tests.integration.test_storage_contract import TestPostgres as _Storage
from tests.integration.test_store_contract import TestPostgres as _Store
from tests.integration.test_trial_contract import TestPostgres as _Trials


class TestStorage(_Storage): ...


class TestStore(_Store): ...


class TestTrials(_Trials): ...


def test_the_pooler_is_noticed(postgres: str) -> None:
    storage = open_storage(postgres)
    assert storage.driver.pooled  # type: ignore[attr-defined]
    storage.close()


def test_settings_of_one_store_do_not_reach_another(postgres_server: str) -> None:
    schemas = [f"pooled_{number}" for number in range(6)]
    stores = [runbase.open(f"{postgres_server}?schema={schema}") for schema in schemas]

    def write(number: int) -> None:
        for step in range(20):
            stores[number].create_run("e", name=f"{number}-{step}")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, store in enumerate(stores):
        assert {run.name for run in store.runs()} == {f"{number}-{step}" for step in range(20)}
        store.close()


def test_runs_train_through_the_pooler(postgres: str, tmp_path: Path) -> None:
    runs = [
        runbase.start_run("pooled", name=f"r{n}", home=tmp_path, store=postgres, capture=False)
        for n in range(3)
    ]
    for step in range(2000):
        for run in runs:
            run.log({"loss": 1 / (step + 1)}, step=step)
    for run in runs:
        run.finish()
    with runbase.open(postgres) as store:
        assert [run.metrics["loss"].count for run in store.runs()] == [2000] * 3


@pytest.mark.parametrize("clients", [60])
def test_more_clients_than_server_connections(postgres: str, clients: int) -> None:
    stores = [runbase.open(postgres) for _ in range(clients)]
    for number, store in enumerate(stores):
        store.create_run("e", name=str(number))
    assert stores[0].count() == clients
    for store in stores:
        store.close()
