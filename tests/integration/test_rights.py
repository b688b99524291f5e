"""What a role that lacks rights in PostgreSQL is told, and what a forgotten schema is told."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

import runbase
from runbase.errors import StoreUnavailable
from tests.integration.servers import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("rights"))
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("create role ada login")
        connection.execute("revoke create on schema public from public")
    with runbase.open(f"{server.url}&schema=lab") as store:
        store.create_run("x")
    yield server
    server.close()


def as_ada(server: Server, schema: str) -> str:
    return server.url.replace("postgres:@", "ada:@") + f"&schema={schema}"


def test_a_forgotten_schema(server: Server) -> None:
    with pytest.raises(
        StoreUnavailable, match=r"no tables of runbase.*put schema=lab into the URL"
    ):
        runbase.open(server.url, create=False)
    with pytest.raises(StoreUnavailable, match=r"'lob' not found.*put schema=lab into the URL"):
        runbase.open(f"{server.url}&schema=lob", create=False)


def test_a_role_without_rights_is_told_the_statements(server: Server, tmp_path: Path) -> None:
    url = as_ada(server, "lab")
    with psycopg.connect(server.url, autocommit=True) as connection:
        with pytest.raises(
            StoreUnavailable, match="role 'ada' may not use schema 'lab'"
        ) as refused:
            runbase.open(url, create=False)
        allow(connection, str(refused.value))
        with runbase.open(url, create=False) as store:
            (run,) = store.runs()
            with pytest.raises(StoreUnavailable, match="permission denied") as refused:
                store.tag(run, "good")
            allow(connection, str(refused.value))
            store.tag(run, "good")
            assert store.run(run).tags == {"good": None}


def test_a_role_that_may_not_create_tables(server: Server, home: Path) -> None:
    url = as_ada(server, "public")
    with pytest.warns(RuntimeWarning, match=r'grant usage, create on schema "public" to "ada"'):
        runbase.start_run("y", store=url, home=home, capture=False).finish()


def allow(connection: psycopg.Connection, message: str) -> None:
    """Execute the statements of a message."""
    statements = message[message.index("grant ") :].rstrip(";").split(";")
    for statement in statements:
        connection.execute(statement)  # type: ignore[call-overload]
