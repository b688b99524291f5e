"""The PostgreSQL driver: a pool of connections, transactions, and errors mapped. No query lives here.

Connecting is libpq's business, so its environment variables, password file, service file and TLS
options count here as in `psql`; only `schema=` of the URL is ours: the search path, whose first
schema is made when it is not there. Nothing crosses a fork: a child opens a pool of its own.
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
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

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
from runbase.secrets import mask_text
from runbase.storage.address import Address
from runbase.storage.deadlines import patience
from runbase.storage.postgres.types import Session, configure
from runbase.storage.sql.statements import bound
from runbase.storage.types import Rows

OLDEST = 140000
"""PostgreSQL 14, in the server's own numbering."""

FRESH = 0.5
"""Seconds for which a connection that answered is taken to be alive."""
PATIENCE = 10.0
"""Seconds to wait for a connection; a training run's journal waits meanwhile, not the run."""

ATTEMPTS = 5
"""How often a transaction is tried that deadlocks with others."""

IDLE = psycopg.pq.TransactionStatus.IDLE
_CROSSED = (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)
_SETUP_LOCK = 0x72756E62  # "runb": who makes or migrates a schema holds it

Connection = psycopg.Connection[Any]
T = TypeVar("T")
_LOG = logging.getLogger(__name__)


