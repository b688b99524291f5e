"""Writers for a process's own trials: statement by statement, or, if the database is a server, without waiting.

On PostgreSQL, a writer has a connection of its own with an open pipeline (libpq, "Pipeline Mode"). Each statement is a
transaction that is sent at once, `begin` to `commit`, and its result is read later. Once it is sent, the server executes it
even if this process is killed. If the connection breaks, statements with unknown results are executed again; this is safe,
because each statement sets something to a value.
"""

import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, cast

from runbase.errors import StoreError
from runbase.events import Points
from runbase.processes import Owner, never_close
from runbase.status import Status
from runbase.storage.sql import trials, typed_values
from runbase.storage.sql.driver import Driver, Served
from runbase.storage.trial_protocol import TrialStorage, TrialWriter
from runbase.storage.types import NewTrial, TrialUpdate

AHEAD = 64
"""Most statements that are sent before their results are read."""


def trial_writer(store: TrialStorage, driver: Driver) -> TrialWriter:
    """Return the writer that fits a driver."""
    if driver.dialect != "postgres" or cast("Served", driver).pooled:
        return DirectTrialWriter(store)
    return PipelinedTrialWriter(store, cast("Served", driver))


class DirectTrialWriter:
    """Executes one statement after the other: for a database in a file, which only waits for the disk."""

    def __init__(self, store: TrialStorage) -> None:
        self._store = store
        self.lost: set[str] = set()

    def add_trial(self, experiment: str, new: NewTrial) -> int:
        """Create a running trial; returns its number."""
        return self._store.add_trial(experiment, new)

    def set_param(self, run: str, key: str, value: Any, suggested: str) -> None:
        """Set a parameter that an optimizer chose, and the distribution."""
        if not self._store.set_param(run, key, value, suggested):
            self.lost.add(run)

    def set_attribute(self, run: str, scope: str, key: str, value: Any) -> None:
        """Set an attribute of a trial."""
        if not self._store.set_attribute(run, scope, key, value):
            self.lost.add(run)

    def finish_trial(
        self,
        run: str,
        status: Status,
        *,
        params: Mapping[str, Any],
        attributes: Mapping[str, Mapping[str, Any]],
        metrics: Sequence[Points],
        ended: float,
    ) -> bool:
        """End a trial; False if it has ended."""
        del params  # parameters are read only where this needs no round trip
        return self._store.finish_trial(
            run, status, attributes=attributes, metrics=metrics, ended=ended
        )

    def trial_updates(
        self, experiment: str, after: int, also: Sequence[str] = ()
    ) -> list[TrialUpdate]:
        """Return the trials as the database has them."""
        return self._store.trial_updates(experiment, after, also)

    def flush(self) -> None:
        """Do nothing: each statement is complete when its method returns."""

    def end(self) -> None:
        """Do nothing: the writer has no connection of its own."""


