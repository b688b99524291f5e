"""The stores that each contract is tested on, as classes to inherit beside it."""

import asyncio
import inspect
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase import aio
from runbase.server.serve import serving
from runbase.store.store import Store


class Awaiting:
    """An async store in disguise: each call is awaited on a loop of another thread."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._store = self._await(aio.open(url))

    def _await(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(60)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return lambda *args, **kwargs: self._await(method(*args, **kwargs))

    def end(self) -> None:
        self._await(self._store.close())
        self._loop.call_soon_threadsafe(self._loop.stop)


class Sqlite:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with runbase.open(tmp_path / "contract.db") as store:
            yield store


class Memory:
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        with runbase.open("sqlite://") as store:
            yield store


class Postgres:
    @pytest.fixture
    def store(self, postgres: str) -> Iterator[Store]:
        with runbase.open(postgres) as store:
            yield store


class Async:
    def sync(self, store: Any) -> Any:
        return store._store.sync_store

    def do(self, store: Any, result: Any) -> Any:
        return store._await(result) if inspect.isawaitable(result) else result


class AsyncSqlite(Async):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Any]:
        store = Awaiting(str(tmp_path / "contract.db"))
        yield store
        store.end()


class AsyncPostgres(Async):
    @pytest.fixture
    def store(self, postgres: str) -> Iterator[Any]:
        store = Awaiting(postgres)
        yield store
        store.end()


class Server:
    """A store behind an HTTP server."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with (
            runbase.open(tmp_path / "served.db") as served,
            serving(served) as url,
            runbase.open(url) as store,
        ):
            yield store
