"""The SQLite driver: connections, transactions, the queue of writers, and conversion of errors. It contains no queries.

One connection writes, under a lock of this process and an advisory lock file next to the database. SQLite's own busy wait
can starve writers; the kernel queues waiters for a lock file. Readers have read-only connections of their own and wait for
no other process (write-ahead log).
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

from runbase.errors import (
    QueryError,
    QueryTimeout,
    SchemaError,
    StoreBusy,
    StoreCorrupt,
    StoreError,
    StoreUnavailable,
    UsageError,
)
from runbase.processes import Owner, never_close
from runbase.storage.deadlines import patience
from runbase.storage.sqlite.locking import lock_file
from runbase.storage.sqlite.session import Session
from runbase.storage.types import Rows

OLDEST = (3, 38, 0)
"""The first SQLite version with the ->> operator, which the views use."""
CACHE = 2**17
"""Largest page cache of a reading connection, in KiB."""

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_STEPS_BETWEEN_CHECKS = 5_000
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 2**28,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
}
"""Limits on users' queries: sizes of texts and patterns in bytes."""
_POLLED = 0.05
"""Seconds between looks for a change by another connection."""
_PAGES = 4096
"""Pages that a backup copies between two reports of progress."""
_UNAVAILABLE = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
)


class SqliteDriver:
    """Connections to one SQLite file, or to memory if `path` is None.

    `timeout` is how many seconds a writer waits for other writers.
    """

    dialect = "sqlite"
    crowded = False

    def __init__(self, path: Path | None, *, timeout: float = 60.0, create: bool = True) -> None:
        if sqlite3.sqlite_version_info < OLDEST:
            raise StoreUnavailable(
                f"runbase needs SQLite {'.'.join(map(str, OLDEST))} or newer; this Python has "
                f"{sqlite3.sqlite_version}"
            )
        self.path = path
        self.timeout = timeout
        self.url = "sqlite:///:memory:" if path is None else f"sqlite:///{path}"
        self._turn = threading.RLock()
        self._idle: list[sqlite3.Connection] = []
        self._idle_guard = threading.Lock()
        self._writer: sqlite3.Connection | None = None
        self._inode: int | None = None
        """The inode of the open file, to detect that the file was replaced."""
        self.prepare: Callable[[Session], object] = lambda _: None
        """Called once for each new writing connection, in its first transaction."""
        self._prepared = False
        self._depth = 0
        self._owner = Owner()
        if path is not None and not create and not path.exists():
            raise StoreUnavailable(f"no such store: no database found at {path}")
        if path is not None and create:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreUnavailable(
                    f"cannot create the folder {path.parent}: {error}"
                ) from error

    def new(self) -> bool:
        """Return whether the database does not exist yet."""
        return self.path is None or not self.path.exists() or self.path.stat().st_size == 0

    @contextmanager
    def write(self) -> Generator[Session]:
        """Start a transaction that writes: committed at the end, rolled back on an exception."""
        self._check_process()
        if not self._turn.acquire(timeout=patience(self.timeout)):
            raise StoreBusy(f"another thread has kept {self.url} busy for {self.timeout:.0f} s")
        try:
            if self._depth:  # inside another transaction: becomes a part of it
                yield Session(self._connect_writer())
                return
            with lock_file(self.path, self.timeout), self.errors():
                self._check_file()
                connection = self._connect_writer()
                connection.execute("begin immediate")
                self._depth += 1
                try:
                    if not self._prepared:
                        self.prepare(Session(connection))
                        self._prepared = True
                    yield Session(connection)
                    connection.execute("commit")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("rollback")
                    raise
                finally:
                    self._depth -= 1
        finally:
            self._turn.release()

    @contextmanager
    def read(self) -> Generator[Session]:
        """Open a consistent, read-only view of the database that waits for no other process."""
        self._check_process()
        if self.path is None:
            with self._turn:
                yield Session(self._connect_writer())
            return
        connection = self._borrow()
        try:
            with self.errors():
                connection.execute("begin")
                try:
                    yield Session(connection)
                finally:
                    if connection.in_transaction:
                        connection.execute("rollback")
        finally:
            with self._idle_guard:
                self._idle.append(connection)

    def connect(self) -> Any:
        """Open a connection of the caller's own: sqlite3's, unchanged, with foreign keys enforced."""
        if self.path is None:
            raise UsageError(
                "a database in memory has one connection only; use sql() with write=True"
            )
        with self.errors():
            connection = sqlite3.connect(self.path, timeout=self.timeout)
            connection.execute("pragma foreign_keys = on")
        return connection

    def autocommit(self) -> AbstractContextManager[Session]:
        """Open the same view as `read`, which costs nothing in SQLite."""
        return self.read()

    def execute_once(self, name: str, /, **params: Any) -> int:
        """Execute one named statement as a transaction of its own; returns how many rows it changed."""
        with self.write() as session:
            return session.changed(name, **params)

    def transact(self, work: Callable[[Session], T], *, bulk: bool = False) -> T:
        """Call `work` in one transaction; writers are queued, so that it never has to be repeated."""
        del bulk  # there are no round trips to a server to save
        with self.write() as session:
            return work(session)

    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any],
        write: bool,
        timeout: float | None,
        most: int | None = None,
    ) -> Rows:
        """Execute a user's statement; read `most` rows of its result, or all."""
        if write:
            with self.write():
                return self._fetch(self._connect_writer(), query, params, timeout, most)
        self._check_process()
        if self.path is None:
            with self._turn:
                connection = self._connect_writer()
                connection.execute("pragma query_only = on")
                try:
                    return self._fetch(connection, query, params, timeout, most)
                finally:
                    connection.execute("pragma query_only = off")
        connection = self._open(read_only=True)
        # ATTACH could create a file from a read-only connection.
        connection.set_authorizer(_no_attach)
        # The deadline is not checked inside a function call; these limits bound how long one can take.
        for limit, largest in _LIMITS.items():
            connection.setlimit(limit, largest)
        try:
            return self._fetch(connection, query, params, timeout, most)
        finally:
            connection.close()

    def elsewhere(self) -> str:
        """Return where in the database the tables may be instead: a file has one place."""
        return ""

    def backup(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Write the state of the database at one moment to a file in rollback mode, which needs no other files.

        Uses SQLite's *online backup API* on a reader's snapshot, so that no writer waits.
        """

        def told(_: int, left: int, total: int) -> None:
            if progress:
                progress(total - left, total)

        with self.errors(), self.read() as session:
            session.query(
                "select count(*) from sqlite_master", {}
            )  # the snapshot is fixed from here on
            target = sqlite3.connect(path)
            try:
                session.connection.backup(target, pages=_PAGES, progress=told)
                target.execute("pragma journal_mode = delete")
                result = target.execute("pragma quick_check(1)").fetchone()[0]
            finally:
                target.close()
        if result != "ok":
            raise self._corrupt(
                sqlite3.DatabaseError(f"the integrity check of its copy failed: {result}")
            )

    def vacuum(self) -> tuple[int, int]:
        """Return free pages to the file system; returns the size of the database in bytes before and after.

        Writers wait meanwhile. The disk needs room for a second copy of the database.
        """
        if self.path is None:
            return 0, 0
        before = self._size()
        with lock_file(self.path, self.timeout), self._turn, self.errors():
            connection = self._connect_writer()
            connection.execute("vacuum")
            connection.execute("pragma wal_checkpoint(truncate)")
        return before, self._size()

    def _size(self) -> int:
        """Return the bytes of the database and its log."""
        assert self.path is not None
        paths = (self.path, self.path.with_name(f"{self.path.name}-wal"))
        return sum(path.stat().st_size for path in paths if path.exists())

    def await_change(self, timeout: float) -> None:
        """Return after the next change of the database, or after `timeout` seconds."""
        if self.path is None:
            time.sleep(min(timeout, _POLLED))
            return
        deadline = time.monotonic() + timeout
        self._check_process()
        connection = self._borrow()
        try:
            with self.errors():
                # The number changes when another connection commits, also one of this process.
                before = connection.execute("pragma data_version").fetchone()
                while (left := deadline - time.monotonic()) > 0:
                    time.sleep(min(left, _POLLED))
                    if connection.execute("pragma data_version").fetchone() != before:
                        return
        finally:
            with self._idle_guard:
                self._idle.append(connection)

    def close(self) -> None:
        """Close every connection."""
        with self._turn, self._idle_guard:
            for connection in self._idle:
                connection.close()
            self._idle.clear()
            if self._writer is not None:
                self._writer.close()
                self._writer = None

    @contextmanager
    def errors(self) -> Generator[None]:
        """Convert SQLite's exceptions to runbase's."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._mapped(error) from error

    def _mapped(self, error: sqlite3.Error) -> StoreError:
        code = (
            getattr(error, "sqlite_errorcode", 0) & 0xFF
        )  # the higher bits are details of the same error
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreBusy(f"{self.url} stayed locked for {self.timeout:.0f} s by another writer")
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return self._corrupt(error)
        if code in _UNAVAILABLE:
            return StoreUnavailable(f"cannot use {self.url}: {error}")
        if str(error).startswith(("no such table", "no such column", "no such view")):
            return SchemaError(str(error))
        return QueryError(str(error))

    def _corrupt(self, error: Exception) -> StoreCorrupt:
        return StoreCorrupt(
            f"the database {self.path} is damaged ({error}); the run folders contain its data: "
            "`runbase sync --rebuild` creates a new one from them and keeps this file next to it"
        )

    def _fetch(
        self,
        connection: sqlite3.Connection,
        query: str,
        params: Mapping[str, Any] | Sequence[Any],
        timeout: float | None,
        most: int | None,
    ) -> Rows:
        deadline = None if timeout is None else time.monotonic() + timeout
        late = deadline_passed(deadline)
        connection.set_progress_handler(late, _STEPS_BETWEEN_CHECKS)
        connection.row_factory = None
        try:
            cursor = connection.execute(query, params)
            found = cursor.fetchall() if most is None else cursor.fetchmany(most)
            names = [column[0] for column in cursor.description or ()]
            cursor.close()  # ends a query whose rows were not all read
            return Rows(names, cast("list[tuple[Any, ...]]", found))
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code == sqlite3.SQLITE_INTERRUPT:
                late = f"the query ran for more than {timeout} s and was cancelled"
                raise QueryTimeout(late) from error
            if code == sqlite3.SQLITE_READONLY:
                only = "sql() is read-only by default; pass write=True to change the database"
                raise QueryError(only) from error
            if code == sqlite3.SQLITE_AUTH:
                no = "sql() cannot attach or write other databases when it is read-only"
                raise QueryError(no) from error
            raise self._mapped(error) from error
        except sqlite3.Warning as error:
            raise QueryError(str(error)) from error
        finally:
            connection.set_progress_handler(None, 0)
            connection.row_factory = sqlite3.Row

    def _recover(self, path: Path) -> None:
        """Roll back a transaction that was interrupted before the file was in WAL mode: a read-only connection cannot."""
        if self._depth or not path.with_name(f"{path.name}-journal").exists():
            return
        with lock_file(self.path, self.timeout), self.errors():
            connection = sqlite3.connect(path, timeout=self.timeout)
            try:
                connection.execute("select count(*) from sqlite_master")
            finally:
                connection.close()

    def _open(self, read_only: bool) -> sqlite3.Connection:
        if read_only and self.path is not None:
            self._recover(self.path)
        try:
            if self.path is None:
                connection = sqlite3.connect(
                    ":memory:", isolation_level=None, check_same_thread=False
                )
            else:
                mode = "ro" if read_only else "rwc"
                connection = sqlite3.connect(
                    f"{self.path.absolute().as_uri()}?mode={mode}",
                    uri=True,
                    timeout=self.timeout,
                    isolation_level=None,
                    check_same_thread=False,
                )
        except sqlite3.Error as error:
            raise StoreUnavailable(f"cannot open {self.path}: {error}") from error
        connection.row_factory = sqlite3.Row
        with self.errors():
            if not read_only:
                # The journals are the source of truth: a power failure may lose the last transactions here, and the next ingest stores
                # them again.
                connection.execute("pragma journal_mode = wal")
                connection.execute("pragma synchronous = normal")
                # Some builds overwrite all deleted data; this does so only if it costs no extra writes.
                connection.execute("pragma secure_delete = fast")
            connection.execute("pragma foreign_keys = on")
            connection.execute(f"pragma cache_size = {-CACHE if read_only else -(2**15)}")
        return connection

    def _connect_writer(self) -> sqlite3.Connection:
        if self._writer is None:
            if self.path is not None and not self.path.exists():
                for leftover in ("-wal", "-shm"):  # of a database that was deleted manually
                    self.path.with_name(self.path.name + leftover).unlink(missing_ok=True)
            self._writer = self._open(read_only=False)
            self._prepared = False
            self._inode = _inode(self.path)
        return self._writer

    def _check_file(self) -> None:
        """Close connections to a file that was deleted or replaced, for example by `sync --rebuild` in another process."""
        if self._inode is None:
            self._inode = _inode(self.path)
        elif self._inode != _inode(self.path):
            _LOG.info("%s was deleted or replaced; it is opened again", self.path)
            self.close()
            self._inode = None

    def _borrow(self) -> sqlite3.Connection:
        self._check_file()
        with self._idle_guard:
            if self._idle:
                return self._idle.pop()
        return self._open(read_only=True)

    def _check_process(self) -> None:
        if self._owner.here:
            return
        never_close(*self._idle, self._writer)
        self._idle, self._writer, self._depth = [], None, 0
        self._turn, self._idle_guard = threading.RLock(), threading.Lock()
        self._owner.adopt()


def deadline_passed(deadline: float | None) -> "Callable[[], int] | None":
    """Return a progress handler for SQLite, which returns 1 to interrupt a statement after the deadline."""
    if deadline is None:
        return None
    return lambda: int(time.monotonic() > deadline)


def _inode(path: Path | None) -> int | None:
    try:
        return None if path is None else path.stat().st_ino
    except OSError:
        return None


def _no_attach(action: int, *_: Any) -> int:
    return sqlite3.SQLITE_DENY if action == sqlite3.SQLITE_ATTACH else sqlite3.SQLITE_OK
