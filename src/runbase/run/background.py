"""The background thread of a process: heartbeat, fsync, retry after a full disk, and ingest for its runs.

`log` never waits for it. It works in short pieces and sleeps four times as long as each piece took,
so that it uses at most a fifth of the interpreter's time.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runbase.errors import StoreBusy, StoreError, StoreOffline, warn

if TYPE_CHECKING:
    from runbase.capture.system_metrics import SystemMetrics
    from runbase.journal import JournalWriter
    from runbase.model import Run
    from runbase.run.lease import Lease
    from runbase.run.orphans import Orphan
    from runbase.storage.protocol import Storage

_LOG = logging.getLogger(__name__)
EVERY = 1.0
"""Seconds between ingests."""
CROWDED_EVERY = 10.0
"""Seconds between ingests if the database server has few connections left."""
SYNC_EVERY = 5.0
"""Seconds between fsyncs: the most that a power failure can lose."""
BEAT_EVERY = 15.0
"""Seconds between heartbeats in the run folder."""
TELL_EVERY = 60.0
"""Seconds between heartbeats in the database."""
PIECE = 2**16
"""Bytes of a journal read at once during training: about half a millisecond of work."""


class RunMonitor:
    """The state that the background thread needs for one run.

    Args:
        run: the id of the run.
        journal: the journal that the run writes.
        store: the URL of the database; None to write files only.
        where: the path of the run folder relative to its home.
        system_metrics: samples the machine; None if that is not wanted.
    """

    def __init__(
        self,
        run: str,
        journal: "JournalWriter",
        store: str | None,
        where: str,
        system_metrics: "SystemMetrics | None",
    ) -> None:
        self.run = run
        self.journal = journal
        self.store = store
        self.where = where
        self.system_metrics = system_metrics
        self.lease: Lease | None = None
        self.orphan: Orphan | None = None
        self.guard = threading.Lock()
        self.ended = threading.Event()
        self._synced = self._beaten = 0.0
        self._told = -TELL_EVERY
        self._synced_size = 0
        self._samples = 0
        # Imports and the first statements hold the interpreter for long: not while a run begins, or if it is short, at all.
        self._waits_until = time.monotonic() + EVERY
        self._warned = False

    def maintain_files(self) -> None:
        """Do the work that must not be late: heartbeat, fsync, retry after a full disk, sampling."""
        now = time.monotonic()
        self.journal.check(self._is_wanted)
        self.journal.retry()
        if now - self._beaten >= BEAT_EVERY:
            self._beaten = now
            beat(self.journal.folder)
        if now - self._synced >= SYNC_EVERY:
            self._synced = now
            self._sync()
        if self.system_metrics is not None:
            self._sample(self.system_metrics, now)

    def _is_wanted(self) -> bool:
        """Return whether to restore the run if its files disappear: not if it was purged."""
        if self.store is None:
            return True
        try:
            return self.run not in storage_for(self.store).purged([self.run])
        except StoreError:
            return True

    def update_store(self) -> None:
        """Begin a run that rank 0 does not begin, renew the claim, then ingest the journal in small pieces."""
        if self.orphan is not None:
            self.orphan.begin_if_due()
        if self.lease is not None and self.store is not None:
            self.lease.renew_if_due(storage_for(self.store))
        if time.monotonic() < self._waits_until:
            return
        done = self.ingest(pause=self._yield_to_training)
        if self.store is not None and storage_for(self.store).crowded:
            # Many processes share a server: each takes its turn at a time of its own.
            import random  # imported here: it would take a millisecond at the start of every run

            self._waits_until = time.monotonic() + random.uniform(0.5, 1.5) * CROWDED_EVERY  # noqa: S311
        if done and time.monotonic() - self._told >= TELL_EVERY:
            self.record_heartbeat()

    def record(self) -> "Run | None":
        """Return the record of the run as it is in the database; waits a second at most."""
        from runbase.storage.deadlines import until

        if self.store is None:
            return None
        with until(time.monotonic() + 1.0):
            return next(iter(storage_for(self.store).get_runs([self.run])), None)

    def record_heartbeat(self) -> None:
        """Record a heartbeat in the database."""
        if self.store is not None:
            self._told = time.monotonic()
            storage_for(self.store).heartbeat([self.run])

    def _yield_to_training(self, took: float) -> bool:
        """Sleep; return False if the run has ended: its own thread then does the rest without pauses."""
        return not self.ended.wait(min(4 * took, 0.2))

    def ingest(
        self, *, pause: Callable[[float], bool] | None = None, deadline: float | None = None
    ) -> bool:
        """Ingest the run's journal into the store; return False if that failed and must be repeated."""
        if self.store is None:
            return True
        try:
            self._ingest_with_retry(self.store, pause, deadline)
        except Exception as error:  # a fault here must never stop training
            self.warn_once(error)
            return False
        return True

    def drain(self, seconds: float) -> None:
        """Ingest everything, and wait for a database that is restarting, once per process.

        A process that ends many runs while the database is offline therefore waits only once.
        """
        if self.store is None:
            return
        deadline = time.monotonic() + seconds
        rest = 0.05
        try:
            while True:
                try:
                    self._ingest_with_retry(self.store, None, deadline)
                except StoreOffline:
                    if self.store in _missed or time.monotonic() + rest > deadline:
                        _missed.add(self.store)
                        raise
                    time.sleep(rest)
                    rest = min(2 * rest, 1.0)
                else:
                    _missed.discard(self.store)
                    return
        except Exception as error:  # a fault here must never stop training
            self.warn_once(error)

    def _ingest_with_retry(
        self, store: str, pause: Callable[[float], bool] | None, deadline: float | None
    ) -> None:
        try:
            self._ingest(store, pause, deadline)
        except FileNotFoundError:
            if self.journal.path.exists():
                raise
            # The run was purged while it was active.
        except StoreError:  # the database file may have been replaced: open it again and retry once
            if deadline is not None and time.monotonic() >= deadline:
                raise
            forget_storage(store)
            self._ingest(store, pause, deadline)

    def _ingest(
        self, store: str, pause: Callable[[float], bool] | None, deadline: float | None
    ) -> None:
        """Ingest the journal; raise StoreBusy if the deadline passes first."""
        from runbase.ingest.journals import ingest_journal
        from runbase.storage.deadlines import until

        with until(deadline):
            report = ingest_journal(
                storage_for(store),
                self.journal.path,
                self.where,
                pause=pause,
                deadline=deadline,
                size=PIECE if pause else 2**19,
            )
        if deadline is not None and report.late:
            raise StoreBusy("ingest took longer than the time allowed")

    def _sync(self) -> None:
        try:
            size = self.journal.path.stat().st_size
        except OSError:
            return
        if size != self._synced_size:
            self._synced_size = size
            self.journal.sync()

    def _sample(self, system_metrics: "SystemMetrics", now: float) -> None:
        try:
            values = system_metrics.sample(now)
        except Exception as error:  # a container may hide parts of the machine
            _LOG.info("system metrics of run %s end: %r", self.run, error)
            self.system_metrics = None
            return
        if values:
            self.journal.append_points("t", self._samples, values)
            self._samples += 1

    def warn_once(self, error: Exception) -> None:
        """Warn once that the database is behind, and what to do."""
        if not self._warned:
            self._warned = True
            warn(
                f"this run could not be ingested into the database yet ({error}); its data is "
                f"in {self.journal.path}, run `runbase sync` later to ingest it",
            )


