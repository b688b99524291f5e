"""A session of SQLite: named statements, and the conversion of values to this dialect."""

import re
import sqlite3
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec

from runbase.storage.arrays import encode_document, encode_numbers
from runbase.storage.sql.session import fitted, plain_row
from runbase.storage.sql.statements import statements


class Session:
    """Named statements on one connection, in its current transaction."""

    dialect = "sqlite"
    for_update = ""

    schema: str | None = "main"
    id_pool: dict[str, list[int]] | None = None
    own: Any = None

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for what SQL cannot express."""
        return self._connection

    def run(self, name: str, /, **params: Any) -> None:
        """Execute a named statement."""
        self._execute(name, params)

    def changed(self, name: str, /, **params: Any) -> int:
        """Execute a named statement; returns how many rows it changed."""
        return self._execute(name, params).rowcount

    def many(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute a named statement once per row."""
        statement = statements("sqlite")[name]
        if rows:
            self._connection.executemany(
                statement.text, [plain_row(fitted(statement, row)) for row in rows]
            )

    def bulk_insert(
        self, name: str, table: str, rows: Sequence[Mapping[str, Any]], *, fresh: bool = False
    ) -> None:
        """Insert many rows at once; existing rows are kept."""
        del table, fresh  # SQLite has nothing faster than a statement per row
        self.many(name, rows)

    def rows(self, name: str, /, **params: Any) -> list[Any]:
        """Return a named query's rows, which can be indexed by column name."""
        return self._execute(name, params).fetchall()

    def row(self, name: str, /, **params: Any) -> Any:
        """Return a named query's first row, or None."""
        return self._execute(name, params).fetchone()

    def wait(self) -> None:
        """Do nothing: each statement is complete when it returns."""

    def send(self, name: str, /, **params: Any) -> Callable[[], list[Any]]:
        """Execute a named query; returns a function for its rows."""
        rows = self.rows(name, **params)
        return lambda: rows

    arrays = rows

    def query(self, text: str, params: Mapping[str, Any]) -> list[Any]:
        """Return the rows of a query that was composed from a filter; its values are bound."""
        return self._connection.execute(text, plain_row(params)).fetchall()

    def script(self, text: str) -> None:
        """Execute several statements in the current transaction (`executescript` would end it)."""
        for statement in _split(text):
            self._connection.execute(statement)

    @contextmanager
    def savepoint(self) -> Generator[None]:
        """Start a part of the transaction that is rolled back alone if it fails."""
        self._connection.execute("savepoint part")
        try:
            yield
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("rollback to part")
                self._connection.execute("release part")
            raise
        self._connection.execute("release part")

    def _execute(self, name: str, params: Mapping[str, Any]) -> sqlite3.Cursor:
        statement = statements("sqlite")[name]
        return self._connection.execute(statement.text, plain_row(fitted(statement, params)))

    # This dialect's form of what SQL has no common form for.

    @staticmethod
    def time(seconds: float) -> str:
        """Convert seconds since the epoch to the stored form of a time."""
        moment = datetime.fromtimestamp(seconds, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    @staticmethod
    def moment(value: Any) -> datetime | None:
        """Convert a stored time to an aware datetime."""
        return None if value is None else datetime.fromisoformat(value)

    @staticmethod
    def json(value: Any) -> str:
        """Convert a document to its stored form."""
        return encode_document(value)

    @staticmethod
    def document(value: Any) -> Any:
        """Convert a stored document to an object."""
        return None if value is None else msgspec.json.decode(value)

    @staticmethod
    def as_list(values: Sequence[Any]) -> str:
        """Return values to compare with `= any(:values)`."""
        return encode_document([*values])

    @staticmethod
    def array(text: str) -> str:
        """Convert JSON to an array of integers or steps."""
        return text

    @staticmethod
    def floats(values: Sequence[Any]) -> str:
        """Convert numbers to an array; NaN is null, and an infinity is a literal that overflows to one."""
        return encode_numbers(values)

    @staticmethod
    def floats_of(text: str) -> str:
        """Convert JSON, with null for NaN and 9e999 for an infinity, to an array of numbers."""
        return text


def _split(script: str) -> Iterator[str]:
    """Yield the statements of a script; SQLite itself decides which semicolon ends a statement."""
    statement = ""
    for piece in re.split(r"(?<=;)", script):
        statement += piece
        if piece.endswith(";") and sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if _has_code(statement):
        yield statement


def _has_code(text: str) -> bool:
    return any(line.strip() and not line.strip().startswith("--") for line in text.splitlines())
