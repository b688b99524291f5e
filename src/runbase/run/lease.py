"""The lease of a claimed trial: renewed while its process is alive, lost if it is not renewed in time."""

import threading
import time
from collections.abc import Callable

from msgspec import Struct

from runbase.errors import RunbaseError, warn
from runbase.storage.protocol import Storage

IDLE = 10.0
"""Seconds without a lease after which the renewing thread ends."""


class Held(Struct, frozen=True, kw_only=True):
    """A claim on a trial: the run, its attempt, the runner, and the seconds that a renewal is valid."""

    run: str
    attempt: int
    runner: str
    seconds: float


class Lease:
    """Renews one claim, every third of its duration."""

    def __init__(self, held: Held) -> None:
        self.held = held
        self.lost = False
        """Whether the trial was cancelled, or claimed by another runner."""
        self._renewed = time.monotonic()
        self._guard = threading.Lock()

    @property
    def every(self) -> float:
        """Seconds between two renewals."""
        return self.held.seconds / 3

    @property
    def due(self) -> bool:
        """Whether it is time to renew the claim."""
        return time.monotonic() - self._renewed >= self.every

    def renew_if_due(self, storage: Storage) -> None:
        """Renew the claim if that is due; warn if it is lost."""
        with self._guard:
            if self.lost or not self.due or self.renew(storage):
                return
        warn(
            f"the claim of {self.held.runner} on trial {self.held.run} is lost: the trial was "
            "cancelled, or its lease expired and another runner claimed it; further logs are stored, "
            "but this process can no longer end the trial",
        )

    def renew(self, storage: Storage) -> bool:
        """Renew the claim now; return False if it is lost."""
        began = time.monotonic()
        try:
            renewed = storage.renew_claim(self.held.run, self.held.attempt, self.held.seconds)
        except RunbaseError:
            return True  # the database is offline: the next renewal may succeed
        if renewed:
            self._renewed = began
        else:
            self.lost = True
        return renewed


class LeaseRenewer:
    """Renews the claims of trials without a journal, from its own thread, while there are any."""

    def __init__(self, storage: Callable[[], Storage]) -> None:
        self._storage = storage
        self._leases: set[Lease] = set()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, lease: Lease) -> None:
        """Start renewing a lease."""
        with self._changed:
            self._leases.add(lease)
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._work, name="runbase-leases", daemon=True
                )
                self._thread.start()

    def drop(self, lease: Lease) -> None:
        """Stop renewing a lease."""
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
                    lease.renew_if_due(self._storage())
            with self._changed:
                self._changed.wait(min(lease.every for lease in present) / 2)
