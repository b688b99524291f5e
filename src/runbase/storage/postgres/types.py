"""How values travel to PostgreSQL and back, and the session that runs named statements there."""

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
_REALS, _INTEGERS, _NUMERICS = 1022, 1016, 1231  # the catalogue's numbers of these array types
_HEAD = 20
"""Bytes before the first element of a one-dimensional binary array."""


class Row(tuple[Any, ...]):
    """A row that answers to places and to column names."""

    __slots__ = ()
    places: dict[str, int]

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(self.places[key] if key.__class__ is str else key)

    def keys(self) -> list[str]:
        """The names of its columns."""
        return list(self.places)


@cache
def _row_class(names: tuple[str, ...]) -> type[Row]:
    places = {name: place for place, name in enumerate(names)}
    return type("Row", (Row,), {"__slots__": (), "places": places})


def _row_factory(cursor: Any) -> Callable[[Sequence[Any]], Any]:
    return _row_class(tuple(column.name for column in cursor.description or ()))


class _Text(Dumper):
    """Text, of no stated type; PostgreSQL holds no NUL, whose visible sign takes its place."""

    def dump(self, obj: str) -> bytes:
        return plain_text(obj).encode()


class _Real(Dumper):
    """A float, exactly, of no stated type: as double precision it would lose digits in a numeric."""

    def dump(self, obj: float) -> bytes:
        return repr(obj).encode()


class _Number(Loader):
    """numeric: whole numbers as int, others as float; what they were before they went in."""

    def load(self, data: Buffer) -> int | float:
        text = bytes(data)
        return float(text) if b"." in text or b"N" in text or b"I" in text else int(text)


class _Numbers(Loader):
    def load(self, data: Buffer) -> list[int | float | None]:
        items = bytes(data)[1:-1].split(b",")
        return [_exact(item) for item in items] if items != [b""] else []


class _Reals(Loader):
    """double precision[] as a NumPy array, straight from the bytes."""

    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        return _elements(data, ">f8")


class _Integers(Loader):
    """bigint[] as a NumPy array."""

    format = Format.BINARY

    def load(self, data: Buffer) -> Any:
        return _elements(data, ">i8")