def beat(folder: Path) -> None:
    """Set the modification time of the heartbeat file to now."""
    path = folder / "heartbeat"
    try:
        os.utime(path)
    except FileNotFoundError:
        try:
            path.touch()
        except OSError:
            pass
    except OSError:
        pass  # the disk is read-only or full: the next heartbeat may succeed


class BackgroundThread:
    """The one thread of a process that works for all its active runs, while there are any."""

    def __init__(self) -> None:
        self._monitors: list[RunMonitor] = []
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, monitor: RunMonitor) -> None:
        with self._guard:
            self._monitors.append(monitor)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="runbase", daemon=True)
                self._thread.start()

    def remove(self, monitor: RunMonitor) -> None:
        with self._guard:
            if monitor in self._monitors:
                self._monitors.remove(monitor)

    def _run(self) -> None:
        while True:
            began = time.monotonic()
            for monitor in list(self._monitors):
                # A busy database delays one ingest, but no heartbeat.
                for other in list(self._monitors):
                    _survive(other, other.maintain_files)
                with monitor.guard:
                    if monitor in self._monitors:
                        _survive(monitor, monitor.update_store)
            # Use a slow database less often, to limit the load of this thread.
            took = time.monotonic() - began
            leases = [
                monitor.lease.every for monitor in list(self._monitors) if monitor.lease is not None
            ]
            self._wake.wait(max(EVERY, min(2 * took, 30.0, *leases)))
            with self._guard:
                if not self._monitors:
                    self._thread = None
                    return


def _survive(monitor: RunMonitor, work: Callable[[], None]) -> None:
    try:
        work()
    except Exception as error:  # a fault here must never stop training
        monitor.warn_once(error)


_background = BackgroundThread()
_storages: dict[str, "Storage"] = {}
_storages_guard = threading.Lock()
_missed: set[str] = set()
"""Databases that an ending run waited for without success."""


def storage_for(url: str) -> "Storage":
    """Return the storage at a URL, opened once per process."""
    with _storages_guard:
        if url not in _storages:
            from runbase.storage.open import open_storage

            _storages[url] = open_storage(url, timeout=30.0)
        return _storages[url]


def forget_storage(url: str) -> None:
    """Close the storage at a URL, so that its next use opens it again."""
    with _storages_guard:
        if url in _storages:
            _storages.pop(url).close()


def add(monitor: RunMonitor) -> None:
    """Start the background work for a run."""
    _background.add(monitor)


def remove(monitor: RunMonitor) -> None:
    """Stop the background work for a run."""
    _background.remove(monitor)


def _forget() -> None:
    global _background, _storages_guard
    _background = BackgroundThread()
    _storages.clear()
    _storages_guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
