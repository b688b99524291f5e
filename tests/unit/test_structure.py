"""The structure of the package: layers, circles, public names, statements that prepare, one schema."""

import ast
import re
import sqlite3
import subprocess
import sys
from collections.abc import Container
from pathlib import Path

import pytest

import runbase
from runbase.errors import StoreTooNew
from runbase.storage.open import open_storage
from runbase.storage.sql.migrate import migrate, migrations
from runbase.storage.sql.statements import bound, for_dialect, statements
from runbase.storage.sqlite.driver import Session, SqliteDriver

SOURCE = Path(runbase.__file__).parent
LAYERS = """
    cli server
    integrations testing wandb
    aio __init__
    store
    trials
    run
    artifacts
    ingest settings
    storage analysis
    journal
    capture errors events extras filesystems ids model processes space status typing values
"""
"""Packages and modules from top to bottom: an import goes down, or stays in its line. Late and type-only ones count."""
TYPED = ["store", "run", "trials", "ingest"]
"""Packages in which `Any` is rare: values whose type is known have one."""
MOST_ANY = 15
"""`Any` per 1,000 lines in `TYPED`."""
LAYER = {
    name: number
    for number, line in enumerate(reversed(LAYERS.strip().splitlines()))
    for name in line.split()
}
VOCABULARY = ["errors", "events", "ids", "model", "space", "status", "values"]
"""Modules that import nothing but the standard library and msgspec."""


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
        if other not in LAYER:  # a public name of the package
            other = "__init__"
        assert LAYER[other] <= LAYER[own], f"{own} imports {name} from a layer above"


def test_integrations_do_not_import_each_other() -> None:
    for path in (SOURCE / "integrations").glob("*/*.py"):
        others = {
            name.split(".")[2] for name in imports(path) if name.startswith("runbase.integrations.")
        }
        assert others <= {path.parent.name, "held"}, f"{path} imports {others}"


def test_no_module_is_imported_by_what_it_imports() -> None:
    """No circle, with the imports inside functions and for types."""
    names = {
        "runbase."
        + ".".join(p.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): p
        for p in MODULES
    }
    graph = {
        name: {n for n in imports_of_modules(p, names) if n != name} for name, p in names.items()
    }
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> None:
        if name in done:
            return
        assert name not in path, " → ".join([*path[path.index(name) :], name])
        path.append(name)
        for other in sorted(graph[name]):
            visit(other)
        done.add(path.pop())

    for name in sorted(graph):
        visit(name)


def imports_of_modules(path: Path, names: Container[str]) -> set[str]:
    """The modules that a file imports, also where it names them as parts of a package."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                whole = f"{node.module}.{each.name}"
                found.add(whole if whole in names else node.module)
        elif isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
    return {name for name in found if name in names}


def test_few_entries_at_the_root() -> None:
    entries = [p for p in SOURCE.iterdir() if p.name != "__pycache__"]
    assert len(entries) <= 30, sorted(p.name for p in entries)


def test_no_module_is_long() -> None:
    for path in MODULES:
        lines = len(path.read_text().splitlines())
        assert lines <= 500, f"{path.relative_to(SOURCE)} has {lines} lines"


def test_unit_tests_mirror_the_modules() -> None:
    """tests/unit/PACKAGE/test_MODULE.py tests PACKAGE/MODULE.py; two files test the package's text."""
    tests = Path(__file__).parent
    for path in tests.rglob("test_*.py"):
        name = path.relative_to(tests).with_name(path.name.removeprefix("test_"))
        if str(name) not in ("structure.py", "language.py"):
            assert (SOURCE / name).exists(), f"{path.name} tests no module {name}"


def test_the_vocabulary_knows_nothing_else() -> None:
    paths = [p for name in VOCABULARY for p in SOURCE.glob(f"{name}/*.py")]
    paths += [SOURCE / f"{name}.py" for name in VOCABULARY if name != "model"]
    for path in paths:
        tree = ast.parse(path.read_text())
        outside = {
            node.module.split(".")[0]
            for node in tree.body
            if isinstance(node, ast.ImportFrom) and node.module
        }
        assert outside <= set(sys.stdlib_module_names) | {"runbase", "msgspec"}


def test_public_names_are_counted() -> None:
    assert len(runbase.__all__) == 45
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


@pytest.mark.parametrize("package", TYPED)
def test_any_is_rare_in_a_typed_package(package: str) -> None:
    texts = [path.read_text() for path in (SOURCE / package).rglob("*.py")]
    lines = sum(text.count("\n") for text in texts)
    count = sum(len(re.findall(r"\bAny\b", text)) for text in texts)
    assert count * 1000 / lines < MOST_ANY
