"""What a store promises, on every backend, sync and async."""

import asyncio
import inspect
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase import aio
from runbase.client import Store
from runbase.testing import StoreContract


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


class TestSqlite(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with runbase.open(tmp_path / "contract.db") as store:
            yield store


class TestMemory(StoreContract):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        with runbase.open("sqlite://") as store:
            yield store


class TestPostgres(StoreContract):
    @pytest.fixture
    def store(self, postgres: str) -> Iterator[Store]:
        with runbase.open(postgres) as store:
            yield store


class AsyncContract(StoreContract):
    def sync(self, store: Any) -> Any:
        return store._store.sync_store


class TestAsyncSqlite(AsyncContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Any]:
        store = Awaiting(str(tmp_path / "contract.db"))
        yield store
        store.end()


class TestAsyncPostgres(AsyncContract):
    @pytest.fixture
    def store(self, postgres: str) -> Iterator[Any]:
        store = Awaiting(postgres)
        yield store
        store.end()


def test_both_faces_have_the_same_names_and_arguments() -> None:
    names = {n for n in dir(Store) if not n.startswith("_")}
    there = {n for n in dir(aio.AsyncStore) if not n.startswith("_")}
    assert names - there == set()
    assert there - names == {"iter_runs", "in_thread", "url", "home"}
    for name in names - {"metrics", "url", "home"}:
        ours, theirs = (inspect.signature(getattr(c, name)) for c in (Store, aio.AsyncStore))
        assert list(ours.parameters) == list(theirs.parameters), name


def test_every_run_a_page_at_a_time(tmp_path: Path) -> None:
    async def all_of_them() -> list[str]:
        async with await aio.open(tmp_path / "x.db") as store:
            for number in range(7):
                await store.create_run("many", name=f"run-{number}")
            return [run.name async for run in store.iter_runs(order_by="number", page=2)]

    assert asyncio.run(all_of_them()) == [f"run-{n}" for n in range(7)]
