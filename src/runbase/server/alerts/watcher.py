"""Two threads: one evaluates rules when runs change, one delivers."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from runbase.errors import RunbaseError
from runbase.server.alerts import rules, targets
from runbase.server.alerts.sending import NotDelivered, Sender
from runbase.storage.alert_protocol import DueDelivery
from runbase.store.store import Store

_LOG = logging.getLogger(__name__)
WAIT = 1.0
"""Seconds between two looks at the store."""
SWEEP = 30.0
"""Seconds between two evaluations for all runs: filters may compare with the present time."""
LEASE = 60.0
"""Seconds after which another process may repeat an attempt that did not end."""
FIRST, LONGEST = 5.0, 3600.0
"""Seconds until the second attempt; it doubles with each, up to the longest."""
GIVE_UP = 86400.0
"""Seconds for which a delivery is tried."""
AT_ONCE = 4


class Watcher:
    """Evaluates the rules of a store and delivers their alerts.

    Several watchers of one database raise each alert once, and one of them makes each attempt at a delivery.

    Args:
        store: the store.
        sender: how alerts are sent.
        sweep: seconds between two evaluations for all runs.
        lease: seconds after which another process may repeat an attempt that did not end.
        first: seconds until the second attempt.
    """

    def __init__(
        self,
        store: Store,
        sender: Sender,
        *,
        sweep: float = SWEEP,
        lease: float = LEASE,
        first: float = FIRST,
    ) -> None:
        self._store, self._sender = store, sender
        self._sweep, self._lease, self._first = sweep, lease, first
        self._stopped = threading.Event()
        self._wake = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start the threads."""
        self._stopped.clear()
        for name, work in (("rules", self._evaluate), ("deliveries", self._deliver)):
            thread = threading.Thread(target=work, name=f"runbase-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """End the threads; attempts that run are finished."""
        self._stopped.set()
        self._wake.set()
        for thread in self._threads:
            thread.join(timeout=2 * self._sender.timeout)
        self._threads.clear()

    def _evaluate(self) -> None:
        cursor: str | None = None
        known: set[str] = set()
        swept = 0.0
        while not self._stopped.is_set():
            try:
                changes = self._store.changes(cursor)
                cursor = changes.cursor
                found = self._store.storage.alert_rules()
                ids = {rule.id for rule in found}
                late = time.monotonic() - swept >= self._sweep
                everything = changes.reset or late or bool(ids - known)
                known = ids
                if found and (everything or changes.runs):
                    changed = None if everything else changes.runs
                    if rules.evaluate_all(self._store, found, changed):
                        self._wake.set()
                    swept = time.monotonic() if everything else swept
            except RunbaseError as error:
                _LOG.warning("rules could not be evaluated: %s", error)
                cursor = None
            self._stopped.wait(WAIT)

    def _deliver(self) -> None:
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="runbase-send") as pool:
            while not self._stopped.is_set():
                try:
                    due = self._store.storage.due_deliveries()
                except RunbaseError as error:
                    _LOG.warning("deliveries could not be read: %s", error)
                    due = []
                list(pool.map(self._attempt, due))
                if not due:
                    self._wake.wait(WAIT)
                    self._wake.clear()

    def _attempt(self, delivery: DueDelivery) -> None:
        """Try a delivery, unless another process does."""
        storage, place = self._store.storage, targets.redacted(delivery.target)
        if self._stopped.is_set():
            return
        try:
            claim = storage.claim_delivery(delivery.id, self._lease)
            if claim is None:
                return
            try:
                self._sender.send(delivery.target, delivery.alert, delivery.id, delivery.secret)
            except NotDelivered as error:
                self._failed(delivery, claim, str(error))
                return
            except Exception as error:
                _LOG.exception("a delivery to %s failed", place)
                self._failed(delivery, claim, type(error).__name__)
                return
            storage.end_delivery(delivery.id, claim, "delivered")
            _LOG.info("alert %s was delivered to %s", delivery.alert.id, place)
        except (
            RunbaseError
        ) as error:  # the database; the lease expires, and the attempt is repeated
            _LOG.warning("a delivery to %s could not be recorded: %s", place, error)

    def _failed(self, delivery: DueDelivery, claim: str, error: str) -> None:
        now = time.time()
        pause = min(self._first * 2.0 ** min(delivery.attempts, 20), LONGEST)
        late = now + pause > delivery.created_at.timestamp() + GIVE_UP
        status = "failed" if late else "waiting"
        storage = self._store.storage
        storage.end_delivery(delivery.id, claim, status, error, None if late else now + pause)
        place = targets.redacted(delivery.target)
        _LOG.warning("alert %s was not delivered to %s: %s", delivery.alert.id, place, error)