class PostgresDriver:
    """Connections to one schema of a PostgreSQL database.

    `timeout` is how many seconds a writer waits for another's locks.
    """

    dialect = "postgres"

    def __init__(self, address: Address, *, timeout: float = 60.0, create: bool = True) -> None:
        self.url = address.shown
        self.timeout = timeout
        self.schema = address.schema[0] if address.schema else None
        self._path = address.schema
        self._conninfo = _conninfo(address)
        self._create = create
        self.prepare: Callable[[Any], object] = lambda _: None
        """Called once, in a transaction of its own, before the first one that writes."""
        self._prepared = False
        self._here = threading.local()
        self._pid = os.getpid()
        self._answered: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()
        """Connection → when it was last used without an error."""
        self._left_behind: list[ConnectionPool[Connection]] = []
        self._guard = threading.Lock()
        with self.errors(), self._connect() as connection:
            version = connection.info.server_version
            if version < OLDEST:
                raise StoreUnavailable(
                    f"runbase needs PostgreSQL 14 or newer; {self.url} is {version // 10000}"
                )
            if self.schema is None:
                self.schema = str(connection.execute("select current_schema()").fetchone()[0])  # type: ignore[index]
        self._pool = self._new_pool()

    def new(self) -> bool:
        """Whether there is nothing yet to read from."""
        found = "select 1 from pg_namespace where nspname = %s"
        with self.errors(), self._connection() as connection:
            missing = connection.execute(found, [self.schema]).fetchone() is None
        if missing and not self._create:
            raise StoreUnavailable(
                f"no such store: there is no schema {self.schema!r} in {self.url}"
            )
        return missing

    @contextmanager
    def write(self, *, bulk: bool = False) -> Generator[Session]:
        """A transaction that writes: committed at the end, rolled back on an exception.

        In `bulk`, statements are sent without waiting for each; an error of one comes with a later one.
        """
        outer: Session | None = getattr(self._here, "session", None)
        if outer is not None:  # inside another one: a part of it
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
                session = Session(connection, self.schema, pipeline)
                if (left := patience(self.timeout)) < self.timeout:
                    milliseconds = sql.Literal(max(int(left * 1000), 1))
                    connection.execute(sql.SQL("set local lock_timeout = {}").format(milliseconds))
                self._here.session = session
                try:
                    yield session
                finally:
                    self._here.session = None

    @contextmanager
    def read(self) -> Generator[Session]:
        """A consistent view of the database that writes nothing."""
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
        """A transaction that only reads, in a pipeline; `undo` takes back what settings it changed.

        It ends by a commit: psycopg forgets its prepared statements at a ROLLBACK, and deallocates them
        later, in the middle of the next `executemany`, which then names one that is gone. Where the
        transaction failed, or is to be undone, libpq does that behind psycopg's back for the same reason.
        """
        try:
            with connection.pipeline() as pipeline:
                connection.execute(begin)
                yield pipeline
                if not undo:
                    connection.execute("commit")
        finally:
            if not connection.closed and connection.info.transaction_status is not IDLE:
                connection.pgconn.exec_(b"rollback")

    @contextmanager
    def autocommit(self) -> Generator[Session]:
        """The database as each query finds it, without a transaction around them."""
        with self.errors(), self._connection() as connection:
            yield Session(connection, self.schema)

    def execute_once(self, name: str, /, **params: Any) -> int:
        """One named statement as a transaction of its own, in one exchange; how many rows it changed."""
        if not self._prepared:
            with self.write() as session:
                return session.changed(name, **params)
        with self.errors(), self._connection() as connection:
            return Session(connection, self.schema).changed(name, **params)

    def transact(self, work: Callable[[Any], T], *, bulk: bool = False) -> T:
        """`work` in one transaction, again where it and another one stood in each other's way."""
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
    ) -> Rows:
        """A user's own statement; `:name` or `?` stand for parameters where there are any.

        One that only reads is sent alone, by the extended protocol, in a read-only transaction that
        takes settings back; it is refused where it is no query, so that nothing it does outlives it.
        """
        text, values = _placed(query, params)
        if not write:
            return self._look_up(text, values, timeout)
        if not self._prepared:
            with self.errors():
                self._set_up()
        with self.errors(timeout), self._connection() as connection, connection.transaction():
            if timeout is not None:
                connection.execute(_statement_timeout(timeout))
            return _rows(connection.execute(text, values))  # type: ignore[arg-type]

    def _look_up(self, text: str, values: Any, timeout: float | None) -> Rows:
        word = _first_word(text)
        if word not in _QUERIES:
            raise QueryError(
                f"sql() only reads unless told otherwise, and {word!r} is not a query; it accepts select, "
                "with, values, table, show and explain; pass write=True to change the database"
            )
        with (
            self.errors(timeout),
            self._connection() as connection,
            self._view(connection, "begin read only", undo=True) as pipeline,
        ):
            if timeout is not None:
                connection.execute(_statement_timeout(timeout))
            cursor = connection.execute(text, values)  # type: ignore[arg-type]
            pipeline.sync()
            rows = _rows(cursor)
            # What a function may hold past the end of a transaction.
            connection.execute("select pg_advisory_unlock_all()")
            return rows

    def close(self) -> None:
        """Close every connection."""
        if self._pid == os.getpid():
            self._pool.close()

    @contextmanager
    def errors(self, timeout: float | None = None) -> Generator[None]:
        """PostgreSQL's exceptions as runbase's own."""
        try:
            yield
        except PoolTimeout as error:
            raise self._unreachable(error) from error
        except psycopg.Error as error:
            raise self._mapped(error, timeout) from error

    def _mapped(self, error: psycopg.Error, timeout: float | None) -> StoreError:
        match error:
            case psycopg.errors.QueryCanceled() if timeout is not None:
                return QueryTimeout(f"the query ran for more than {timeout} s and was cancelled")
            case psycopg.errors.ReadOnlySqlTransaction():
                return QueryError(
                    "sql() only reads unless told otherwise; pass write=True to change the database"
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
                return StoreUnavailable(f"not allowed in {self.url}: {_said(error)}")
            case psycopg.errors.ProgramLimitExceeded() | psycopg.errors.PipelineAborted():
                return QueryError(_said(error))
            case psycopg.errors.SyntaxError() if "multiple commands" in str(error):
                return QueryError("sql() takes one statement at a time where it only reads")
            case psycopg.errors.UndefinedTable() | psycopg.errors.UndefinedColumn():
                return SchemaError(_said(error))
            case psycopg.OperationalError() | psycopg.InterfaceError():
                return StoreOffline(f"cannot use {self.url}: {_said(error)}")
            case _:
                return QueryError(_said(error))

    def _unreachable(self, error: Exception) -> StoreError:
        """Why the pool had no connection to give: a try of our own says it."""
        try:
            self._connect().close()
        except psycopg.Error as reason:
            return StoreOffline(f"cannot use {self.url}: {_said(reason)}")
        return StoreBusy(f"all connections to {self.url} were in use for {PATIENCE:.0f} s: {error}")

    def connect(self) -> Any:
        """A connection of the caller's own: psycopg's, as it comes, in this schema and in UTC."""
        with self.errors():
            connection: Any = psycopg.connect(self._conninfo)
            if self._path:
                path = sql.SQL(", ").join(map(sql.Identifier, self._path))
                connection.execute(sql.SQL("set search_path to {}").format(path))
            connection.execute("set timezone = 'UTC'")
            connection.commit()
        return connection

    def backup(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """The schema as *pg_dump* writes it, in its custom format, of one snapshot; `pg_restore` brings it back.

        PostgreSQL's own tool knows every kind of object that users add. Raises UsageError where it is not there.
        """
        del progress  # pg_dump says nothing of how far it is
        tool = shutil.which("pg_dump")
        if tool is None:
            raise UsageError(
                "a backup of PostgreSQL is made by pg_dump, which is not here: install PostgreSQL's client "
                "programs, or take a copy, `runbase copy URL file.db`"
            )
        given = conninfo_to_dict(self._conninfo)
        secret = {"PGPASSWORD": str(given.pop("password"))} if given.get("password") else {}
        command = [tool, "--format=custom", "--no-owner", "--no-privileges", f"--file={path}"]
        schema = str(self.schema).replace('"', '""')
        done = subprocess.run(
            [*command, f'--schema="{schema}"', f"--dbname={make_conninfo(**given)}"],  # pyright: ignore[reportArgumentType]
            env={**os.environ, **secret},  # a command line can be read by others
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StoreError(f"pg_dump of {self.url} failed: {' '.join(done.stderr.split())}")

    def dedicated(self) -> Any:
        """A connection beside the pool; whoever asks for it closes it."""
        if not self._prepared:
            with self.errors():
                self._set_up()
        with self.errors():
            return self._connect()

    def session(
        self, connection: Connection, pipeline: "psycopg.Pipeline", id_pool: dict[str, list[int]]
    ) -> Session:
        """Named statements on a connection beside the pool, in its pipeline."""
        return Session(connection, self.schema, pipeline, id_pool)

    def _connect(self) -> Connection:
        connection: Connection = psycopg.connect(self._conninfo, autocommit=True)
        self._configure(connection)
        return connection

    def _configure(self, connection: Connection) -> None:
        configure(connection)
        if self._path:
            path = sql.SQL(", ").join(map(sql.Identifier, self._path))
            connection.execute(sql.SQL("set search_path to {}").format(path))
        connection.execute(
            sql.SQL("set timezone = 'UTC'; set lock_timeout = {}").format(
                sql.Literal(int(self.timeout * 1000))
            )
        )

    def _new_pool(self) -> "ConnectionPool[Connection]":
        return ConnectionPool(
            self._conninfo,
            min_size=0,
            max_size=8,
            max_idle=60.0,
            timeout=PATIENCE,
            reconnect_timeout=PATIENCE,
            kwargs={"autocommit": True},
            configure=self._configure,
            check=self._check,
            open=True,
        )

    def _check(self, connection: Connection) -> None:
        """Whether the server is still there; not asked of a connection that answered a moment ago."""
        if time.monotonic() - self._answered.get(connection, 0.0) > FRESH:
            ConnectionPool.check_connection(connection)

    @contextmanager
    def _connection(self) -> Generator[Connection]:
        if self._pid != os.getpid():
            with self._guard:
                if self._pid != os.getpid():
                    # Kept, not closed: closing it here would end the parent's sessions.
                    self._left_behind.append(self._pool)
                    self._pool, self._here = self._new_pool(), threading.local()
                    self._pid = os.getpid()
        with self._pool.connection(timeout=patience(PATIENCE)) as connection:
            yield connection
            self._answered[connection] = time.monotonic()

    def _set_up(self) -> None:
        """Make the schema and bring it up to date, one process at a time."""
        with self._connection() as connection, connection.transaction():
            connection.execute("select pg_advisory_xact_lock(%s)", [_SETUP_LOCK])
            found = "select 1 from pg_namespace where nspname = %s"
            if connection.execute(found, [self.schema]).fetchone() is None:
                name = sql.Identifier(str(self.schema))
                connection.execute(sql.SQL("create schema {}").format(name))
            self.prepare(Session(connection, self.schema))
        self._prepared = True


def _conninfo(address: Address) -> str:
    try:
        given = conninfo_to_dict(address.libpq)
    except psycopg.ProgrammingError as error:
        raise UsageError(f"{address.shown!r} is not a database URL: {_said(error)}") from error
    defaults = {"connect_timeout": 10, "application_name": "runbase", "keepalives_idle": 30}
    environment = {"connect_timeout": "PGCONNECT_TIMEOUT", "application_name": "PGAPPNAME"}
    missing = {
        name: value
        for name, value in defaults.items()
        if name not in given and environment.get(name, "") not in os.environ
    }
    return make_conninfo(address.libpq, **missing)


def _placed(query: str, params: Mapping[str, Any] | Sequence[Any]) -> tuple[str, Any]:
    """A user's query with psycopg's placeholders; untouched where there is nothing to place."""
    if not params:
        return query, None
    escaped = query.replace("%", "%%")
    if isinstance(params, Mapping):
        return bound(escaped, lambda name: f"%({name})s"), params
    return escaped.replace("?", "%s"), list(params)


_QUERIES = frozenset(["select", "with", "values", "table", "show", "explain"])
"""How statements begin that only read."""


def _first_word(text: str) -> str:
    """The keyword that a statement begins with, behind comments and parentheses, in small letters."""
    found = re.match(r"(?:\s|\(|--[^\n]*(?:\n|$)|/\*.*?\*/)*(\w*)", text, re.DOTALL)
    return found[1].lower() if found else ""


def _statement_timeout(seconds: float) -> sql.Composed:
    return sql.SQL("set local statement_timeout = {}").format(
        sql.Literal(max(int(seconds * 1000), 1))
    )


def _rows(cursor: "psycopg.Cursor[Any]") -> Rows:
    names = [column.name for column in cursor.description or ()]
    return Rows(names, cursor.fetchall() if cursor.description else [])


def _said(error: Exception) -> str:
    return mask_text(" ".join(str(error).split())) or type(error).__name__