def configure(connection: Connection) -> None:
    """Teach a connection our forms of values."""
    adapters = connection.adapters
    adapters.register_dumper(str, _Text)
    adapters.register_dumper(int, Int8Dumper)  # one type, so one plan a statement
    adapters.register_dumper(float, _Real)
    adapters.register_loader("numeric", _Number)
    adapters.register_loader(_NUMERICS, _Numbers)
    # Binary results are asked for by `Session.arrays` alone; users' queries come as text.
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
    """Named statements on one connection, inside whatever transaction it is in."""

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
        """Numbers for new rows, fetched ahead: name of the statement → those that are left."""

    def run(self, name: str, /, **params: Any) -> None:
        """Execute a named statement; it is sent at once, and its end not waited for."""
        self._execute(name, params)

    def changed(self, name: str, /, **params: Any) -> int:
        """Execute a named statement; how many rows it changed."""
        cursor = self._execute(name, params)
        if self._pipeline is not None:
            self._pipeline.sync()
        return cursor.rowcount

    def changing(self, name: str, /, **params: Any) -> Callable[[], int]:
        """The same, to be called for when the pipeline has been waited for."""
        cursor = self._execute(name, params)
        return lambda: cursor.rowcount

    def wait(self) -> None:
        """Wait until all that was sent has been answered."""
        if self._pipeline is not None:
            self._pipeline.sync()

    def many(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """Execute a named statement once per row, in one exchange with the server."""
        statement = statements("postgres")[name]
        if rows:
            self._cursor().executemany(_text(name), [fitted(statement, row) for row in rows])

    def bulk_insert(
        self, name: str, table: str, rows: Sequence[Mapping[str, Any]], *, fresh: bool = False
    ) -> None:
        """Insert many rows, by COPY; those that are there already stay as they are (`fresh`: none is)."""
        if len(rows) < 100 or self._pipeline is not None:  # COPY does not go through a pipeline
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
        """A named query's rows; each answers to column names."""
        return self._execute(name, params).fetchall()

    def row(self, name: str, /, **params: Any) -> Any:
        """A named query's first row, or None."""
        return self._execute(name, params).fetchone()

    def send(self, name: str, /, **params: Any) -> Callable[[], list[Any]]:
        """The same, to be called for once other statements have been sent: in a pipeline, one wait for all."""
        return self._execute(name, params).fetchall

    def arrays(self, name: str, /, **params: Any) -> list[Any]:
        """The same as `rows`, with arrays of reals and integers as NumPy arrays."""
        cursor = self._connection.cursor(binary=True, row_factory=_row_factory)
        row = fitted(statements("postgres")[name], params)
        return cursor.execute(_text(name), row).fetchall()

    def query(self, text: str, params: Mapping[str, Any]) -> list[Any]:
        """The rows of a query that was composed from a filter; its values are bound."""
        cursor = self._cursor().execute(_place(text), params or {})  # type: ignore[arg-type]
        if self._pipeline is not None:
            self._pipeline.sync()
        return cursor.fetchall() if cursor.description else []

    def script(self, text: str) -> None:
        """Several statements, in the transaction under way; comments go into the catalogue."""
        self._connection.execute(text)  # type: ignore[arg-type]
        for item in described(text):
            if item.comment:
                name = sql.Identifier(item.name) + sql.SQL("." if item.column else "")
                place = name + sql.Identifier(item.column) if item.column else name
                command = sql.SQL("comment on {} {} is {}")
                kind = sql.SQL({"table": "table", "view": "view"}.get(item.kind, "column"))  # type: ignore[arg-type]
                self._connection.execute(command.format(kind, place, sql.Literal(item.comment)))

    # How this dialect writes what SQL has no common form for.

    @staticmethod
    def time(seconds: float) -> datetime:
        """A moment, from seconds since the epoch."""
        return datetime.fromtimestamp(seconds, UTC)

    @staticmethod
    def moment(value: Any) -> datetime | None:
        """A moment of a table, as an aware datetime in UTC."""
        return None if value is None else value.astimezone(UTC)

    @staticmethod
    def json(value: Any) -> str:
        """A document as the tables hold it."""
        return encode_document(value)

    @staticmethod
    def document(value: Any) -> Any:
        """A document of a table."""
        return value

    @staticmethod
    def as_list(values: Sequence[Any]) -> Any:
        """Values to look for with `= any(:values)`."""
        return [*values]

    @staticmethod
    def array(text: str) -> str:
        """An array of integers or steps, given as JSON."""
        return "{" + text[1:-1] + "}"

    @staticmethod
    def floats(values: Sequence[Any]) -> str:
        """An array of numbers; NaN stays NaN here, and None is null."""
        return f"{{{encode_numbers(values, nan='NaN', infinity='Infinity')[1:-1]}}}"

    @staticmethod
    def floats_of(text: str) -> str:
        """An array of numbers, given as JSON with null for NaN and 9e999 for an infinity."""
        exact = text.replace("null", "NaN").replace("9e999", "Infinity")
        return "{" + exact[1:-1] + "}"

    @contextmanager
    def savepoint(self) -> Generator[None]:
        """A part of the transaction that is undone alone where it fails."""
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
        raw, place, found = bytes(data), _HEAD, list[int | float]()
        while place < len(raw):
            size = int.from_bytes(raw[place : place + 4], "big")
            found.append(_number(self._decimal.load(raw[place + 4 : place + 4 + size])))
            place += 4 + size
        return found


def _number(value: Decimal) -> int | float:
    return int(value) if value.as_tuple().exponent == 0 else float(value)


def _exact(text: bytes) -> int | float | None:
    if text == b"NULL":
        return None
    return float(text) if b"." in text else int(text)


def _elements(data: Buffer, kind: str) -> Any:
    """The elements of a binary array without nulls: each is four bytes of length and eight of number."""
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
