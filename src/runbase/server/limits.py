"""How much one caller may do at once: further requests get 429, and are tried again later."""

import threading
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from litestar.exceptions import TooManyRequestsException

QUERIES = 4
"""Queries of the SQL console that one caller may run at once."""
STREAMS = 20
"""Streams of changes that one caller may hold open."""


class Slots:
    """Counts what each caller does at the moment.

    Args:
        most: how many at once.
        what: what is counted, for the message.
    """

    def __init__(self, most: int, what: str) -> None:
        self._most, self._what = most, what
        self._used: Counter[str] = Counter()
        self._guard = threading.Lock()

    def check(self, caller: str) -> None:
        """Raise TooManyRequestsException if the caller has no slot left."""
        if self._used[caller] >= self._most:
            raise TooManyRequestsException(
                f"{caller} has {self._most} {self._what} already; try again when one has ended"
            )

    @contextmanager
    def taken(self, caller: str) -> Generator[None]:
        """Take a slot during a block.

        Raises:
            TooManyRequestsException: the caller has none left.
        """
        with self._guard:
            self.check(caller)
            self._used[caller] += 1
        try:
            yield
        finally:
            with self._guard:
                self._used[caller] -= 1
                if not self._used[caller]:
                    del self._used[caller]


queries = Slots(QUERIES, "queries running")
streams = Slots(STREAMS, "streams open")
