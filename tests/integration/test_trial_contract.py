"""What a store promises about trials, on every backend, sync and async."""

import inspect

import pytest

from runbase import aio
from runbase.testing import TrialContract
from runbase.trials.claim import Claim
from runbase.trials.experiment import Experiment

from .backends import AsyncPostgres, AsyncSqlite, Memory, Postgres, Server, Sqlite


class TestSqlite(Sqlite, TrialContract): ...


class TestMemory(Memory, TrialContract): ...


class TestPostgres(Postgres, TrialContract): ...


class TestServer(Server, TrialContract): ...


class TestAsyncSqlite(AsyncSqlite, TrialContract): ...


class TestAsyncPostgres(AsyncPostgres, TrialContract): ...


@pytest.mark.parametrize(
    ("ours", "theirs"), [(Experiment, aio.AsyncExperiment), (Claim, aio.AsyncClaim)]
)
def test_both_faces_have_the_same_names_and_arguments(ours: type, theirs: type) -> None:
    names = {n for n in vars(ours) if not n.startswith("_") and callable(getattr(ours, n))}
    assert names
    for name in names - {"claim"}:
        assert inspect.signature(getattr(ours, name)) == inspect.signature(getattr(theirs, name))
    assert hasattr(theirs, "claim") == hasattr(ours, "claim")
