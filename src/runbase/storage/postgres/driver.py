"""The PostgreSQL driver: a pool of connections, transactions, and conversion of errors. It contains no queries.

libpq makes the connections, so its environment variables, password file, service file and TLS options work as in `psql`.
Only `schema=` in the URL is runbase's: the search path, whose first schema is created if it does not exist. Connections
are not used after a fork: a child opens a pool of its own.
"""

import logging
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runbase.capture.secrets import mask_text
from runbase.errors import (
    QueryError,
    QueryTimeout,
    SchemaError,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreOffline,
    StoreUnavailable,
    UsageError,
)
from runbase.processes import never_close
from runbase.storage.address import Address
from runbase.storage.deadlines import patience
from runbase.storage.postgres import rights, writes
from runbase.storage.postgres.connections import Connection, Connections
from runbase.storage.postgres.types import Session
from runbase.storage.sql.statements import bound
from runbase.storage.types import Rows

OLDEST = 140000
"""PostgreSQL 14, as the server's version number."""

_GLANCE = 0.2
"""Seconds that a thread waits while another one listens for changes."""
ATTEMPTS = 5
"""How often a transaction that deadlocks with others is tried."""

IDLE = psycopg.pq.TransactionStatus.IDLE
_CROSSED = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
_SETUP_LOCK = 0x72756E62  # "runb": held while a process creates or migrates a schema

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_SIZE_OF_POINTS = """
select cast(sum(pg_total_relation_size(c.oid)) as bigint) from pg_class c
where c.relnamespace = current_schema()::regnamespace and c.relname in ('blocks', 'groups', 'outlines', 'series')
"""


