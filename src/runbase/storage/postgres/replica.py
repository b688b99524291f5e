"""Reads from a streaming replica of a PostgreSQL database, while it has everything that this process has seen.

Lists, searches, tables, curves and SQL are read from the replica. All that decides something is read from the database itself:
the queue, claims, positions of journals, users, and what a name means. The reader never returns less than before: before it reads
from the replica after a write of this process, or after a read from the database, it asks the database for the position of its log,
and the replica whether it has replayed that.
"""

import functools
import inspect
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, cast

import msgspec
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from runbase.errors import QueryTimeout, RunbaseError, StoreOffline, StoreUnavailable, warn
from runbase.storage.address import Address, postgres_address
from runbase.storage.deadlines import patience, until
from runbase.storage.postgres.driver import PostgresDriver
from runbase.storage.postgres.writes import note_write, written
from runbase.storage.protocol import Storage
from runbase.storage.sql.storage import SqlStorage
from runbase.storage.types import ReplicaState

ROUTED = frozenset(
    [
        "artifact_versions",
        "artifacts",
        "attributes",
        "changes",
        "clocks",
        "count_runs",
        "envelope",
        "envelopes",
        "experiments",
        "figures_of_experiments",
        "first_rows",
        "history",
        "known_keys",
        "lineage",
        "links",
        "objects",
        "points",
        "problems",
        "records",
        "runs",
        "samples",
        "schema",
        "series",
        "sizes",
        "sql",
        "table",
        "totals",
        "unknown_keys",
        "uses",
        "views",
    ]
)
"""Methods that are read from the replica (`sql` only if it is not asked to write)."""
REACH = 3.0
"""Seconds to wait for a connection to the replica."""
RETRY = 10.0
"""Seconds after which a replica that could not be used is tried again."""
CHECK = 1.0
"""Seconds after which it is checked again that the replica is one."""
WAIT = 0.2
"""Seconds to wait until the replica has replayed a write."""
PAUSE = 5.0
"""Seconds after a wait in vain during which reads do not wait."""
_GLANCE = 0.005

_IDENTITY = "select system_identifier::text, current_database() from pg_control_system()"
_POSITION = "select pg_current_wal_insert_lsn()::text"
_STATE = """
select pg_is_in_recovery(), coalesce(pg_last_wal_replay_lsn() >= cast(:target as pg_lsn), :target is null),
       extract(epoch from clock_timestamp() - pg_last_xact_replay_timestamp())
"""
_LOG = logging.getLogger(__name__)


