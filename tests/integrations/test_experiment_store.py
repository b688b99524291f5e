"""The scripts of people who come from the async experiment store, unchanged but for the import."""

import asyncio
import sqlite3
import time
from collections.abc import Coroutine
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.integrations.experiment_store import (
    Experiment,
    ExperimentStore,
    get_experiment_store,
)


@dataclass
class TrainingConfig:
    """As that store's users have it."""

    learning_rate: float = 1e-4
    epochs: int = 3

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def awaited(test: Any) -> Any:
    """Runs an async test in a loop of its own."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        coroutine: Coroutine[Any, Any, None] = test(*args, **kwargs)
        asyncio.run(coroutine)

    return run


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, home: Path, tmp_path: Path) -> Any:
    if request.param == "sqlite":
        return tmp_path / "lab" / "experiments.db"
    return request.getfixturevalue("postgres")


@awaited
async def test_a_fine_tuning(place: Any) -> None:
    store = ExperimentStore(place)
    made = await store.create_experiment(
        name="llama-lora",
        base_model="meta-llama/Llama-3-8B",
        method="lora",
        description="a first try",
        tags=["lora", "50%_done", "it's"],
        config={"lora": {"r": 8, "alpha": 16}},
    )
    assert made.status == "created"
    assert made.created_at.tzinfo is not None
    run = await store.create_run(made.id, TrainingConfig())
    assert (run.status, run.config) == ("PENDING", {"learning_rate": 1e-4, "epochs": 3})
    for step in range(100):
        await store.log_metrics(run.id, step, {"loss": 1 / (step + 1), "accuracy": step / 100})
    rows = await store.get_run_metrics(run.id, start_step=10, end_step=19)
    assert [row["step"] for row in rows] == list(range(10, 20))
    assert rows[0]["loss"] == 1 / 11
    assert set(rows[0]) == {"step", "timestamp", "loss", "accuracy"}
    assert rows[0]["timestamp"] <= rows[-1]["timestamp"]
    await store.update_experiment(
        made.id, status="completed", metrics={"eval_loss": 0.5}, best_checkpoint="ckpt/100"
    )
    found = await store.get_experiment(made.id)
    assert isinstance(found, Experiment)
    assert (found.status, found.metrics, found.best_checkpoint) == (
        "completed",
        {"eval_loss": 0.5},
        "ckpt/100",
    )
    await store.update_experiment(made.id, status="", metrics={}, tags=[])
    found = await store.get_experiment(made.id)
    assert (found.status, found.metrics, found.tags) == ("", {}, [])
    ended = await store.update_run(run.id, status="FAILED", error_message="out of data")
    assert (ended.status, ended.error_message, ended.metrics["loss"]) == (
        "FAILED",
        "out of data",
        0.01,
    )
    assert ended.ended_at is not None
    await store.close()


@awaited
async def test_names_tags_pages(place: Any) -> None:
    async with ExperimentStore(place) as store:
        for number, tag in enumerate(["100%", "100x", "a_b", "acb", "it's", 'say "hi"']):
            await store.create_experiment(f"e{number}", "m", "sft", tags=[tag])
        newest = await store.create_experiment("e0", "m", "sft")
        assert (await store.get_experiment_by_name("e0")).id == newest.id
        assert await store.get_experiment_by_name("e'9") is None
        assert await store.get_experiment("0" * 32) is None
        assert [e.name for e in await store.list_experiments(limit=2, offset=1)] == ["e5", "e4"]
        for tag, name in {"100%": "e0", "a_b": "e2", "it's": "e4", 'say "hi"': "e5"}.items():
            assert [e.name for e in await store.list_experiments(tag=tag)] == [name]
        assert len(await store.list_experiments(status="created")) == 7
        assert await store.list_experiments(status="done") == []


@awaited
async def test_forks_comparisons_deletions(place: Any) -> None:
    async with ExperimentStore(place) as store:
        parent = await store.create_experiment(
            "base", "m", "dpo", tags=["x"], config={"a": 1, "deep": {"b": 2, "c": 3}}
        )
        child = await store.fork_experiment(parent.id, config_overrides={"deep": {"b": 9}})
        assert child.name == "base-fork"
        assert child.description == "Forked from base"
        assert child.config == {"a": 1, "deep": {"b": 9, "c": 3}}
        assert (child.base_model, child.method, child.tags) == ("m", "dpo", ["x"])
        grandchild = await store.fork_experiment(child.id, "grand")
        with pytest.raises(ValueError, match="no experiment"):
            await store.fork_experiment("f" * 32)
        with pytest.raises(ValueError, match="no experiment"):
            await store.create_run("f" * 32, {})
        run = await store.create_run(child.id, {"lr": 0.1})
        await store.log_metrics(run.id, 0, {"loss": 0.25})
        await store.get_run(run.id)
        table = await store.compare_experiments([parent.id, child.id])
        assert set(table[parent.id]) == {"name", "model", "method", "status", "metrics", "config"}
        assert table[child.id]["metrics"] == {"loss": 0.25}, "the runs are not left out"
        with pytest.raises(runbase.NotFound, match=r"f{32}"):
            await store.compare_experiments([parent.id, "f" * 32])
        assert await store.delete_experiment(child.id)
        assert not await store.delete_experiment(child.id)
        assert await store.get_run(run.id) is None
        orphan = await store.get_experiment(grandchild.id)
        assert orphan is not None
        assert orphan.parent_experiment_id is None
        inner = await store._opened()
        assert [a.name for a in await inner.ancestors(grandchild.id)] == ["base-fork", "base"]


@awaited
async def test_each_path_is_a_store_of_its_own(home: Path, tmp_path: Path) -> None:
    one, two = get_experiment_store(tmp_path / "1.db"), get_experiment_store(tmp_path / "2.db")
    assert one is get_experiment_store(tmp_path / "1.db")
    await one.create_experiment("only here", "m", "x")
    assert await two.list_experiments() == []
    await one.close()
    await two.close()


@awaited
async def test_two_stores_write_at_once(place: Any, home: Path) -> None:
    """No "database is locked": two stores on one place, thousands of steps."""
    one, two = ExperimentStore(place), ExperimentStore(place)
    made = await one.create_experiment("both", "m", "x")
    runs = [await store.create_run(made.id, {}) for store in (one, two)]

    async def train(store: ExperimentStore, run: str) -> None:
        for step in range(3000):
            await store.log_metrics(run, step, {"loss": step})

    began = time.perf_counter()
    await asyncio.gather(train(one, runs[0].id), train(two, runs[1].id))
    assert time.perf_counter() - began < 30
    for store, run in zip((one, two), runs, strict=True):
        assert len(await store.get_run_metrics(run.id)) == 3000
        await store.close()


@awaited
async def test_a_file_of_the_old_store_is_left_alone(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "experiments.db"
    with sqlite3.connect(path) as old:
        old.execute("create table experiments (id text primary key, name text)")
        old.execute("create table metrics_log (id integer, run_id text)")
    before = path.read_bytes()
    with pytest.raises(runbase.StoreError, match="another program"):
        await ExperimentStore(path).list_experiments()
    assert path.read_bytes() == before
