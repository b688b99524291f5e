"""What a store promises about trials, on every backend, sync and async."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase import aio
from runbase.client import Store
from runbase.experiment import Claim, Experiment
from runbase.testing import TrialContract

from .test_store import Awaiting


class TestSqlite(TrialContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        with runbase.open(tmp_path / "trials.db") as store:
            yield store


class TestMemory(TrialContract):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        with runbase.open("sqlite://") as store:
            yield store


class TestPostgres(TrialContract):
    @pytest.fixture
    def store(self, postgres: str) -> Iterator[Store]:
        with runbase.open(postgres) as store:
            yield store


class AsyncContract(TrialContract):
    def sync(self, store: Any) -> Any:
        return store._store.sync_store

    def do(self, store: Any, result: Any) -> Any:
        return store._await(result) if inspect.isawaitable(result) else result


class TestAsyncSqlite(AsyncContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Any]:
        store = Awaiting(str(tmp_path / "trials.db"))
        yield store
        store.end()


class TestAsyncPostgres(AsyncContract):
    @pytest.fixture
    def store(self, postgres: str) -> Iterator[Any]:
        store = Awaiting(postgres)
        yield store
        store.end()


@pytest.mark.parametrize(
    ("ours", "theirs"), [(Experiment, aio.AsyncExperiment), (Claim, aio.AsyncClaim)]
)
def test_both_faces_have_the_same_names_and_arguments(ours: type, theirs: type) -> None:
    names = {n for n in vars(ours) if not n.startswith("_") and callable(getattr(ours, n))}
    assert names
    for name in names - {"claim"}:
        assert inspect.signature(getattr(ours, name)) == inspect.signature(getattr(theirs, name))
    assert hasattr(theirs, "claim") == hasattr(ours, "claim")
