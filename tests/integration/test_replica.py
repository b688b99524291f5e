"""Reads from a streaming replica: they have what this process wrote, and come from the database if the replica cannot answer."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
import urllib3

import runbase
from runbase.errors import NotFound, QueryError, RunbaseWarning, UsageError
from runbase.ids import new_id
from runbase.server.serve import serving
from runbase.storage.address import without_password
from runbase.storage.postgres import replica as replicas
from runbase.storage.postgres.replica import ReplicaReader
from runbase.storage.protocol import Storage
from runbase.storage.sql.storage import SqlStorage
from runbase.store.store import Store
from tests.integration.servers import Replica, Server
from tests.patience import wait_until


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Replica]]:
    """A PostgreSQL server and a streaming replica of it."""
    folders = [Path(tempfile.mkdtemp(prefix="pg")) for _ in range(2)]
    server = Server(folders[0])
    folders[1].chmod(0o777)
    replica = server.replica(folders[1])
    yield server, replica
    replica.stop(check=False)
    server.close()
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits of a machine that is busy, so that the replica is used."""
    monkeypatch.setattr(replicas, "WAIT", 60.0)
    monkeypatch.setattr(replicas, "REACH", 60.0)


@pytest.fixture
def urls(servers: tuple[Server, Replica]) -> Iterator[tuple[str, str]]:
    """The URLs of an empty schema, on the server and on its replica."""
    schema = f"t{new_id()}"
    yield cast("tuple[str, str]", tuple(f"{server.url}&schema={schema}" for server in servers))
    with psycopg.connect(servers[0].url, autocommit=True) as connection:
        connection.execute(f'drop schema if exists "{schema}" cascade')


@pytest.fixture
def paused(servers: tuple[Server, Replica]) -> Iterator[Any]:
    """Stops and continues the replay on the replica, for a replica that is behind."""
    with psycopg.connect(servers[1].url, autocommit=True) as connection:

        def pause(on: bool) -> None:
            connection.execute(f"select pg_wal_replay_{'pause' if on else 'resume'}()")
            if on:
                wait_until(
                    lambda: (
                        connection.execute("select pg_get_wal_replay_pause_state()").fetchone()
                        == ("paused",)
                    )
                )

        yield pause
        pause(False)


