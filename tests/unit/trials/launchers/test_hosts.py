"""Which stores other machines can use."""

import socket

import pytest

from runbase.errors import UsageError
from runbase.trials.launchers.hosts import check_reachable, is_this_machine, only_here


@pytest.mark.parametrize(
    "address",
    [
        "runs.db",
        "sqlite:////nfs/runs.db",
        "postgresql:///lab",
        "postgresql://ada@/lab?host=/run/postgresql",
        "postgresql://ada:x@localhost:5432/lab",
        "postgres://127.0.0.1/lab",
        "postgresql://[::1]/lab",
        "postgresql+psycopg2://ada@/lab?host=localhost",
        "http://127.0.0.1:4400",
    ],
)
def test_stores_of_this_machine(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGHOST", raising=False)
    assert only_here(address)
    check_reachable(address, "the nodes are", [])
    with pytest.raises(UsageError, match="use PostgreSQL"):
        check_reachable(address, "the nodes are", ["node-7"])


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://ada@db.lab/research",
        "postgresql://ada@/lab?host=db.lab",
        "postgresql://localhost,db.lab/lab",
        "postgresql:///?service=lab",
        "https://runbase.lab",
    ],
)
def test_stores_of_all(address: str) -> None:
    assert only_here(address) is None
    check_reachable(address, "the nodes are", None)


def test_the_host_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "db.lab")
    assert only_here("postgresql:///lab") is None


def test_no_password_is_shown() -> None:
    with pytest.raises(UsageError) as caught:
        check_reachable("postgresql://ada:geheim@localhost/lab", "the pods are", None)
    assert "geheim" not in str(caught.value)


def test_this_machine() -> None:
    assert is_this_machine(socket.gethostname())
    assert is_this_machine("127.0.0.1")
    assert not is_this_machine("node-7.lab")
    assert not is_this_machine("203.0.113.7")