class PostgresDriver:
    """Connections to one schema of a PostgreSQL database.

    `timeout` is how many seconds a writer waits for locks of other writers.
    """

    dialect = "postgres"

    def __init__(self, address: Address, *, timeout: float = 60.0, create: bool = True) -> None:
        self.url = address.shown
        self.timeout = timeout
        self.schema = address.schema[0] if address.schema else None
        self._path = address.schema
        self._connections = Connections(address, timeout)
        self._create = create
        self.prepare: Callable[[Any], object] = lambda _: None
        """Called once, in a transaction of its own, before the first transaction that writes."""
        self._prepared = False
        self._here = threading.local()
        self._listener: Connection | None = None
        self._listening = threading.Lock()
        with self.errors(), self._connections.dedicated() as connection:
            version = connection.info.server_version
            if version < OLDEST:
                raise StoreUnavailable(
                    f"runbase needs PostgreSQL 14 or newer; {self.url} is {version // 10000}"
                )
            if self.schema is None:
                self.schema = str(connection.execute("select current_schema()").fetchone()[0])  # type: ignore[index]
            self._role = connection.info.user
            if rights.is_closed(connection, self.schema):
                raise StoreUnavailable(
                    f"role {self._role!r} may not use schema {self.schema!r} of {self.url}; "
                    f"{rights.how_to_read(self.schema, self._role)}"
                )

    def new(self) -> bool:
        """Return whether the database does not exist yet."""
        query = "select 1 from pg_namespace where nspname = %s"
        with self.errors(), self._connection() as connection:
            missing = connection.execute(query, [self.schema]).fetchone() is None
        if missing and not self._create:
            raise StoreUnavailable(
                f"no such store: schema {self.schema!r} not found in {self.url}{self.elsewhere()}"
            )
        return missing

    def elsewhere(self) -> str:
        """Return which other schemas have tables of runbase, as the end of a message."""
        with self.errors(), self._connection() as connection:
            others = rights.schemas(connection)
        if not others:
            return ""
        names = " and ".join(map(repr, others))
        return f"; the database has some in schema {names}: put schema={others[0]} into the URL"

    @contextmanager
    def write(self, *, bulk: bool = False) -> Generator[Session]:
        """Start a transaction that writes: committed at the end, rolled back on an exception.

        With `bulk`, statements are sent without waiting for each; an error of one is raised at a later one.
        """
        outer: Session | None = getattr(self._here, "session", None)
        if outer is not None:  # inside another transaction: becomes a part of it
            yield outer
            return
        with self.errors():
            if not self._prepared:
                self._set_up()
            with (
                self._connection() as connection,
                connection.pipeline() if bulk else nullcontext() as pipeline,
                connection.transaction(),
            ):
                self._connections.enter(connection)
                session = Session(connection, self.schema, pipeline)
                if (left := patience(self.timeout)) < self.timeout:
                    milliseconds = sql.Literal(max(int(left * 1000), 1))
                    connection.execute(sql.SQL("set local lock_timeout = {}").format(milliseconds))
                self._here.session = session
                try:
                    yield session
                finally:
                    self._here.session = None
            writes.note_write(self.url)

    @contextmanager
    def read(self) -> Generator[Session]:
        """Open a consistent, read-only view of the database."""
        with (
            self.errors(),
            self._connection() as connection,
            self._view(connection, "begin isolation level repeatable read read only") as pipeline,
        ):
            yield Session(connection, self.schema, pipeline)

    @contextmanager
    def _view(
        self, connection: Connection, begin: LiteralString, *, undo: bool = False
    ) -> "Generator[psycopg.Pipeline]":
        """Start a read-only transaction in a pipeline; `undo` reverts settings that it changed.

        It ends with a commit: after a ROLLBACK, psycopg discards its prepared statements, and deallocates them later, in the
        middle of the next `executemany`, which then refers to a missing one. If the transaction failed, or must be undone, the
        rollback is sent directly through libpq for the same reason.
        """
        try:
            with connection.pipeline() as pipeline:
                connection.execute(begin)
                self._connections.enter(connection)
                yield pipeline
                if not undo:
                    connection.execute("commit")
        finally:
            if not connection.closed and connection.info.transaction_status is not IDLE:
                connection.pgconn.exec_(b"rollback")

    @contextmanager
    def autocommit(self) -> Generator[Session]:
        """Give a session without a transaction, in which each query reads the latest state."""
        with self.errors(), self._connection() as connection, self._alone(connection):
            yield Session(connection, self.schema)

    def execute_once(self, name: str, /, **params: Any) -> int:
        """Execute one named statement as a transaction of its own, in one round trip; returns how many rows it changed."""
        if not self._prepared:
            with self.write() as session:
                return session.changed(name, **params)
        with self.errors(), self._connection() as connection, self._alone(connection):
            changed = Session(connection, self.schema).changed(name, **params)
        writes.note_write(self.url)
        return changed

    @contextmanager
    def _alone(self, connection: Connection) -> Generator[None]:
        """Execute statements without a transaction; through a pooler in one, which has the settings."""
        if not self._connections.pooled:
            yield
            return
        with connection.transaction():
            self._connections.enter(connection)
            yield

    def transact(self, work: Callable[[Any], T], *, bulk: bool = False) -> T:
        """Call `work` in one transaction, and repeat it if the transaction conflicts with another."""
        for attempt in range(ATTEMPTS):
            try:
                with self.write(bulk=bulk) as session:
                    return work(session)
            except StoreBusy as error:
                crossed = isinstance(error.__cause__, _CROSSED)
                if not crossed or attempt == ATTEMPTS - 1 or self._inside():
                    raise
                _LOG.debug("transaction %d of %d lost a race: %s", attempt + 1, ATTEMPTS, error)
        raise AssertionError("the loop returns or raises")

    def _inside(self) -> bool:
        return getattr(self._here, "session", None) is not None

    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any],
        write: bool,
        timeout: float | None,
        most: int | None = None,
    ) -> Rows:
        """Execute a user's statement; `:name` or `?` are placeholders for parameters; `most` limits the rows that are read.

        A statement that only reads is sent alone, by the extended protocol, in a read-only transaction that reverts settings. It
        is refused if it is not a query, so that it has no lasting effects.
        """
        text, values = _placed(query, params)
        if not write:
            return self._look_up(text, values, timeout, most)
        if not self._prepared:
            with self.errors():
                self._set_up()
        with self.errors(timeout), self._connection() as connection, connection.transaction():
            self._connections.enter(connection)
            if timeout is not None:
                connection.execute(_statement_timeout(timeout))
            rows = _rows(connection.execute(text, values))  # type: ignore[arg-type]
        writes.note_write(self.url)
        return rows

    def _look_up(self, text: str, values: Any, timeout: float | None, most: int | None) -> Rows:
        word = _first_word(text)
        if word not in _QUERIES:
            raise QueryError(
                f"sql() is read-only by default, and {word!r} is not a query; it accepts select, "
                "with, values, table, show and explain; pass write=True to change the database"
            )
        with (
            self.errors(timeout),
            self._connection() as connection,
            self._view(connection, "begin read only", undo=True) as pipeline,
        ):
            if timeout is not None:
                connection.execute(_statement_timeout(timeout))
            if (
                most is not None and word not in _SHORT
            ):  # the server computes and sends no more rows
                connection.execute(f"declare runbase_rows no scroll cursor for {text}", values)  # type: ignore[arg-type]
                text, values = f"fetch forward {most:d} from runbase_rows", None
            cursor = connection.execute(text, values)  # type: ignore[arg-type]
            pipeline.sync()
            rows = _rows(cursor)
            # Locks and settings that a function may keep after the end of a transaction.
            connection.execute("select pg_advisory_unlock_all()")
            return rows

    def await_change(self, timeout: float) -> None:
        """Return after the next change of the schema that another transaction announces, or after `timeout` seconds.

        One thread listens, on a connection of its own; others wait a moment. Behind a proxy that hands out a connection for
        each transaction, no announcement arrives, so callers look again after the timeout.
        """
        self._check_process()
        if self._connections.pooled:
            time.sleep(min(timeout, _GLANCE))
            return
        if not self._listening.acquire(blocking=False):
            time.sleep(min(timeout, _GLANCE))
            return
        try:
            with self.errors():
                if self._listener is None or self._listener.closed:
                    self._listener = self._connections.dedicated()
                    self._listener.execute("listen runbase_changes")
                    return  # what changed before is not announced
                for notice in self._listener.notifies(timeout=timeout):
                    if notice.payload == self.schema:
                        return
        finally:
            self._listening.release()

    def close(self) -> None:
        """Close every connection."""
        self._check_process()
        self._connections.close()
        if self._listener is not None:
            self._listener.close()

    @contextmanager
    def errors(self, timeout: float | None = None) -> Generator[None]:
        """Convert PostgreSQL's exceptions to runbase's."""
        try:
            yield
        except psycopg.Error as error:
            raise self._mapped(error, timeout) from error

    def _mapped(self, error: psycopg.Error, timeout: float | None) -> StoreError:
        match error:
            case psycopg.errors.QueryCanceled() if timeout is not None:
                return QueryTimeout(f"the query ran for more than {timeout} s and was cancelled")
            case psycopg.errors.ReadOnlySqlTransaction():
                return QueryError(
                    "sql() is read-only by default; pass write=True to change the database"
                )
            case (
                psycopg.errors.LockNotAvailable()
                | psycopg.errors.DeadlockDetected()
                | psycopg.errors.SerializationFailure()
            ):
                return StoreBusy(f"{self.url} was kept busy by other writers: {_said(error)}")
            case psycopg.errors.DataCorrupted() | psycopg.errors.IndexCorrupted():
                return StoreCorrupt(f"{self.url} is damaged: {_said(error)}")
            case psycopg.errors.InsufficientPrivilege():
                said = _said(error)
                hint = rights.how_to_write(said, self.schema, self._role)
                return StoreUnavailable(f"not allowed in {self.url}: {said}; {hint}")
            case psycopg.errors.ProgramLimitExceeded() | psycopg.errors.PipelineAborted():
                return QueryError(_said(error))
            case psycopg.errors.SyntaxError() if "multiple commands" in str(error):
                return QueryError("sql() accepts one statement at a time when it is read-only")
            case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
                return SchemaError(_said(error))
            case psycopg.OperationalError() | psycopg.InterfaceError():
                return StoreOffline(f"cannot use {self.url}: {_said(error)}")
            case _:
                return QueryError(_said(error))

    def connect(self) -> Any:
        """Open a connection of the caller's own: psycopg's, unchanged, in this schema and in UTC."""
        with self.errors():
            connection: Any = psycopg.connect(self._connections.conninfo)
            if self._path:
                path = sql.SQL(", ").join(map(sql.Identifier, self._path))
                connection.execute(sql.SQL("set search_path to {}").format(path))
            connection.execute("set timezone = 'UTC'")
            connection.commit()
        return connection

    def backup(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Write one snapshot of the schema with *pg_dump* in its custom format; `pg_restore` restores it.

        PostgreSQL's own tool supports every kind of object that users add.

        Raises:
            UsageError: pg_dump is not installed.
        """
        del progress  # pg_dump does not report progress
        tool = shutil.which("pg_dump")
        if tool is None:
            raise UsageError(
                "pg_dump, which backups of PostgreSQL need, was not found: install PostgreSQL's client "
                "programs, or make a copy with `runbase copy URL file.db`"
            )
        parameters = conninfo_to_dict(self._connections.conninfo)
        secret = (
            {"PGPASSWORD": str(parameters.pop("password"))} if parameters.get("password") else {}
        )
        command = [tool, "--format=custom", "--no-owner", "--no-privileges", f"--file={path}"]
        schema = str(self.schema).replace('"', '""')
        done = subprocess.run(
            [*command, f'--schema="{schema}"', f"--dbname={make_conninfo(**parameters)}"],  # pyright: ignore[reportArgumentType]
            env={**os.environ, **secret},  # other users can read a command line
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StoreError(f"pg_dump of {self.url} failed: {' '.join(done.stderr.split())}")

    def vacuum(self) -> tuple[int, int]:
        """Write the tables of points again, without free space; returns their size in bytes before and after.

        Uses *VACUUM FULL*: readers and writers of these tables wait meanwhile, and the disk needs room for a second copy.
        """
        names = [sql.Identifier(name) for name in ("blocks", "groups", "outlines", "series")]
        with self.dedicated() as connection, self.errors():
            connection.autocommit = True
            before = connection.execute(_SIZE_OF_POINTS).fetchone()[0]
            for name in names:
                connection.execute(sql.SQL("vacuum (full, analyze) {}").format(name))
            return before, connection.execute(_SIZE_OF_POINTS).fetchone()[0]

    def dedicated(self) -> Any:
        """Open a connection outside the pool, for statements that are not waited for; the caller closes it."""
        writes.note_stream(self.url)
        if not self._prepared:
            with self.errors():
                self._set_up()
        with self.errors():
            return self._connections.dedicated()

    def session(
        self, connection: Connection, pipeline: "psycopg.Pipeline", id_pool: dict[str, list[int]]
    ) -> Session:
        """Create a session on a connection outside the pool, in its pipeline."""
        return Session(connection, self.schema, pipeline, id_pool)

    @property
    def crowded(self) -> bool:
        """Whether the server has few connections left, so that a process should use it rarely."""
        return self._connections.crowded

    @property
    def pooled(self) -> bool:
        """Whether a pooler hands out a server connection for each transaction."""
        return self._connections.pooled

    def _check_process(self) -> None:
        if self._connections.check_process():
            never_close(self._listener)
            self._here = threading.local()
            self._listener, self._listening = None, threading.Lock()

    @contextmanager
    def _connection(self) -> Generator[Connection]:
        self._check_process()
        with self._connections.use() as connection:
            yield connection

    def _set_up(self) -> None:
        """Create or migrate the schema, one process at a time."""
        with self._connection() as connection, connection.transaction():
            self._connections.enter(connection)
            connection.execute("select pg_advisory_xact_lock(%s)", [_SETUP_LOCK])
            query = "select 1 from pg_namespace where nspname = %s"
            if connection.execute(query, [self.schema]).fetchone() is None:
                name = sql.Identifier(str(self.schema))
                connection.execute(sql.SQL("create schema {}").format(name))
            self.prepare(Session(connection, self.schema))
        self._prepared = True


def _placed(query: str, params: Mapping[str, Any] | Sequence[Any]) -> tuple[str, Any]:
    """Return a user's query with psycopg's placeholders; unchanged without parameters."""
    if not params:
        return query, None
    escaped = query.replace("%", "%%")
    if isinstance(params, Mapping):
        return bound(escaped, lambda name: f"%({name})s"), params
    return escaped.replace("?", "%s"), list(params)


_QUERIES = frozenset(["select", "with", "values", "table", "show", "explain"])
"""Keywords at the beginning of statements that only read."""
_SHORT = frozenset(["show", "explain"])
"""Those of them that no cursor can be declared for; their results are short."""


def _first_word(text: str) -> str:
    """Return the first keyword of a statement, after comments and parentheses, in lower case."""
    match = re.match(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w*)", text, re.DOTALL)
    return match[1].lower() if match else ""


def _statement_timeout(seconds: float) -> sql.Composed:
    return sql.SQL("set local statement_timeout = {}").format(
        sql.Literal(max(int(seconds * 1000), 1))
    )


def _rows(cursor: "psycopg.Cursor[Any]") -> Rows:
    names = [column.name for column in cursor.description or ()]
    return Rows(names, cursor.fetchall() if cursor.description else [])


def _said(error: Exception) -> str:
    return mask_text(" ".join(str(error).split())) or type(error).__name__
