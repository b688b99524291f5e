"""Conversion of values to PostgreSQL's types and back, and the session that executes named statements."""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format
from psycopg.types.json import set_json_loads
from psycopg.types.numeric import Int8Dumper

from runbase.storage.arrays import encode_document, encode_numbers
from runbase.storage.sql.comments import described
from runbase.storage.sql.session import fitted
from runbase.storage.sql.statements import bound, statements
from runbase.values import plain_text

Connection = psycopg.Connection[Any]
_REALS, _INTEGERS, _NUMERICS = 1022, 1016, 1231  # OIDs of these array types
_HEAD = 20
"""Bytes before the first element of a one-dimensional binary array."""


class Row(tuple[Any, ...]):
    """A row that can be indexed by position and by column name."""

    __slots__ = ()
    places: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.places[key] if key.__class__ is str else key)

    def keys(self) -> list[str]:
        """Return the names of the columns."""
        return list(self.places)


@cache
def _row_class(names: tuple[str, ...]) -> type[Row]:
    places = {name: place for place, name in enumerate(names)}
    return type("Row", (Row,), {"__slots__": (), "places": places})


def _row_factory(cursor: Any) -> Callable[[Sequence[Any]], Any]:
    return _row_class(tuple(column.name for column in cursor.description or ()))


class _Text(Dumper):
    """Text without a declared type; PostgreSQL cannot store NUL, which is replaced by its visible symbol."""

    def dump(self, obj: str) -> bytes:
        return plain_text(obj).encode()


class _Real(Dumper):
    """An exact float without a declared type: as double precision, it would lose digits in a numeric column."""

    def dump(self, obj: float) -> bytes:
        return repr(obj).encode()