class Counter:
    """Counts the calls of two storages."""

    def __init__(self, reader: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        real = SqlStorage.__getattribute__
        primary = cast("ReplicaReader", reader).primary

        def counted(storage: SqlStorage, name: str) -> Any:
            if name in replicas.ROUTED:
                self.calls.append("primary" if storage is primary else "replica")
            return real(storage, name)

        monkeypatch.setattr(SqlStorage, "__getattribute__", counted)

    def last(self) -> str:
        return self.calls[-1]


def log_run(url: str, home: Path, name: str = "first") -> str:
    with runbase.start_run("digits", store=url, home=home, name=name, capture=False) as run:
        for step in range(10):
            run.log({"loss": 1 / (step + 1)}, step=step)
    return run.id


def test_reads_have_what_this_process_wrote(
    urls: tuple[str, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = log_run(urls[0], home)
    with runbase.open(urls[0], read_url=urls[1]) as store:
        counter = Counter(store.reader, monkeypatch)
        for number in range(5):
            store.tag(run, {"turn": str(number)})
            assert [r.tags["turn"] for r in store.runs()] == [str(number)]
            assert counter.last() == "replica"
        log_run(urls[0], home, "second")  # by another storage of this process
        assert {r.name for r in store.runs()} == {"first", "second"}
        assert len(store.metrics(run, "loss").values) == 10
        assert store.sql("select pg_is_in_recovery()")[0][0] is True
        assert counter.last() == "replica"
        [chart] = store.storage.envelopes([(run, "loss")])
        [same] = store.reader.envelopes([(run, "loss")])
        assert str(chart) == str(same)
        store.sql("update runs set notes = 'changed' where name = 'first'", write=True)
        assert store.runs("name = 'first'")[0].notes == "changed"


def test_a_replica_that_is_behind(
    urls: tuple[str, str], home: Path, paused: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads come from the database until the replica has replayed what was seen, and never go back."""
    run = log_run(urls[0], home)
    with runbase.open(urls[0], read_url=urls[1]) as store:
        reader = cast("ReplicaReader", store.reader)
        counter = Counter(store.reader, monkeypatch)
        store.runs()
        assert counter.last() == "replica"
        monkeypatch.setattr(replicas, "WAIT", 0.1)
        paused(True)
        store.tag(run, {"seen": "yes"})
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # being behind is no reason for a warning
            assert store.runs("tags.seen = 'yes'")
        assert counter.last() == "primary"
        state = reader.replica_state()
        assert state.problem is None
        assert state.lag is not None and state.lag > 0
        assert store.runs("tags.seen = 'yes'"), "what was seen once is seen again"
        paused(False)
        wait_until(lambda: reader.replica_state().lag == 0)
        monkeypatch.setattr(replicas, "WAIT", 60.0)
        reader._patient_from = 0.0
        assert store.runs("tags.seen = 'yes'")
        assert counter.last() == "replica"


def test_changes_are_those_that_reads_have(
    urls: tuple[str, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = log_run(urls[0], home)
    with runbase.open(urls[0], read_url=urls[1]) as store, runbase.open(urls[0]) as other:
        cursor = store.changes().cursor
        store.changes(cursor, wait=0.1)
        other.tag(run, {"by": "another"})
        changes = store.changes(cursor, wait=60)
        assert changes.runs == [run]
        assert [r.tags for r in store.runs()] == [{"by": "another"}]


def test_a_replica_that_stops_and_comes_back(
    urls: tuple[str, str],
    servers: tuple[Server, Replica],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log_run(urls[0], home)
    monkeypatch.setattr(replicas, "RETRY", 0.5)
    with runbase.open(urls[0], read_url=urls[1]) as store:
        counter = Counter(store.reader, monkeypatch)
        assert len(store.runs()) == 1
        assert counter.last() == "replica"
        servers[1].stop()
        try:
            with pytest.warns(RunbaseWarning, match="its replica cannot be used") as told:
                for _ in range(10):
                    assert len(store.runs()) == 1
            assert len(told) == 1
            assert counter.last() == "primary"
        finally:
            servers[1].start()

        def is_back() -> bool:
            assert len(store.runs()) == 1
            return counter.last() == "replica"

        wait_until(is_back)


def test_a_replica_that_is_promoted(
    urls: tuple[str, str],
    servers: tuple[Server, Replica],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It gets no further changes, so nothing is read from it."""
    run = log_run(urls[0], home)
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    folder.chmod(0o777)
    other = servers[0].replica(folder)
    try:
        read_url = f"{other.url}&schema={urls[0].rpartition('=')[2]}"
        monkeypatch.setattr(replicas, "WAIT", 60.0)
        monkeypatch.setattr(replicas, "CHECK", 0.0)
        with runbase.open(urls[0], read_url=read_url) as store:
            counter = Counter(store.reader, monkeypatch)
            store.runs()
            assert counter.last() == "replica"
            other.promote()
            with runbase.open(urls[0]) as writer:
                writer.tag(run, {"later": "yes"})
            with pytest.warns(RunbaseWarning, match="is not a replica: it accepts writes"):
                assert store.runs("tags.later = 'yes'")
    finally:
        other.stop(check=False)
        shutil.rmtree(folder, ignore_errors=True)


def test_what_the_replica_refuses_is_asked_of_the_database(
    urls: tuple[str, str], home: Path
) -> None:
    log_run(urls[0], home)
    with runbase.open(urls[0], read_url=urls[1]) as store:
        with pytest.raises(QueryError, match="is not a query"):
            store.sql("delete from runs")
        with pytest.raises(NotFound):
            store.run("unknown")
        store.rename(store.runs()[0], "renamed")
        assert store.runs()[0].name == "renamed"


def test_the_url_of_another_database(
    urls: tuple[str, str], servers: tuple[Server, Replica], home: Path
) -> None:
    log_run(urls[0], home)
    for wrong, reason in (
        (urls[0], "is not a replica: it accepts writes"),
        (f"{servers[1].url}&schema=public", "is not a replica of"),
        ("postgresql://127.0.0.1:9/none", "cannot use"),
    ):
        with (
            runbase.open(urls[0], read_url=wrong) as store,
            pytest.warns(RunbaseWarning, match=reason),
        ):
            assert len(store.runs()) == 1
    with pytest.raises(UsageError, match="is not a replica that runbase supports"):
        runbase.open(urls[0], read_url="sqlite:///a.db")
    with pytest.raises(UsageError, match="belongs to a PostgreSQL store"):
        runbase.open(home / "a.db", read_url=urls[1])


def test_the_setting_is_for_its_own_database(
    urls: tuple[str, str],
    servers: tuple[Server, Replica],
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another database that a program opens is not read from the replica, and there is no warning."""
    monkeypatch.setenv("RUNBASE_READ_STORE", urls[1])
    log_run(urls[0], home)
    other = f"{servers[0].url}&schema=t{new_id()}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with runbase.open(tmp_path / "own.db") as store:
            assert store.reader is store.storage
            assert store.replica_state() is None
        with runbase.open(other) as store:
            assert store.runs() == []
        with runbase.open(urls[0]) as store:
            assert len(store.runs()) == 1
            assert isinstance(store.reader, ReplicaReader)
            assert store.reader._replica is not None


def test_the_setting_beside_sqlite(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBASE_READ_STORE", "postgresql://ada:secret@replica.lab/research")
    with (
        pytest.warns(RunbaseWarning, match=r"read_store .*replica.lab.* is not used") as warned,
        runbase.open(home=home) as store,
    ):
        assert store.reader is store.storage
    assert "secret" not in str(warned[0].message)


def test_a_replica_with_an_older_schema(
    urls: tuple[str, str], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_run(urls[0], home)
    with runbase.open(urls[0], read_url=urls[1]) as store:
        with monkeypatch.context() as patch:
            patch.setattr(SqlStorage, "_is_behind", lambda _: True)
            with pytest.warns(RunbaseWarning, match="has the schema of an older runbase"):
                assert len(store.runs()) == 1
        cast("ReplicaReader", store.reader)._retry_at = 0.0
        assert len(store.runs()) == 1


def test_commands(urls: tuple[str, str], home: Path) -> None:
    log_run(urls[0], home)
    environment = {**os.environ, "RUNBASE_STORE": urls[0], "RUNBASE_READ_STORE": urls[1]}

    def command(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "runbase", *arguments],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        return done.stdout

    assert "first" in command("runs")
    wait_until(lambda: "True" in command("sql", "select pg_is_in_recovery()"))
    wait_until(
        lambda: (
            "replica lag seconds" in (told := command("doctor"))
            and without_password(urls[1]) in told
        )
    )
    environment["RUNBASE_READ_STORE"] = "postgresql://127.0.0.1:9/none"
    assert "problem  reads come from" in command("doctor")


def test_a_server(urls: tuple[str, str], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients of one server see what they wrote; what their imports decide by is read from the database."""
    run = log_run(urls[0], home)
    with runbase.open(urls[0], read_url=urls[1]) as store, serving(store) as url:
        counter = Counter(store.reader, monkeypatch)
        with runbase.open(url) as client:
            client.tag(run, {"by": "client"})
            assert [r.tags for r in client.runs()] == [{"by": "client"}]
            assert counter.last() == "replica"
            assert len(client.metrics(run, "loss").values) == 10
            assert counter.last() == "primary"
        body = json.dumps({"series": [[run, "loss"]], "columns": 100}).encode()
        headers = {"Content-Type": "application/json"}
        assert (
            urllib3.request("POST", f"{url}/api/curves", body=body, headers=headers).status == 200
        )
        assert counter.last() == "replica"
        log_run(url, home, "second")
        listed = urllib3.request("GET", f"{url}/api/runs").json()
        assert "second" in json.dumps(listed)
        assert counter.last() == "replica"


def test_a_store_is_pickled_with_its_replica(urls: tuple[str, str], home: Path) -> None:
    import pickle

    log_run(urls[0], home)
    with (
        runbase.open(urls[0], read_url=urls[1]) as store,
        pickle.loads(pickle.dumps(store)) as copy,
    ):
        assert isinstance(copy, Store)
        assert isinstance(copy.reader, ReplicaReader)
        assert len(copy.runs()) == 1


def test_methods_are_those_of_a_storage() -> None:
    for name in replicas.ROUTED:
        assert callable(getattr(Storage, name))
        assert callable(getattr(ReplicaReader, name))
