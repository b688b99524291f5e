"""One thread a process that looks after its runs: heartbeat, fsync, what a full disk refused, ingest.

It may be late; it is never waited for by `log`. It works in short pieces and sleeps four times as
long as each took, so that it takes at most a fifth of the interpreter from training.
"""

import os
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from runbase.errors import StoreBusy, StoreError, StoreOffline

if TYPE_CHECKING:
    from runbase.capture.sampling import Sampler
    from runbase.journal import JournalWriter
    from runbase.run.lease import Lease
    from runbase.storage.protocol import Storage

EVERY = 1.0
"""Seconds between ingests."""
SYNC_EVERY = 5.0
"""Seconds between fsyncs: what a power cut may cost."""
BEAT_EVERY = 15.0
"""Seconds between heartbeats."""
TELL_EVERY = 60.0
"""Seconds between signs of life to the database."""
PIECE = 2**16
"""Bytes of a journal read at once beside a training loop: about half a millisecond of work."""


class Care:
    """What the thread needs to look after one run. `where` is the run folder's path in its home."""

    def __init__(
        self,
        run: str,
        journal: "JournalWriter",
        store: str | None,
        where: str,
        sampler: "Sampler | None",
    ) -> None:
        self.run = run
        self.journal = journal
        self.store = store
        self.where = where
        self.sampler = sampler
        self.lease: Lease | None = None
        self.guard = threading.Lock()
        self.ended = threading.Event()
        self._synced = self._beaten = self._sampled = 0.0
        self._told = -TELL_EVERY
        self._synced_size = 0
        self._samples = 0
        self._warned = False

    def keep(self) -> None:
        """One round of what must not wait: heartbeat, fsync, what a full disk refused, a sample."""
        now = time.monotonic()
        self.journal.check(self._is_wanted)
        self.journal.retry()
        if now - self._beaten >= BEAT_EVERY:
            self._beaten = now
            beat(self.journal.folder)
        if now - self._synced >= SYNC_EVERY:
            self._synced = now
            self._sync()
        if self.sampler is not None and now - self._sampled >= 10.0:
            self._sample(now)

    def _is_wanted(self) -> bool:
        """Whether the run is to be restored where its files are gone: not where it was purged."""
        if self.store is None:
            return True
        try:
            return self.run not in storage_for(self.store).purged([self.run])
        except StoreError:
            return True

    def bring_in(self) -> None:
        """One round of ingest, in small pieces; a claim is renewed before it."""
        if self.lease is not None and self.store is not None:
            self.lease.keep(storage_for(self.store))
        done = self.ingest(pause=self._yield_to_training)
        if done and time.monotonic() - self._told >= TELL_EVERY:
            self.tell()

    def tell(self) -> None:
        """A sign of life to the database."""
        if self.store is not None:
            self._told = time.monotonic()
            storage_for(self.store).heartbeat([self.run])

    def _yield_to_training(self, took: float) -> bool:
        """Sleep; False when the run has ended, and its own thread does the rest at full speed."""
        return not self.ended.wait(min(4 * took, 0.2))

    def ingest(
        self, *, pause: Callable[[float], bool] | None = None, deadline: float | None = None
    ) -> bool:
        """Bring the run's journal into the store; False where that has to wait."""
        if self.store is None:
            return True
        try:
            self._ingest_anew(self.store, pause, deadline)
        except Exception as error:  # the last fence between our faults and somebody's training
            self.warn_once(error)
            return False
        return True

    def drain(self, seconds: float) -> None:
        """Bring in everything; a database that restarts is waited for, once in a process.

        A process that ends many runs while the database is away pays for that wait at the first.
        """
        if self.store is None:
            return
        deadline = time.monotonic() + seconds
        rest = 0.05
        try:
            while True:
                try:
                    self._ingest_anew(self.store, None, deadline)
                except StoreOffline:
                    if self.store in _missed or time.monotonic() + rest > deadline:
                        _missed.add(self.store)
                        raise
                    time.sleep(rest)
                    rest = min(2 * rest, 1.0)
                else:
                    _missed.discard(self.store)
                    return
        except Exception as error:  # the last fence between our faults and somebody's training
            self.warn_once(error)

    def _ingest_anew(
        self, store: str, pause: Callable[[float], bool] | None, deadline: float | None
    ) -> None:
        try:
            self._ingest(store, pause, deadline)
        except FileNotFoundError:
            if self.journal.path.exists():
                raise
            # The run was deleted for good while it went on.
        except StoreError:  # perhaps the file was replaced: once more, from its opening on
            if deadline is not None and time.monotonic() >= deadline:
                raise
            forget_storage(store)
            self._ingest(store, pause, deadline)

    def _ingest(
        self, store: str, pause: Callable[[float], bool] | None, deadline: float | None
    ) -> None:
        """Bring the journal in; raises StoreBusy where the deadline comes first."""
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
            raise StoreBusy("it took longer than the time allowed")

    def _sync(self) -> None:
        try:
            size = self.journal.path.stat().st_size
        except OSError:
            return
        if size != self._synced_size:
            self._synced_size = size
            self.journal.sync()

    def _sample(self, now: float) -> None:
        assert self.sampler is not None
        figures = self.sampler.sample(now - self._sampled)
        self._sampled = now
        values = {key: float(value) for key, value in figures.items()}
        self.journal.append_points("t", self._samples, dict(values))
        self._samples += 1

    def warn_once(self, error: Exception) -> None:
        """Say once that the database does not have everything, and what to do."""
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"runbase: the database does not take this run's points yet ({error}); they are "
                f"safe in {self.journal.path}, and `runbase sync` brings them in later",
                RuntimeWarning,
                stacklevel=2,
            )


