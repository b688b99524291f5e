"""A session of SQLite: named statements, and the forms that values have in this dialect."""

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
    """Named statements on one connection, inside whatever transaction it is in."""

    dialect = "sqlite"
    for_update = ""

    schema: str | None = "main"
    id_pool: dict[str, list[int]] | None = None
    own: Any = None

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection, for what is not said in SQL."""
        return self._connection

    def run(self, name: str, /, **params: Any) -> None:
        """Execute a named statement."""
        self._execute(name, params)

    def changed(self, name: str, /, **params: Any) -> int:
        """Execute a named statement; how many rows it changed."""
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
        """Insert many rows, all at once; those that are there already stay as they are."""
        del table, fresh  # a statement a row is as quick as it gets here
        self.many(name, rows)

    def rows(self, name: str, /, **params: Any) -> list[Any]:
        """A named query's rows; each answers to column names."""
        return self._execute(name, params).fetchall()

    def row(self, name: str, /, **params: Any) -> Any:
        """A named query's first row, or None."""
        return self._execute(name, params).fetchone()

    def wait(self) -> None:
        """Every statement has been waited for."""

    def send(self, name: str, /, **params: Any) -> Callable[[], list[Any]]:
        """The same, to be called for once other statements have been sent."""
        found = self.rows(name, **params)
        return lambda: found

    arrays = rows

    def query(self, text: str, params: Mapping[str, Any]) -> list[Any]:
        """The rows of a query that was composed from a filter; its values are bound."""
        return self._connection.execute(text, plain_row(params)).fetchall()

    def script(self, text: str) -> None:
        """Several statements, in the transaction under way (`executescript` would end it)."""
        for statement in _split(text):
            self._connection.execute(statement)

    @contextmanager
    def savepoint(self) -> Generator[None]:
        """A part of the transaction that is undone alone where it fails."""
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

    # How this dialect writes what SQL has no common form for.

    @staticmethod
    def time(seconds: float) -> str:
        """A moment, from seconds since the epoch, as the tables hold it."""
        moment = datetime.fromtimestamp(seconds, UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    @staticmethod
    def moment(value: Any) -> datetime | None:
        """A moment of a table, as an aware datetime."""
        return None if value is None else datetime.fromisoformat(value)

    @staticmethod
    def json(value: Any) -> str:
        """A document as the tables hold it."""
        return encode_document(value)

    @staticmethod
    def document(value: Any) -> Any:
        """A document of a table."""
        return None if value is None else msgspec.json.decode(value)

    @staticmethod
    def as_list(values: Sequence[Any]) -> str:
        """Values to look for with `= any(:values)`."""
        return encode_document([*values])

    @staticmethod
    def array(text: str) -> str:
        """An array of integers or steps, given as JSON."""
        return text

    @staticmethod
    def floats(values: Sequence[Any]) -> str:
        """An array of numbers; NaN is null here, and an infinity overflows to one."""
        return encode_numbers(values)

    @staticmethod
    def floats_of(text: str) -> str:
        """An array of numbers, given as JSON with null for NaN and 9e999 for an infinity."""
        return text


def _split(script: str) -> Iterator[str]:
    """The statements of a script; SQLite itself says which semicolon ends one."""
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
