"""The current run of a thread, of a task and of nested runs."""

import asyncio
import threading
from pathlib import Path

import pytest

import runbase
from tests.read_back import stored


def test_the_current_run_is_of_the_thread_and_the_task(home: Path) -> None:
    with pytest.raises(runbase.UsageError, match="no active run"):
        runbase.log({"x": 1})
    ids: dict[str, str] = {}

    def work(name: str) -> None:
        with runbase.start_run("threads", name=name, home=home, capture=False) as run:
            barrier.wait()
            runbase.log({"x": 1})
            current = runbase.current_run()
            assert current is not None
            ids[name] = current.id
            assert current.id == run.id
            barrier.wait()

    barrier = threading.Barrier(3)
    threads = [threading.Thread(target=work, args=(f"t{i}",)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids.values())) == 3

    async def task(name: str) -> str:
        with runbase.start_run("tasks", name=name, home=home, capture=False) as run:
            await asyncio.sleep(0)
            runbase.log({"x": 1})
            current = runbase.current_run()
            assert current is not None
            assert current.id == run.id
            return current.id

    async def both() -> list[str]:
        return await asyncio.gather(task("a"), task("b"))

    assert len(set(asyncio.run(both()))) == 2
    assert runbase.current_run() is None


def test_a_helper_thread_finds_the_only_run(run: runbase.Run, home: Path) -> None:
    thread = threading.Thread(target=lambda: runbase.log({"from_thread": 1}))
    thread.start()
    thread.join()
    assert "from_thread" in stored(run).metrics


def test_nested_runs_and_several_at_once(home: Path) -> None:
    with runbase.start_run("outer", home=home, capture=False) as outer:
        with runbase.start_run("inner", home=home, capture=False) as inner:
            runbase.log({"x": 1})
        alone = runbase.start_run("inner", home=home, parent=False, capture=False)
        alone.finish()
        runbase.log({"y": 1})
    first = runbase.start_run("side", home=home, capture=False)
    second = runbase.start_run("side", home=home, capture=False)
    given = runbase.start_run("side", home=home, capture=False, parent=first)
    first.log({"a": 1})
    second.log({"b": 2})
    for run in (given, second, first):
        run.finish()
    with runbase.open(home=home) as store:
        assert store.run(inner.id).parent_id == outer.id
        assert store.run(alone.id).parent_id is None
        assert store.run(second.id).parent_id is None
        assert store.run(given.id).parent_id == first.id
        assert set(store.run(outer.id).metrics) == {"y"}
        assert set(store.run(first.id).metrics) == {"a"}
