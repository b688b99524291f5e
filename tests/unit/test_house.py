"""The rules of the house: floors, public names, statements that prepare, one schema."""

import ast
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import runbase
from runbase.errors import StoreTooNew
from runbase.storage.open import open_storage
from runbase.storage.sql.migrate import migrate, migrations
from runbase.storage.sql.statements import bound, for_dialect, statements
from runbase.storage.sqlite.driver import Session, SqliteDriver

SOURCE = Path(runbase.__file__).parent
FLOORS = {
    0: "model events status errors ids values space secrets",
    1: "journal storage",
    2: "settings capture analysis",
    3: "artifacts ingest coerce run trials store aio testing",
    4: "cli server integrations",
}
FLOOR = {name: floor for floor, names in FLOORS.items() for name in names.split()}
APART = {"cli", "server", "integrations"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("runbase"):
            names = (
                [node.module]
                if node.module != "runbase"
                else [f"runbase.{a.name}" for a in node.names]
            )
            found |= set(names)
        elif isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.startswith("runbase.")}
    return found


MODULES = sorted(
    p for p in SOURCE.rglob("*.py") if p.parent != SOURCE or p.stem not in ("__init__", "__main__")
)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down(path: Path) -> None:
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    for name in imports(path):
        other = name.split(".")[1]
        if other.startswith("__") or other in runbase.__all__:
            continue
        assert FLOOR[other] <= FLOOR[own], f"{own} imports {name} from a floor above"
        if own in APART and other in APART:
            assert own == other, f"{own} imports {name} from beside it"


def test_the_words_know_nothing_else() -> None:
    for name in FLOORS[0].split():
        tree = ast.parse((SOURCE / f"{name}.py").read_text())
        outside = {
            node.module.split(".")[0]
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module
        }
        assert outside <= set(sys.stdlib_module_names) | {"runbase", "msgspec"}


def test_public_names_are_counted() -> None:
    assert len(runbase.__all__) == 44
    assert sorted(runbase.__all__) == sorted(runbase._PLACES)
    for name in runbase.__all__:
        assert getattr(runbase, name).__doc__


def test_import_is_light() -> None:
    code = "import sys, runbase; runbase.start_run; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(out.stdout.split())
    assert not loaded & {"numpy", "sqlglot", "typer", "rich", "pandas", "sqlite3", "asyncio"}


def test_unknown_names_say_what_to_use() -> None:
    with pytest.raises(AttributeError, match=r"runs\(where"):
        runbase.search_runs
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        runbase.nonsense


@pytest.fixture
def session() -> Session:
    driver = SqliteDriver(None)
    with driver.write() as opened:
        migrate(opened)
    return Session(driver._connect_writer())


@pytest.mark.parametrize("name", sorted(statements("sqlite")))
def test_statements_prepare(session: Session, name: str) -> None:
    statement = statements("sqlite")[name]
    assert statement.description or name.endswith("_of_runs"), f"{name} says not what it does"
    session.query(f"explain {statement.text}", dict.fromkeys(statement.parameters))


def test_statements_prepare_on_postgres(postgres: str) -> None:
    """Each statement alone, its parameters' types left to the server."""
    import psycopg

    from runbase.storage.address import postgres_address

    open_storage(postgres).close()
    address = postgres_address(postgres)
    with psycopg.connect(address.libpq, autocommit=True) as connection:
        connection.execute(f"set search_path to {address.schema[0]}")
        for name, statement in statements("postgres").items():
            places = {p: f"${n + 1}" for n, p in enumerate(sorted(statement.parameters))}
            text = bound(statement.text, places.__getitem__)
            used = sorted(statement.parameters)
            assert set(used) ^ statements("sqlite")[name].parameters <= {"high", "schema"}, name
            connection.execute(f"prepare s_{name} as {text}")


def test_every_statement_is_used() -> None:
    code = "\n".join(p.read_text() for p in (SOURCE / "storage").rglob("*.py"))
    for name in statements("sqlite"):
        assert f'"{name}"' in code, f"no code uses the statement {name}"


def test_every_column_says_what_it_is() -> None:
    text = for_dialect((SOURCE / "storage/sql/migrations/0001_first.sql").read_text(), "sqlite")
    inside = False
    for line in text.splitlines():
        inside = line.startswith("create table") or (inside and not line.startswith(")"))
        if inside and re.match(r'  "?\w+"? +(text|integer|real|numeric)\b', line):
            assert " -- " in line, f"this column has no comment: {line}"


def test_views_answer_in_bare_sqlite(tmp_path: Path) -> None:
    opened = open_storage(str(tmp_path / "x.db"))
    opened.close()
    bare = sqlite3.connect(tmp_path / "x.db")
    for (view,) in bare.execute("select name from sqlite_master where type = 'view'").fetchall():
        bare.execute(f"select * from {view}").fetchall()


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    open_storage(str(path)).close()
    bare = sqlite3.connect(path)
    newer = migrations("sqlite")[-1].number + 1
    bare.execute(
        f"insert into migrations (name, sha256, opens_with, applied) values ('9999_later.sql', 'x', {newer}, '')"
    )
    bare.commit()
    with pytest.raises(StoreTooNew, match="pip install --upgrade runbase"):
        open_storage(str(path))


def test_a_later_schema_that_old_programs_may_use(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    open_storage(str(path)).close()
    bare = sqlite3.connect(path)
    bare.execute(
        "insert into migrations (name, sha256, opens_with, applied) values ('9999_later.sql', 'x', 1, '')"
    )
    bare.commit()
    open_storage(str(path)).close()