class _Number(Loader):
    """numeric: integers as int, others as float, as they were stored."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data)
        return float(text) if b"." in text or b"N" in text or b"I" in text else int(text)


class _Numbers(Loader):
    def load(self, data: Buffer) -> list[int | float | None]:
        items = bytes(data)[1:-1].split(b",")
        return [_exact(item) for item in items] if items != [b""] else []


class _Reals(Loader):
    """double precision[] as a NumPy array, directly from the bytes."""

    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        return _elements(data, ">f8")


class _Integers(Loader):
    """bigint[] as a NumPy array."""

    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        return _elements(data, ">i8")


def configure(connection: Connection) -> None:
    """Register the conversions of values on a connection."""
    adapters = connection.adapters
    adapters.register_dumper(str, _Text)
    adapters.register_dumper(int, Int8Dumper)  # one type, and therefore one plan per statement
    adapters.register_dumper(float, _Real)
    adapters.register_loader("numeric", _Number)
    adapters.register_loader(_NUMERICS, _Numbers)
    # Only `Session.arrays` requests binary results; users' queries return text.
    adapters.register_loader("numeric", _BinaryNumber)
    adapters.register_loader(_NUMERICS, _BinaryNumbers)
    adapters.register_loader(_REALS, _Reals)
    adapters.register_loader(_INTEGERS, _Integers)
    set_json_loads(msgspec.json.decode, connection)


_POOL = sql.SQL("create temp table poured as select {columns} from {into} limit 0")
_FILL = sql.SQL("copy poured ({columns}) from stdin")
_STRAIGHT = sql.SQL("copy {into} ({columns}) from stdin")
_POUR = sql.SQL(
    "insert into {into} ({columns}) select {columns} from poured on conflict do nothing"
)
_DRAIN = sql.SQL("drop table poured")


class Session:
    """Named statements on one connection, in its current transaction."""

    dialect = "postgres"
    for_update = " for update"
    own: Any = None

    def __init__(
        self,
        connection: Connection,
        schema: str | None,
        pipeline: "psycopg.Pipeline | None" = None,
        id_pool: dict[str, list[int]] | None = None,
    ) -> None:
        self._connection = connection
        self.schema = schema
        self._pipeline = pipeline
        self.id_pool = id_pool
        """Ids for new rows, fetched ahead: name of the statement → unused ids."""

    def run(self, name: str, /, **params: Any) -> None:
        """Execute a named statement; sends it without waiting for its result."""
        self._execute(name, params)

    def changed(self, name: str, /, **params: Any) -> int:
        """Execute a named statement; returns how many rows it changed."""
        cursor = self._execute(name, params)
        if self._pipeline is not None:
            self._pipeline.sync()
        return cursor.rowcount

    def changing(self, name: str, /, **params: Any) -> Callable[[], int]:
        """Execute a named statement; returns a function for the number of rows, to call after the pipeline was waited for."""
        cursor = self._execute(name, params)
        return lambda: cursor.rowcount

    def wait(self) -> None:
        """Wait for the results of all statements that were sent."""
        if self._pipeline is not None:
            self._pipeline.sync()

    def many(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute a named statement once per row, in one round trip."""
        statement = statements("postgres")[name]
        if rows:
            self._cursor().executemany(_text(name), [fitted(statement, row) for row in rows])

    def bulk_insert(
        self, name: str, table: str, rows: Sequence[Mapping[str, Any]], *, fresh: bool = False
    ) -> None:
        """Insert many rows with COPY; existing rows are kept (`fresh`: none exist)."""
        if len(rows) < 100 or self._pipeline is not None:  # COPY does not work in a pipeline
            self.many(name, rows)
            return
        statement = statements("postgres")[name]
        rows = [fitted(statement, row) for row in rows]
        parts = {
            "into": sql.Identifier(table),
            "columns": sql.SQL(", ").join(map(sql.Identifier, rows[0])),
        }
        cursor = self._cursor()
        if fresh:
            with cursor.copy(_STRAIGHT.format(**parts)) as copy:
                for row in rows:
                    copy.write_row(tuple(row.values()))
            return
        cursor.execute(_POOL.format(**parts))
        with cursor.copy(_FILL.format(**parts)) as copy:
            for row in rows:
                copy.write_row(tuple(row.values()))
        cursor.execute(_POUR.format(**parts))
        cursor.execute(_DRAIN)

    def rows(self, name: str, /, **params: Any) -> list[Any]:
        """Return a named query's rows, which can be indexed by column name."""
        return self._execute(name, params).fetchall()

    def row(self, name: str, /, **params: Any) -> Any:
        """Return a named query's first row, or None."""
        return self._execute(name, params).fetchone()

    def send(self, name: str, /, **params: Any) -> Callable[[], list[Any]]:
        """Send a named query; returns a function for its rows, to call after others were sent: in a pipeline, all wait once."""
        return self._execute(name, params).fetchall

    def arrays(self, name: str, /, **params: Any) -> list[Any]:
        """Return a named query's rows, with arrays of reals and integers as NumPy arrays."""
        cursor = self._connection.cursor(binary=True, row_factory=_row_factory)
        row = fitted(statements("postgres")[name], params)
        return cursor.execute(_text(name), row).fetchall()

    def query(self, text: str, params: Mapping[str, Any]) -> list[Any]:
        """Return the rows of a query that was composed from a filter; its values are bound."""
        cursor = self._cursor().execute(_place(text), params or {})  # type: ignore[arg-type]
        if self._pipeline is not None:
            self._pipeline.sync()
        return cursor.fetchall() if cursor.description else []

    def script(self, text: str) -> None:
        """Execute several statements in the current transaction; store their comments in the catalogue."""
        self._connection.execute(text)  # type: ignore[arg-type]
        for item in described(text):
            if item.comment:
                name = sql.Identifier(item.name) + sql.SQL("." if item.column else "")
                place = name + sql.Identifier(item.column) if item.column else name
                command = sql.SQL("comment on {} {} is {}")
                kind = sql.SQL({"table": "table", "view": "view"}.get(item.kind, "column"))  # type: ignore[arg-type]
                self._connection.execute(command.format(kind, place, sql.Literal(item.comment)))

    # This dialect's form of what SQL has no common form for.

    @staticmethod
    def time(seconds: float) -> datetime:
        """Convert seconds since the epoch to a timestamp."""
        return datetime.fromtimestamp(seconds, UTC)

    @staticmethod
    def moment(value: Any) -> datetime | None:
        """Convert a stored timestamp to an aware datetime in UTC."""
        return None if value is None else value.astimezone(UTC)

    @staticmethod
    def json(value: Any) -> str:
        """Convert a document to its stored form."""
        return encode_document(value)

    @staticmethod
    def document(value: Any) -> Any:
        """Convert a stored document to an object."""
        return value

    @staticmethod
    def as_list(values: Sequence[Any]) -> Any:
        """Return values to compare with `= any(:values)`."""
        return [*values]

    @staticmethod
    def array(text: str) -> str:
        """Convert JSON to an array of integers or steps."""
        return "{" + text[1:-1] + "}"

    @staticmethod
    def floats(values: Sequence[Any]) -> str:
        """Convert numbers to an array; NaN is NaN, and None is null."""
        return f"{{{encode_numbers(values, nan='NaN', infinity='Infinity')[1:-1]}}}"

    @staticmethod
    def floats_of(text: str) -> str:
        """Convert JSON, with null for NaN and 9e999 for an infinity, to an array of numbers."""
        exact = text.replace("null", "NaN").replace("9e999", "Infinity")
        return "{" + exact[1:-1] + "}"

    @contextmanager
    def savepoint(self) -> Generator[None]:
        """Start a part of the transaction that is rolled back alone if it fails."""
        with self._connection.transaction():
            yield

    def _execute(self, name: str, params: Mapping[str, Any]) -> "psycopg.Cursor[Any]":
        return self._cursor().execute(_text(name), fitted(statements("postgres")[name], params))

    def _cursor(self) -> "psycopg.Cursor[Any]":
        return self._connection.cursor(row_factory=_row_factory)


