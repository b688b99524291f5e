"""A claim on a trial, kept while its process lives and lost when it does not renew it."""

import threading
import time
import warnings
from collections.abc import Callable

from msgspec import Struct

from runbase.errors import RunbaseError
from runbase.storage.protocol import Storage

IDLE = 10.0
"""Seconds after which a thread that has nothing to renew ends."""


class Held(Struct, frozen=True, kw_only=True):
    """Whose trial it is: the run, the attempt at it, and for how long a renewal holds, in seconds."""

    run: str
    attempt: int
    runner: str
    seconds: float


class Lease:
    """Renews a claim, a third of its time before it would run out at the latest."""

    def __init__(self, held: Held) -> None:
        self.held = held
        self.lost = False
        """Whether the trial is somebody else's by now, or was cancelled."""
        self._renewed = time.monotonic()
        self._guard = threading.Lock()

    @property
    def every(self) -> float:
        """Seconds between two renewals."""
        return self.held.seconds / 3

    @property
    def due(self) -> bool:
        """Whether it is time to renew it."""
        return time.monotonic() - self._renewed >= self.every

    def keep(self, storage: Storage) -> None:
        """Renew it where that is due; warns where it turns out to be lost."""
        with self._guard:
            if self.lost or not self.due or self.renew(storage):
                return
        warnings.warn(
            f"runbase: the claim of {self.held.runner} on trial {self.held.run} is lost: it was "
            "cancelled, or not renewed in time and given to another; what this process still logs is "
            "kept, and its end counts no more",
            RuntimeWarning,
            stacklevel=2,
        )

    def renew(self, storage: Storage) -> bool:
        """Renew it now; False where it is lost."""
        began = time.monotonic()
        try:
            kept = storage.renew_claim(self.held.run, self.held.attempt, self.held.seconds)
        except RunbaseError:
            return True  # the database is away for a moment: the next one may go through
        if kept:
            self._renewed = began
        else:
            self.lost = True
        return kept


class Keeper:
    """Renews claims of trials that keep no journal, from a thread of its own while there are any."""

    def __init__(self, storage: Callable[[], Storage]) -> None:
        self._storage = storage
        self._leases: set[Lease] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, lease: Lease) -> None:
        """Renew this one from now on."""
        with self._changed:
            self._leases.add(lease)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="runbase-leases", daemon=True
                )
                self._thread.start()

    def drop(self, lease: Lease) -> None:
        """Let go of it."""
        with self._changed:
            self._leases.discard(lease)
            self._changed.notify()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._leases:
                    self._changed.wait(IDLE)
                if not self._leases:
                    self._thread = None
                    return
                present = list(self._leases)
            for lease in present:
                if lease.due:
                    lease.keep(self._storage())
            with self._changed:
                self._changed.wait(min(lease.every for lease in present) / 2)