class ReplicaReader:
    """A storage whose reads for people come from a replica; everything else is that of the database.

    The replica is opened at the first read. If it cannot be used, there is one warning, reads come from the database, and the
    replica is tried again later.

    Args:
        primary: the storage of the database.
        url: the URL of the replica.
        certain: whether the replica is meant for this database; if not, one of another database, or one that cannot be reached
            at first, is ignored without a warning.
    """

    def __init__(self, primary: SqlStorage, url: str, *, certain: bool = True) -> None:
        self.primary = primary
        self.url, self.dialect = primary.url, primary.dialect
        self._address = _quick(postgres_address(url))
        self._certain = certain
        self._guard = threading.Lock()
        self._driver: PostgresDriver | None = None
        self._replica: SqlStorage | None = None
        self._seen: object = None
        """The last write of this process that the replica is known to have replayed."""
        self._checked = self._patient_from = self._retry_at = 0.0
        self._warned = False

    @property
    def crowded(self) -> bool:
        """Whether the database has few connections left."""
        return self.primary.crowded

    def await_change(self, timeout: float) -> None:
        """Return after the next change, or after `timeout` seconds; the next read has that change."""
        self.primary.await_change(timeout)  # a replica cannot listen
        note_write(self.url)

    def replica_state(self) -> ReplicaState:
        """Return whether the replica is used, and by how much it is behind."""
        shown = self._address.shown
        try:
            with until(time.monotonic() + patience(REACH)):
                target = self._position()
                _, reached, lag = self._state(self._connect(), target)
                if not reached:
                    return ReplicaState(shown, None if lag is None else float(lag))
                self._open(self._connect())
        except RunbaseError as error:
            return ReplicaState(shown, problem=str(error))
        return ReplicaState(shown, 0.0)

    def close(self) -> None:
        """Close the connections to the replica; those of the database stay open."""
        with self._guard:
            if self._driver is not None:
                self._driver.close()
            self._driver = self._replica = None

    def route(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call a method of the replica, or that of the database if the replica cannot answer."""
        replica = None if kwargs.get("write") else self._usable(name)
        if replica is not None:
            try:
                with until(time.monotonic() + patience(REACH)):
                    return getattr(replica, name)(*args, **kwargs)
            except QueryTimeout:
                raise
            except (StoreOffline, StoreUnavailable) as error:
                self._set_aside(error)
            except RunbaseError as error:
                # The database decides: it may have what the replica lacks.
                _LOG.debug("%s is asked again of %s: %s", name, self.url, error)
        try:
            return getattr(self.primary, name)(*args, **kwargs)
        finally:
            note_write(self.url)  # later reads must not be older than this one

    def _usable(self, name: str) -> SqlStorage | None:
        """Return the replica if it can be read from and has all that this process has seen."""
        if time.monotonic() < self._retry_at:
            return None
        if self._retry_at:  # one thread tries it again
            self._retry_at = time.monotonic() + RETRY
        try:
            with until(time.monotonic() + patience(REACH)):
                replica = self._current()
                outlined = replica is None or not name.startswith("envelope")
                outlined = outlined or (replica is not None and replica.is_outlined())
        except _DatabaseAway:
            return None  # the database itself says why
        except RunbaseError as error:
            self._set_aside(error)
            return None
        self._retry_at = 0.0
        return replica if outlined else None  # only the database can build outlines

    def _current(self) -> SqlStorage | None:
        """Return the replica once it has replayed the last write; None if that takes too long."""
        began, last = time.monotonic(), written(self.url)
        if self._replica and last is self._seen and began - self._checked < CHECK:
            return self._replica
        driver = self._connect()
        target = None if last is self._seen and self._replica else self._position()
        deadline = began + (WAIT if began >= self._patient_from else 0)
        while not self._state(driver, target)[1]:
            if time.monotonic() > deadline:
                self._patient_from = time.monotonic() + PAUSE
                _LOG.debug("%s is behind %s", self._address.shown, self.url)
                return None
            time.sleep(_GLANCE)
        replica = self._open(driver)
        self._seen, self._checked = last, time.monotonic()
        return replica

    def _position(self) -> str:
        """Return the position of the log of the database; all that is committed is before it."""
        try:
            return str(self.primary.driver.sql(_POSITION, (), False, None)[0][0])
        except RunbaseError as error:
            raise _DatabaseAway(str(error)) from error

    def _state(self, driver: PostgresDriver, target: str | None) -> tuple[bool, bool, Any]:
        is_replica, reached, lag = driver.sql(_STATE, {"target": target}, False, None)[0]
        if not is_replica:
            raise StoreUnavailable(f"{driver.url} is not a replica: it accepts writes")
        return is_replica, reached, lag

    def _connect(self) -> PostgresDriver:
        """Connect to the replica, and check that it is one of this database."""
        with self._guard:
            if self._driver is None:
                driver = PostgresDriver(self._address, create=False)
                try:
                    self._check_identity(driver)
                except BaseException:
                    driver.close()
                    raise
                self._driver = driver
            return self._driver

    def _check_identity(self, driver: PostgresDriver) -> None:
        ours = cast("PostgresDriver", self.primary.driver)
        same = driver.sql(_IDENTITY, (), False, None) == ours.sql(_IDENTITY, (), False, None)
        if not same or driver.schema != ours.schema:
            raise _OtherDatabase(f"{driver.url} is not a replica of {ours.url}")

    def _open(self, driver: PostgresDriver) -> SqlStorage:
        """Return the storage of the replica, whose schema must be that of this program."""
        if self._replica is None:
            self._replica = SqlStorage(driver, create=False, upgrade=False)
        return self._replica

    def _set_aside(self, error: RunbaseError) -> None:
        """Use the database for some time, and warn once."""
        self._retry_at = time.monotonic() + RETRY
        _LOG.info("the replica is not used: %s", error)
        if isinstance(error, _OtherDatabase) and not self._certain:
            self._retry_at = float("inf")
        elif not self._warned and (self._certain or self._driver is not None):
            self._warned = True
            warn(f"reads come from {self.url}, because its replica cannot be used: {error}")


class _DatabaseAway(StoreOffline):
    """The database cannot be asked for its position."""


class _OtherDatabase(StoreUnavailable):
    """The URL of the replica is one of another database."""


def _quick(address: Address) -> Address:
    """Return an address that is given up soon, unless it says itself how long to wait."""
    if "connect_timeout" in conninfo_to_dict(address.libpq):
        return address
    libpq = make_conninfo(address.libpq, connect_timeout=int(REACH))
    return msgspec.structs.replace(address, libpq=libpq)


def _routed(name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(Storage, name))
    def call(self: ReplicaReader, /, *args: Any, **kwargs: Any) -> Any:
        return self.route(name, args, kwargs)

    return call


def _passed(name: str) -> Callable[..., Any]:
    @functools.wraps(getattr(Storage, name))
    def call(self: ReplicaReader, /, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.primary, name)(*args, **kwargs)

    return call


for _name, _ in inspect.getmembers(Storage, inspect.isfunction):
    if not _name.startswith("_") and _name not in vars(ReplicaReader):
        setattr(ReplicaReader, _name, (_routed if _name in ROUTED else _passed)(_name))
