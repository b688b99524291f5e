"""Looking changes nothing: no store is made, nothing is written, nothing outlives a query."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.errors import FilterError, NotFound, QueryError, QueryTimeout, StoreError, UsageError

Cli = Callable[..., Any]


def everything(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


LOOKS = [
    ["runs"],
    ["experiments"],
    ["show", "x"],
    ["compare", "a", "b"],
    ["best", "x", "-m", "loss"],
    ["plot", "loss"],
    ["query", "loss"],
    ["sql", "select 1"],
    ["schema"],
    ["queue"],
    ["export", "x.csv"],
    ["tag", "x", "y"],
    ["rm", "x"],
    ["view", "list"],
    ["worker", "x", "--", "true"],
]


@pytest.mark.parametrize("command", LOOKS, ids=lambda command: command[0])
@pytest.mark.parametrize("store", ["typo.db", "no/such/folder/typo.db", "sqlite:///typo.db"])
def test_no_file_is_made(
    cli: Cli, three: list[str], tmp_path: Path, command: list[str], store: str
) -> None:
    before = everything(tmp_path)
    where = [*command[:1], "--store", store, *command[1:]]
    if command[0] == "view":
        where = [*command, "--store", store]
    assert "no such store" in cli(*where, code=1)
    assert everything(tmp_path) == before


def test_no_schema_is_made(cli: Cli, three: list[str], postgres: str) -> None:
    import psycopg

    assert "no such store" in cli("runs", "--store", postgres, code=1)
    cli("doctor", "--store", postgres, code=1)
    server, _, schema = postgres.partition("schema=")
    with psycopg.connect(server.rstrip("?&")) as connection:
        found = connection.execute("select 1 from pg_namespace where nspname = %s", [schema])
        assert found.fetchone() is None
        connection.execute(f'create schema "{schema}"')
    assert "no such store" in cli("runs", "--store", postgres, code=1)
    with psycopg.connect(server.rstrip("?&")) as connection:
        tables = "select count(*) from pg_tables where schemaname = %s"
        assert connection.execute(tables, [schema]).fetchone() == (0,)


@pytest.mark.parametrize("store", ["postgres//x", "postgresql//me@h/db", "sqlite//x.db"])
def test_a_url_without_its_colon_is_no_path(cli: Cli, tmp_path: Path, store: str) -> None:
    before = everything(tmp_path)
    assert "is not a database URL" in cli("runs", "--store", store, code=2)
    with pytest.raises(UsageError, match="not a database URL"):
        runbase.open(store)
    assert everything(tmp_path) == before


def test_what_fails_to_come_in_makes_no_store(cli: Cli, tmp_path: Path, postgres: str) -> None:
    import psycopg

    (tmp_path / "bad.csv").write_text("run,loss\na,1\n")
    (tmp_path / "rubbish.bin").write_bytes(b"rubbish")
    before = everything(tmp_path)
    for arguments in (
        ["import", "nosuch.db"],
        ["import", "rubbish.bin"],
        ["import", "bad.csv", "--map", "nosuch=step"],
        ["scan", "nosuch"],
        ["copy", "nosuch.db", "deep/new.db"],
    ):
        more = [] if arguments[0] == "copy" else ["--store", "deep/new.db"]
        message = cli(*arguments, *more, code=2 if {"--map", "rubbish.bin"} & {*arguments} else 1)
        assert message.startswith(("runbase:", "Creating a new store"))
        assert everything(tmp_path) == before
    cli("import", "bad.csv", "--map", "nosuch=step", "--store", postgres, code=2)
    server, _, schema = postgres.partition("schema=")
    with psycopg.connect(server.rstrip("?&")) as connection:
        found = connection.execute("select 1 from pg_namespace where nspname = %s", [schema])
        assert found.fetchone() is None


def test_what_makes_a_store_says_so(tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("run,loss\na,1\n")
    command = [sys.executable, "-m", "runbase", "import", "good.csv", "--store", "deep/new.db"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "Creating a new store: sqlite:///" in done.stderr
    assert (tmp_path / "deep" / "new.db").exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""


# sql()


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[runbase.Store]:
    url = (
        str(tmp_path / "s.db") if request.param == "sqlite" else request.getfixturevalue("postgres")
    )
    with runbase.open(url, sync=False) as opened:
        opened.create_run("e", name="kept")
        yield opened


ATTACKS = [
    "commit; delete from runs",
    "select 1; delete from runs",
    "rollback; delete from runs",
    "commit",
    "rollback",
    "set transaction read write; delete from runs",
    "set transaction read write",
    "set session characteristics as transaction read write",
    "prepare mine as delete from runs",
    "prepare _pg3_0 as select 1",
    "deallocate all",
    "discard all",
    "set search_path = pg_catalog",
    "set statement_timeout = 0",
    "select set_config('search_path', 'pg_catalog', false)",
    "select set_config('default_transaction_read_only', 'off', false)",
    "select pg_advisory_lock(1)",
    "begin",
    "end",
    "abort",
    "savepoint x",
    "delete from runs",
    "with gone as (delete from runs returning id) select * from gone",
    "explain analyze delete from runs",
    "create table mine (a int)",
    "create temp table runs (a int)",
    "do $$ begin delete from runs; end $$",
    "copy runs to '/tmp/runbase-copied'",
    "copy runs to program 'true'",
    "copy runs to stdout",
    "listen x",
    "lock table runs",
    "vacuum",
    "call x()",
    "execute x",
    "/* a */ -- b\n (delete from runs)",
    "attach database 'other.db' as other",
    "pragma journal_mode = delete",
    "pragma writable_schema = on",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_query_writes_nothing_and_nothing_of_it_stays(
    store: runbase.Store, tmp_path: Path, attack: str
) -> None:
    before = store.sql("select count(*) from runs")
    for _ in range(2):
        try:
            store.sql(attack, timeout=20)
        except StoreError as error:
            assert "offline" not in type(error).__name__.lower(), error
    assert store.sql("select count(*) from runs") == before == [(1,)]
    assert [run.name for run in store.runs()] == ["kept"]
    if store.url.startswith("postgres"):
        assert store.sql("show transaction_read_only") == [("on",)]
        assert store.sql("show statement_timeout") == [("0",)]
        assert store.sql("select count(*) from pg_locks where locktype = 'advisory'") == [(0,)]
    else:
        assert store.sql("pragma journal_mode") == [("wal",)]
    assert not (tmp_path / "other.db").exists()
    store.update_run("kept", notes="still writable")
    for number in range(8):
        store.tag("kept", **{f"a{number}": "1", f"b{number}": "2"})
    assert len(store.run("kept").tags) == 16


def test_a_comment_and_parentheses_before_a_query(store: runbase.Store) -> None:
    assert store.sql("-- how many\n/* of them */ select 1") == [(1,)]
    if store.url.startswith("postgres"):
        assert store.sql("-- how many\n/* of them */ (select 1) union (select 1)") == [(1,)]
    assert store.sql("values (1), (2)") == [(1,), (2,)]
    assert store.sql("select '%', :a", {"a": "b%"}) == [("%", "b%")]


def test_a_deadline_holds_inside_a_function(tmp_path: Path) -> None:
    with runbase.open(tmp_path / "s.db") as store:
        for query in (
            "select length(replace(hex(zeroblob(400000000)), '0', 'ab'))",
            "select length(hex(randomblob(1000000000)))",
            "with recursive c(x) as (select 1 union all select x + 1 from c) select count(*) from c",
        ):
            began = time.monotonic()
            with pytest.raises((QueryTimeout, QueryError)):
                store.sql(query, timeout=0.5)
            assert time.monotonic() - began < 15


# Words


@pytest.mark.parametrize(
    "where",
    [
        "params.lr between 0.exists1 and 1",
        "(" * 5000 + "1 = 1" + ")" * 5000,
        "not " * 3000 + "alive",
        "params.lr = " + "1+" * 3000 + "1",
        "started_at > now() - interval '99999999999 days'",
        "x" * 100_000,
    ],
    ids=lambda where: where[:30],
)
def test_odd_filters_are_named_as_such(store: runbase.Store, where: str) -> None:
    with pytest.raises(FilterError) as raised:
        store.runs(where)
    assert len(str(raised.value)) < 3000
    with pytest.raises(FilterError):
        store.runs(order_by=where)


def test_a_number_that_is_none_is_pointed_at(store: runbase.Store) -> None:
    with pytest.raises(FilterError) as raised:
        store.runs("params.lr between 0.exists1 and 1")
    *_, line, pointer = str(raised.value).splitlines()
    assert line[pointer.index("^")] == "0"


@pytest.mark.parametrize("name", ["\n", "x/\n", "\nx:v1", "\0"])
def test_odd_names_of_artifacts(store: runbase.Store, name: str) -> None:
    with pytest.raises(NotFound):
        store.artifact(name)


def test_no_name_moves_the_cursor(cli: Cli, home: Path) -> None:
    odd = "\x1b[2J\x1b]0;title\x07\x9b31m\rname"
    run = runbase.start_run(odd, name=odd, params={odd: odd}, tags={odd: odd}, home=home)
    run.log({odd: 1.0})
    run.note(odd)
    run.finish(error=odd)
    for command in (
        ["runs"],
        ["experiments"],
        ["show", run.id],
        ["compare", run.id, run.id],
        ["best", "-m", odd],
        ["sql", "select name from runs"],
        ["tag", run.id, odd],
        ["doctor"],
    ):
        shown = cli(*command)
        assert not {c for c in shown if ord(c) < 32 or 127 <= ord(c) < 160} - {"\n", "\t"}, command
    assert "\x1b" not in cli("show", odd + "x", code=1)


def test_runs_are_listed_beside_many_writers(cli: Cli, home: Path) -> None:
    script = (
        "import runbase, sys\n"
        f"run = runbase.start_run('busy', home={str(home)!r}, capture=False)\n"
        "print('on', flush=True)\n"
        "while True:\n"
        "    for _ in range(200): run.log({f'k{i}': 1.0 for i in range(20)})\n"
        "    run.flush()\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) for _ in range(12)
    ]
    try:
        for writer in writers:
            assert writer.stdout is not None
            writer.stdout.readline()
        waited: list[float] = []
        done = threading.Event()

        def look() -> None:
            with runbase.open(home=home) as store:
                for _ in range(5):
                    began = time.monotonic()
                    store.sync(patience=1.0)
                    assert len(store.runs()) >= 1
                    waited.append(time.monotonic() - began)
            done.set()

        threading.Thread(target=look).start()
        assert done.wait(120)
        # Twelve busy processes share the machine: this is far below what waiting for each would take.
        assert sorted(waited)[2] < 10, waited
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()
