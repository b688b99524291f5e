"""The contract, on every backend there is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import runbase
from runbase.server.serve import serving
from runbase.storage.open import open_storage
from runbase.storage.protocol import Storage
from runbase.testing import StorageContract
from runbase.testing.contract import AlertRuleContract


class TestSqliteFile(StorageContract, AlertRuleContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Storage]:
        opened = open_storage(f"sqlite:///{tmp_path / 'contract.db'}")
        yield opened
        opened.close()


class TestSqliteMemory(StorageContract, AlertRuleContract):
    @pytest.fixture
    def storage(self) -> Iterator[Storage]:
        opened = open_storage("sqlite://")
        yield opened
        opened.close()


class TestPostgres(StorageContract, AlertRuleContract):
    @pytest.fixture
    def storage(self, postgres: str) -> Iterator[Storage]:
        opened = open_storage(postgres)
        yield opened
        opened.close()


class TestServer(StorageContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Storage]:
        with runbase.open(tmp_path / "served.db") as store, serving(store) as url:
            opened = open_storage(url)
            yield opened
            opened.close()
