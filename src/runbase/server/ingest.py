"""Ingests the journals of the server's home while it runs, so that local runs appear as remote ones do."""

import logging
import threading

from runbase.errors import RunbaseError
from runbase.store.store import Store

EVERY = 1.0
"""Seconds between two looks at the home."""
_LOG = logging.getLogger(__name__)


class Ingester:
    """A thread that calls `Store.sync` once a second, or less often if that takes long.

    Args:
        store: the store; without a home, nothing is done.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        if self._store.home is None or self._thread is not None:
            return
        self._stopped.clear()
        self._thread = threading.Thread(target=self._run, name="runbase-server", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it finishes what it is at."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None

    def _run(self) -> None:
        pause = EVERY
        while not self._stopped.wait(pause):
            try:
                report = self._store.sync(patience=5.0)
                pause = max(EVERY, min(4 * report.seconds, 30.0))
            except (RunbaseError, OSError) as error:
                _LOG.warning(
                    "the journals of %s could not be ingested: %s", self._store.home, error
                )
                pause = min(2 * pause, 60.0)
