"""The contract, on every backend there is."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import runbase
from runbase.errors import UsageError
from runbase.server.serve import serving
from runbase.storage.open import open_storage
from runbase.storage.protocol import Storage
from runbase.storage.remote import wire
from runbase.storage.users_protocol import UserStorage
from runbase.testing import StorageContract, UserContract
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


class TestUsersOnSqlite(UserContract):
    @pytest.fixture
    def storage(self, tmp_path: Path) -> Iterator[Storage]:
        opened = open_storage(f"sqlite:///{tmp_path / 'contract.db'}")
        yield opened
        opened.close()


class TestUsersOnPostgres(UserContract):
    @pytest.fixture
    def storage(self, postgres: str) -> Iterator[Storage]:
        opened = open_storage(postgres)
        yield opened
        opened.close()


@pytest.mark.parametrize("name", [n for n in vars(UserStorage) if not n.startswith("_")])
def test_no_client_of_a_server_reaches_its_users(tmp_path: Path, name: str) -> None:
    with runbase.open(tmp_path / "served.db") as store, serving(store) as url:
        opened = open_storage(url)
        with pytest.raises(UsageError, match="users, tokens, rules, documents and archives itself"):
            getattr(opened, name)("x", "y", "z")
        with pytest.raises(UsageError, match="no method"):
            opened.send(name, (), {})  # type: ignore[attr-defined]
        answer = opened.client.request(  # type: ignore[attr-defined]
            "POST", f"/api/storage/{name}", b"[]", {"Content-Type": wire.JSON_TYPE}, allowed=(400,)
        )
        assert answer.status == 400
        opened.close()
