"""Ways for a process's own trials: statement by statement, or, where the database is a server, without waiting.

On PostgreSQL a lane is a connection of its own with an open pipeline (libpq, "Pipeline Mode"). Each statement is a
transaction that is sent at once, `begin` to `commit`, and its result is read later: once it is sent, the server
carries it out even if this process is killed. What a broken connection leaves in doubt is done again; all of it
can be, for each statement sets something to a value.
"""

import os
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, cast

from runbase.errors import StoreError
from runbase.events import Points
from runbase.status import Status
from runbase.storage.sql import trials, typed_values
from runbase.storage.sql.driver import Driver, Served
from runbase.storage.trial_protocol import TrialStorage, TrialWriter
from runbase.storage.types import NewTrial, TrialUpdate

AHEAD = 64
"""Statements on their way at most."""


def trial_writer(store: TrialStorage, driver: Driver) -> TrialWriter:
    """The lane that fits a driver."""
    if driver.dialect != "postgres":
        return DirectTrialWriter(store)
    return PipelinedTrialWriter(store, cast("Served", driver))


class DirectTrialWriter:
    """One statement after the other: where the database is a file, there is nothing to wait for but the disk."""

    def __init__(self, store: TrialStorage) -> None:
        self._store = store
        self.lost: set[str] = set()

    def add_trial(self, experiment: str, new: NewTrial) -> int:
        """Make one that runs; its number."""
        return self._store.add_trial(experiment, new)

    def set_param(self, run: str, key: str, value: Any, suggested: str) -> None:
        """A parameter that an optimizer chose, and from what."""
        if not self._store.set_param(run, key, value, suggested):
            self.lost.add(run)

    def set_attribute(self, run: str, scope: str, key: str, value: Any) -> None:
        """An attribute."""
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
        """Its end; False where it has ended."""
        del params  # they are read where that costs no exchange
        return self._store.finish_trial(
            run, status, attributes=attributes, metrics=metrics, ended=ended
        )

    def trial_updates(
        self, experiment: str, after: int, also: Sequence[str] = ()
    ) -> list[TrialUpdate]:
        """As the store has it."""
        return self._store.trial_updates(experiment, after, also)

    def flush(self) -> None:
        """Everything has been waited for."""

    def end(self) -> None:
        """Nothing is held."""


class PipelinedTrialWriter:
    """Statements that are sent, and waited for when an answer is needed."""

    def __init__(self, store: TrialStorage, driver: Served) -> None:
        self._store, self._driver = store, driver
        self.lost: set[str] = set()
        self._guard = threading.RLock()
        self._connection: Any = None
        self._pipeline: Any = None
        self._open = ExitStack()
        self._pid = os.getpid()
        self._sent: list[_Sent] = []
        self._stock: dict[str, list[int]] = {}

    def add_trial(self, experiment: str, new: NewTrial) -> int:
        """Make one that runs; its number. Waits for that, and for all before it."""
        with self._guard:
            try:
                with self._transaction() as session:
                    number = trials.add(session, experiment, [new])
                with self._driver.errors():
                    self._pipeline.sync()
                    found = number()
            except StoreError:
                self._again()
                raise
            self._settled()
            return found

    def set_param(self, run: str, key: str, value: Any, suggested: str) -> None:
        """A parameter that an optimizer chose, and from what."""
        row = {"of": run, "key": key, **typed_values.typed(value), "suggested": suggested}
        self._send(run, "suggest_param", row)

    def set_attribute(self, run: str, scope: str, key: str, value: Any) -> None:
        """An attribute."""
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
        """Its end; False where it has ended. Waits for that, and not for what else is kept of it."""

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
        """As `Storage.told`, behind all that was said here."""
        with self._guard:
            try:
                with self._driver.errors():
                    found = trials.told(self._session(), experiment, after, also)
            except StoreError:
                self._again()
                return self._store.trial_updates(experiment, after, also)
            self._settled()
            return found

    def flush(self) -> None:
        """Wait until the database has all of it."""
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
        """Settle, and let go of the connection."""
        with self._guard:
            try:
                self.flush()
            finally:
                self._drop()

    # How it is done

    def _send(self, run: str, name: str, row: Mapping[str, Any]) -> None:
        """One statement as a transaction of its own."""

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
        """From `begin` to `commit`, neither of them waited for."""
        with self._driver.errors():
            session = self._session()
            self._connection.execute("begin")
            yield session
            self._connection.execute("commit")

    def _session(self) -> Any:
        if self._pid != os.getpid():  # the parent's connection, and the parent's to close
            _LEFT_BEHIND.append((self._connection, self._open))
            self._pid, self._connection, self._sent = os.getpid(), None, []
        if self._connection is None:
            self._connection = self._driver.dedicated()
            self._open = ExitStack()
            self._pipeline = self._open.enter_context(self._connection.pipeline())
        return self._driver.session(self._connection, self._pipeline, self._stock)

    def _settled(self) -> None:
        """All that was sent has been answered."""
        for sent in self._sent:
            if sent.changed is not None and sent.changed() == 0:
                self.lost.add(sent.run)
        self._sent = []

    def _again(self) -> None:
        """The connection is broken, or a statement failed and those behind it were passed over: once more, plainly."""
        self._drop()
        while self._sent:
            if not self._sent[0].plainly() and self._sent[0].changed is not None:
                self.lost.add(self._sent[0].run)
            del self._sent[0]

    def _drop(self) -> None:
        connection, self._connection, self._pipeline = self._connection, None, None
        if connection is None:
            return
        with suppress(Exception):  # a broken one cannot be left in order
            self._open.close()
        connection.close()


class _Sent:
    """A statement on its way: of which trial, how to do it again, and how many rows it changed."""

    def __init__(self, run: str, plainly: Callable[[], bool]) -> None:
        self.run, self.plainly = run, plainly
        self.changed: Callable[[], int] | None = None


_LEFT_BEHIND: list[Any] = []
"""Connections of the process that this one was forked from: closing them would end its sessions."""
