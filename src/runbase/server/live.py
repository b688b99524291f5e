"""What changed, as it happens: one thread follows the store's changes for all clients."""

import asyncio
import logging
import threading
import time
from collections.abc import AsyncGenerator

from runbase.errors import RunbaseError, UsageError
from runbase.storage.types import Changes
from runbase.store.store import Store

_LOG = logging.getLogger(__name__)
WAIT = 1.0
"""Seconds for which one look at the store waits for a change."""
MOST_WAITING = 1000
"""Changes that a slow client may be behind before it is told to read everything again."""
KEEP_ALIVE = 15.0
"""Seconds between two events of an idle connection."""
Waiting = tuple[asyncio.AbstractEventLoop, "asyncio.Queue[Changes]"]


class LiveHub:
    """Follows `Store.changes` while a client listens, and passes each change to all of them.

    Args:
        store: the store.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._guard = threading.Lock()
        self._waiting: list[Waiting] = []
        self._thread: threading.Thread | None = None
        self._stopped = False

    @property
    def clients(self) -> int:
        """How many clients listen."""
        return len(self._waiting)

    def stop(self) -> None:
        """End the thread, and the streams of all clients."""
        self._stopped = True
        with self._guard:
            for loop, queue in self._waiting:
                loop.call_soon_threadsafe(_put, queue, Changes([], [], ""))

    async def listen(self, since: str | None) -> AsyncGenerator[Changes | None]:
        """Yield changes since a cursor as they happen, and None when nothing happened for a while.

        Args:
            since: the cursor of an earlier change; None: from now on.
        """
        queue: asyncio.Queue[Changes] = asyncio.Queue(MOST_WAITING)
        place = (asyncio.get_running_loop(), queue)
        with self._guard:  # before the first look, so that no change falls in between
            self._waiting.append(place)
        try:
            missed = await asyncio.to_thread(self._since, since)
            self._follow_from(missed.cursor)
            yield missed
            while not self._stopped:
                try:
                    changes = await asyncio.wait_for(queue.get(), KEEP_ALIVE)
                except TimeoutError:
                    changes = None
                if not self._stopped:
                    yield changes
        finally:
            with self._guard:
                self._waiting.remove(place)

    def _since(self, cursor: str | None) -> Changes:
        try:
            return self._store.changes(cursor)
        except UsageError:  # a cursor of another database, or of an older version
            return self._store.changes(None)

    def _follow_from(self, cursor: str) -> None:
        with self._guard:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._follow, args=(cursor,), name="runbase-live", daemon=True
                )
                self._thread.start()

    def _follow(self, cursor: str) -> None:
        while not self._stopped:
            with self._guard:
                if not self._waiting:
                    self._thread = None
                    return
            try:
                changes = self._store.changes(cursor, wait=WAIT)
            except RunbaseError as error:
                _LOG.warning("changes could not be read: %s", error)
                time.sleep(WAIT)
                continue
            cursor = changes.cursor
            if changes:
                with self._guard:
                    for loop, queue in self._waiting:
                        loop.call_soon_threadsafe(_put, queue, changes)


def _put(queue: "asyncio.Queue[Changes]", changes: Changes) -> None:
    """Add changes to a client's queue; one that is full is replaced by the advice to read everything again."""
    try:
        queue.put_nowait(changes)
    except asyncio.QueueFull:
        while not queue.empty():
            queue.get_nowait()
        queue.put_nowait(Changes([], [], changes.cursor, reset=True))
