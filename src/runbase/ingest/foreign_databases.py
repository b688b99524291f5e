"""Read-only access to other systems' databases: SQLite files, and PostgreSQL by URL."""

import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlparse, urlsplit, urlunsplit

from runbase.errors import StoreUnavailable
from runbase.ingest.foreign import ImportedRun

Ask = Callable[..., list[Any]]
"""Runs a query with a `?` for each of the arguments that follow; returns the rows."""


_MAGIC = b"SQLite format 3\0"


def path_of(source: str) -> Path:
    """Return the file or folder that a source names."""
    return Path(source.removeprefix("sqlite:///").removeprefix("file://")).expanduser()


def is_database(source: str) -> bool:
    """Return whether a source may be a database: a PostgreSQL URL, or a file with SQLite's header."""
    if source.startswith(("postgresql://", "postgres://")):
        return True
    try:
        with path_of(source).open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def _schema(source: str) -> tuple[str, str | None]:
    """Split `schema=`, which libpq does not accept, off a URL; returns the URL without it, and its value."""
    parts = urlsplit(source)
    asked = dict(parse_qsl(parts.query))
    schema = asked.pop("schema", None)
    return urlunsplit(parts._replace(query=urlencode(asked))), schema


def tables(source: str) -> set[str]:
    """Return the names of a database's tables; empty if it is not a database."""
    if not is_database(source):
        return set()
    names = "select name from sqlite_master"
    if source.startswith("postgres"):
        names = (
            "select table_name from information_schema.tables where table_schema = current_schema()"
        )
    try:
        with database(source, "it") as ask:
            return {name for (name,) in ask(names)}
    except StoreUnavailable:
        if source.startswith("postgres"):
            raise
        return set()


def columns(source: str, ask: Ask, table: str) -> dict[str, str]:
    """Return the columns of a table, in order: name → declared type.

    Args:
        source: the database.
        ask: a function that queries it.
        table: the table's name, in the current schema.
    """
    if source.startswith("postgres"):
        query = (
            "select column_name, data_type from information_schema.columns "
            "where table_schema = current_schema() and table_name = ? order by ordinal_position"
        )
    else:
        query = "select name, type from pragma_table_info(?)"
    return dict(ask(query, table))


@contextmanager
def database(source: str, system: str) -> Generator[Ask]:
    """Open a database and give a function that queries one state of it.

    Raises:
        StoreUnavailable: the database cannot be read.
    """
    connection: Any
    if source.startswith(("postgresql://", "postgres://")):
        psycopg: Any = import_module("psycopg")
        try:
            address, schema = _schema(source)
            connection = psycopg.connect(address)
            if schema:
                name = import_module("psycopg.sql").Identifier(schema)
                connection.execute(
                    import_module("psycopg.sql").SQL("set search_path to {}").format(name)
                )
                connection.commit()
        except psycopg.Error as wrong:
            raise StoreUnavailable(f"cannot read {urlparse(source).hostname}: {wrong}") from wrong
        connection.execute("set transaction isolation level repeatable read read only")
        mark = "%s"
    else:
        connection = _open_file(path_of(source))
        connection.execute("begin")
        mark = "?"

    errors = (sqlite3.Error, *_psycopg_errors(source))

    def ask(query: str, *values: Any) -> list[Any]:
        try:
            return connection.execute(query.replace("?", mark), values).fetchall()
        except errors as wrong:
            raise StoreUnavailable(f"cannot read {system}'s database: {wrong}") from wrong

    try:
        yield ask
    finally:
        connection.close()


def _open_file(path: Path) -> sqlite3.Connection:
    """Open a SQLite file for reading, without creating files next to it.

    In WAL mode, SQLite creates a write-ahead log and its index next to the database, also for a reader, and leaves them there.
    A file without a log, which no process is writing, is opened as immutable.
    """
    name = quote(str(path.absolute()))
    with path.open("rb") as file:
        in_wal_mode = file.read(20)[18:20] == b"\x02\x02"
    still = in_wal_mode and not path.with_name(f"{path.name}-wal").exists()
    return sqlite3.connect(f"file:{name}?mode=ro{'&immutable=1' if still else ''}", uri=True)


def each(
    rows: Iterable[Any], make: Callable[..., ImportedRun], problems: list[str]
) -> Iterator[ImportedRun]:
    """Yield a run for each row, whose first value is the run's name; add rows that cannot be read to `problems`."""
    for row in rows:
        try:
            run = make(*row)
        except (
            StoreUnavailable,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ) as wrong:
            problems.append(f"run {row[0]}: {wrong}")
            continue
        yield run


def _psycopg_errors(source: str) -> tuple[type[BaseException], ...]:
    return (import_module("psycopg").Error,) if source.startswith("postgres") else ()
