"""What a store promises, on every backend, sync and async."""

import asyncio
import inspect
from pathlib import Path

from runbase import aio
from runbase.store.store import Store
from runbase.testing import StoreContract

from .backends import AsyncPostgres, AsyncSqlite, Memory, Postgres, Server, Sqlite


class TestSqlite(Sqlite, StoreContract): ...


class TestMemory(Memory, StoreContract): ...


class TestPostgres(Postgres, StoreContract): ...


class TestServer(Server, StoreContract): ...


class TestAsyncSqlite(AsyncSqlite, StoreContract): ...


class TestAsyncPostgres(AsyncPostgres, StoreContract): ...


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
