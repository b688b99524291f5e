"""Connections to one PostgreSQL database: pooled, or made for one use on a server that is nearly full, or through a pooler.

A server accepts a limited number of connections, 100 by default, and a sweep has more processes. Above half of the limit, a
process therefore closes its connection after each use, and waits for a free one. Behind a pooler that hands out a server
connection for each transaction, such as pgbouncer, settings are made in each transaction, and no statement is prepared.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolTimeout

from runbase.capture.secrets import mask_text
from runbase.errors import UsageError
from runbase.processes import Owner, never_close
from runbase.storage.address import Address
from runbase.storage.deadlines import patience
from runbase.storage.postgres.types import configure
from runbase.storage.sql.quoting import identifier

PATIENCE = 10.0
"""Seconds to wait for a connection; meanwhile the journal of a training run is not ingested, but the run continues."""
FRESH = 0.5
"""Seconds after a successful use during which a connection is not checked."""
MOST = 8
"""Connections of one process."""
IDLE_FOR = 5.0
"""Seconds after which an unused connection is closed."""
LIFETIME = 60.0
"""Seconds after which a connection is replaced, so that a process notices that the server has become full."""
CROWDED, ROOMY = 0.5, 0.25
"""Share of the server's connections in use above which connections are closed after each use, and below which they are kept."""

_FULL = (
    "too many clients",
    "too many connections",
    "remaining connection slots",
    "no more connections",
)
"""Parts of the message of a server, a role or a pooler whose connections are all in use."""
# Other roles' connections count too: of those, an ordinary role sees the database and little else.
_PLACE = """
select pg_backend_pid(),
       (select count(*) from pg_stat_activity where datid is not null)::float8
         / current_setting('max_connections')::int
"""
_SETTINGS = """
select set_config('search_path', coalesce(%(path)s, current_setting('search_path')), %(local)s),
       set_config('timezone', 'UTC', %(local)s),
       set_config('lock_timeout', %(locks)s, %(local)s)
"""
_LOG = logging.getLogger(__name__)

Connection = psycopg.Connection[Any]


class Connections:
    """Connections to a database, for one process; a forked child opens its own.

    Args:
        address: the database, and the schemas of the search path.
        timeout: seconds that a statement waits for locks.
    """

    def __init__(self, address: Address, timeout: float) -> None:
        self.conninfo = _conninfo(address)
        self.crowded = False
        """Whether the server has few connections left."""
        self.pooled = False
        """Whether a pooler hands out a server connection for each transaction."""
        self._settings = {
            "path": ", ".join(map(identifier, address.schema)) or None,
            "locks": str(int(timeout * 1000)),
        }
        self._owner = Owner()
        self._guard = threading.Lock()
        self._answered: WeakKeyDictionary[Connection, float] = WeakKeyDictionary()
        """Connection → when it was last used without an error."""
        self._pool: ConnectionPool[Connection] | None = None

    @contextmanager
    def use(self) -> Generator[Connection]:
        """Lend a connection for one transaction."""
        self.check_process()
        if self.crowded:
            with self.dedicated() as connection:
                yield connection
            return
        pool = self._open_pool()
        try:
            lent = pool.getconn(timeout=patience(PATIENCE))
        except PoolTimeout:
            # The pool hides why it has none: this waits for a server that is full, and raises every other reason.
            with self.dedicated() as connection:
                self.crowded = True
                yield connection
            return
        try:
            with lent:
                yield lent
            self._answered[lent] = time.monotonic()
        finally:
            pool.putconn(lent)

    def dedicated(self) -> Connection:
        """Open a connection outside the pool, which the caller closes; waits while the server is full.

        Raises:
            psycopg.OperationalError: the server cannot be reached, or is full for too long.
        """
        deadline = time.monotonic() + patience(PATIENCE)
        while True:
            try:
                connection: Connection = psycopg.connect(self.conninfo, autocommit=True)
                break
            except psycopg.OperationalError as error:
                full = any(part in str(error) for part in _FULL)
                if not full or time.monotonic() > deadline:
                    raise
                self.crowded = True
                _LOG.debug("the server is full; waiting for a connection")
                time.sleep(random.uniform(0.02, 0.4))  # noqa: S311 - so that waiting processes do not meet again
        try:
            self._configure(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def enter(self, connection: Connection) -> None:
        """Make the settings of a transaction that has just begun; they are made once a connection without a pooler."""
        if self.pooled:
            connection.execute(_SETTINGS, {**self._settings, "local": True})

    def check_process(self) -> bool:
        """After a fork, leave the parent's connections alone; returns whether there was one."""
        if self._owner.here:
            return False
        with self._guard:
            if self._owner.here:
                return False
            never_close(self._pool)
            self._pool = None
            self._owner.adopt()
            return True

    def close(self) -> None:
        """Close every connection of the pool."""
        if self._owner.here and self._pool is not None:
            self._pool.close()

    def _open_pool(self) -> "ConnectionPool[Connection]":
        with self._guard:
            if self._pool is None:
                self._pool = ConnectionPool(
                    self.conninfo,
                    min_size=0,
                    max_size=MOST,
                    max_idle=IDLE_FOR,
                    max_lifetime=LIFETIME,
                    timeout=PATIENCE,
                    reconnect_timeout=PATIENCE,
                    kwargs={"autocommit": True},
                    configure=self._configure,
                    check=self._check,
                    open=True,
                )
            return self._pool

    def _configure(self, connection: Connection) -> None:
        configure(connection)
        ((process, share),) = connection.execute(_PLACE).fetchall()
        self.pooled = process != connection.info.backend_pid
        crowded = share > (ROOMY if self.crowded else CROWDED)
        if crowded != self.crowded:
            self.crowded = crowded
            _LOG.debug("%.0f %% of the server's connections are in use", share * 100)
        if self.pooled:
            connection.prepare_threshold = None
        else:
            connection.execute(_SETTINGS, {**self._settings, "local": False})

    def _check(self, connection: Connection) -> None:
        """Check that the server is reachable; skipped for a connection that was used a moment ago."""
        if time.monotonic() - self._answered.get(connection, 0.0) > FRESH:
            ConnectionPool.check_connection(connection)


def _conninfo(address: Address) -> str:
    try:
        parameters = conninfo_to_dict(address.libpq)
    except psycopg.ProgrammingError as error:
        said = mask_text(" ".join(str(error).split()))
        raise UsageError(f"{address.shown!r} is not a database URL: {said}") from error
    defaults = {"connect_timeout": 10, "application_name": "runbase", "keepalives_idle": 30}
    environment = {"connect_timeout": "PGCONNECT_TIMEOUT", "application_name": "PGAPPNAME"}
    missing = {
        name: value
        for name, value in defaults.items()
        if name not in parameters and environment.get(name, "") not in os.environ
    }
    return make_conninfo(address.libpq, **missing)