def beat(folder: Path) -> None:
    """Move the heartbeat's modification time."""
    path = folder / "heartbeat"
    try:
        os.utime(path)
    except FileNotFoundError:
        try:
            path.touch()
        except OSError:
            pass
    except OSError:
        pass  # read-only or full for a moment: the next beat may go through


class _Keeper:
    def __init__(self) -> None:
        self._cares: list[Care] = []
        self._guard = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, care: Care) -> None:
        with self._guard:
            self._cares.append(care)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="runbase", daemon=True)
                self._thread.start()

    def remove(self, care: Care) -> None:
        with self._guard:
            if care in self._cares:
                self._cares.remove(care)

    def _run(self) -> None:
        while True:
            began = time.monotonic()
            for care in list(self._cares):
                # A database that others keep busy holds up one ingest, and nobody's heartbeat.
                for each in list(self._cares):
                    _survive(each, each.keep)
                with care.guard:
                    if care in self._cares:
                        _survive(care, care.bring_in)
            # A slow database is asked less often, so that this thread stays in the background.
            took = time.monotonic() - began
            leases = [care.lease.every for care in list(self._cares) if care.lease is not None]
            self._wake.wait(max(EVERY, min(2 * took, 30.0, *leases)))
            with self._guard:
                if not self._cares:
                    self._thread = None
                    return


def _survive(care: Care, work: Callable[[], None]) -> None:
    try:
        work()
    except Exception as error:  # the last fence between our faults and somebody's training
        care.warn_once(error)


_keeper = _Keeper()
_storages: dict[str, "Storage"] = {}
_storages_guard = threading.Lock()
_missed: set[str] = set()
"""Databases that an ending run waited for in vain."""


def storage_for(url: str) -> "Storage":
    """This process's storage at a URL, opened once."""
    with _storages_guard:
        if url not in _storages:
            from runbase.storage.open import open_storage

            _storages[url] = open_storage(url, timeout=30.0)
        return _storages[url]


def forget_storage(url: str) -> None:
    """Open it anew the next time."""
    with _storages_guard:
        if url in _storages:
            _storages.pop(url).close()


def add(care: Care) -> None:
    """Look after a run from now on."""
    _keeper.add(care)


def remove(care: Care) -> None:
    """Stop looking after a run."""
    _keeper.remove(care)


def _forget() -> None:
    global _keeper, _storages_guard
    _keeper = _Keeper()
    _storages.clear()
    _storages_guard = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