class _BinaryNumber(Loader):
    format = Format.BINARY

    def __init__(self, oid: int, context: Any = None) -> None:
        super().__init__(oid, context)
        from psycopg.types.numeric import NumericBinaryLoader

        self._decimal = NumericBinaryLoader(oid, context)

    def load(self, data: Buffer) -> int | float:
        return _number(self._decimal.load(data))


class _BinaryNumbers(Loader):
    format = Format.BINARY

    def __init__(self, oid: int, context: Any = None) -> None:
        super().__init__(oid, context)
        from psycopg.types.numeric import NumericBinaryLoader

        self._decimal = NumericBinaryLoader(1700, context)

    def load(self, data: Buffer) -> "list[int | float]":
        raw, place, numbers = bytes(data), _HEAD, list[int | float]()
        while place < len(raw):
            size = int.from_bytes(raw[place : place + 4], "big")
            numbers.append(_number(self._decimal.load(raw[place + 4 : place + 4 + size])))
            place += 4 + size
        return numbers


def _number(value: Decimal) -> int | float:
    return int(value) if value.as_tuple().exponent == 0 else float(value)


def _exact(text: bytes) -> int | float | None:
    if text == b"NULL":
        return None
    return float(text) if b"." in text else int(text)


def _elements(data: Buffer, kind: str) -> Any:
    """Return the elements of a binary array without nulls: each has four bytes of length and eight of number."""
    import numpy as np

    raw = bytes(data)
    if len(raw) <= _HEAD:
        return np.empty(0, dtype=kind[1:])
    return np.frombuffer(raw, dtype=[("size", ">i4"), ("value", kind)], offset=_HEAD)[
        "value"
    ].astype(kind[1:])


@cache
def _text(name: str) -> Any:
    return _place(statements("postgres")[name].text)


def _place(text: str) -> str:
    return bound(text.replace("%", "%%"), lambda name: f"%({name})s")