class PipelinedTrialWriter:
    """Sends statements, and waits only if a result is needed."""

    def __init__(self, store: TrialStorage, driver: Served) -> None:
        self._store, self._driver = store, driver
        self.lost: set[str] = set()
        self._guard = threading.RLock()
        self._connection: Any = None
        self._pipeline: Any = None
        self._open = ExitStack()
        self._owner = Owner()
        self._sent: list[_Sent] = []
        self._stock: dict[str, list[int]] = {}

    def add_trial(self, experiment: str, new: NewTrial) -> int:
        """Create a running trial and return its number. Waits for this statement and all before it."""
        with self._guard:
            try:
                with self._transaction() as session:
                    number = trials.add(session, experiment, [new])
                with self._driver.errors():
                    self._pipeline.sync()
                    value = number()
            except StoreError:
                self._again()
                raise
            self._settled()
            return value

    def set_param(self, run: str, key: str, value: Any, suggested: str) -> None:
        """Set a parameter that an optimizer chose, and the distribution."""
        row = {"of": run, "key": key, **typed_values.typed(value), "suggested": suggested}
        self._send(run, "suggest_param", row)

    def set_attribute(self, run: str, scope: str, key: str, value: Any) -> None:
        """Set an attribute of a trial."""
        row = {"of": run, "scope": scope, "key": key, **typed_values.typed(value)}
        self._send(run, "tell_attribute", row)

    def finish_trial(
        self,
        run: str,
        status: Status,
        *,
        params: Mapping[str, Any],
        attributes: Mapping[str, Mapping[str, Any]],
        metrics: Sequence[Points],
        ended: float,
    ) -> bool:
        """End a trial; False if it has ended. Waits for the end only, not for the other data that is stored with it."""

        def plainly() -> bool:
            return self._store.finish_trial(
                run, status, attributes=attributes, metrics=metrics, ended=ended
            )

        ending = trials.Ending(
            status=status,
            attributes=attributes,
            metrics=metrics,
            ended=ended,
            params=params,
            bare=True,
        )
        with self._guard:
            try:
                with self._transaction() as session:
                    closed = trials.close(session, run, ending)
            except StoreError:
                self._again()
                return plainly()
            self._settled()
            if closed:
                self._sent.append(_Sent(run, plainly))
            return closed

    def trial_updates(
        self, experiment: str, after: int, also: Sequence[str] = ()
    ) -> list[TrialUpdate]:
        """Return the trials as `TrialStorage.trial_updates` does, after all statements that were sent here."""
        with self._guard:
            try:
                with self._driver.errors():
                    updates = trials.told(self._session(), experiment, after, also)
            except StoreError:
                self._again()
                return self._store.trial_updates(experiment, after, also)
            self._settled()
            return updates

    def flush(self) -> None:
        """Wait until the database has executed all statements."""
        with self._guard:
            if not self._sent:
                return
            try:
                with self._driver.errors():
                    self._pipeline.sync()
            except StoreError:
                self._again()
            self._settled()

    def end(self) -> None:
        """Wait for all statements, and close the connection."""
        with self._guard:
            try:
                self.flush()
            finally:
                self._drop()

    # Implementation

    def _send(self, run: str, name: str, row: Mapping[str, Any]) -> None:
        """Send one statement as a transaction of its own."""

        def plainly() -> bool:
            return bool(self._driver.execute_once(name, **row))

        with self._guard:
            sent = _Sent(run, plainly)
            self._sent.append(sent)
            try:
                with self._transaction() as session:
                    sent.changed = session.changing(name, **row)
            except StoreError:
                self._again()
            if len(self._sent) >= AHEAD:
                self.flush()

    @contextmanager
    def _transaction(self) -> Generator[Any]:
        """Send `begin` and `commit` around statements, without waiting for their results."""
        with self._driver.errors():
            session = self._session()
            self._connection.execute("begin")
            yield session
            self._connection.execute("commit")

    def _session(self) -> Any:
        if not self._owner.here:  # the connection belongs to the parent process, which closes it
            never_close(self._connection, self._open)
            self._owner.adopt()
            self._connection, self._sent = None, []
        if self._connection is None:
            self._connection = self._driver.dedicated()
            self._open = ExitStack()
            self._pipeline = self._open.enter_context(self._connection.pipeline())
        return self._driver.session(self._connection, self._pipeline, self._stock)

    def _settled(self) -> None:
        """Wait until all statements that were sent have results."""
        for sent in self._sent:
            if sent.changed is not None and sent.changed() == 0:
                self.lost.add(sent.run)
        self._sent = []

    def _again(self) -> None:
        """Execute statements again, one by one, after a broken connection or a failed statement that aborted those after it."""
        self._drop()
        while self._sent:
            if not self._sent[0].plainly() and self._sent[0].changed is not None:
                self.lost.add(self._sent[0].run)
            del self._sent[0]

    def _drop(self) -> None:
        connection, self._connection, self._pipeline = self._connection, None, None
        if connection is None:
            return
        with suppress(Exception):  # a broken connection may not close cleanly
            self._open.close()
        connection.close()


class _Sent:
    """A statement that was sent: its trial, how to execute it again, and how many rows it changed."""

    def __init__(self, run: str, plainly: Callable[[], bool]) -> None:
        self.run, self.plainly = run, plainly
        self.changed: Callable[[], int] | None = None
