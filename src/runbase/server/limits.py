"""How much one caller may do at once: further requests get 429, and are tried again later."""

import math
import threading
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager

from litestar.exceptions import TooManyRequestsException

QUERIES = 4
"""Queries of the SQL console that one caller may run at once."""
STREAMS = 20
"""Streams of changes that one caller may hold open."""
WRONG_PASSWORDS = 5
"""Wrong passwords that one address may send in a minute."""
ADDRESSES = 10_000
"""Addresses whose wrong passwords are counted."""


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


class Attempts:
    """Counts the wrong passwords of each address. Each server process counts for itself.

    Args:
        most: how many an address may send in `seconds`.
        seconds: how long each counts.
    """

    def __init__(self, most: int = WRONG_PASSWORDS, seconds: float = 60.0) -> None:
        self._most, self._seconds = most, seconds
        self._times: dict[str, list[float]] = {}

    def check(self, address: str) -> None:
        """Raise TooManyRequestsException if an address sent too many."""
        now = time.monotonic()
        recent = [at for at in self._times.get(address, ()) if now - at < self._seconds]
        if not recent:
            self._times.pop(address, None)
        if len(recent) >= self._most:
            wait = math.ceil(recent[-self._most] + self._seconds - now)
            raise TooManyRequestsException(
                f"{len(recent)} wrong passwords came from {address}; try again in {wait} seconds",
                headers={"Retry-After": str(wait)},
            )

    def add(self, address: str) -> None:
        """Count a wrong password."""
        if len(self._times) > ADDRESSES:
            oldest = min(self._times, key=lambda each: self._times[each][-1])
            del self._times[oldest]
        self._times[address] = [*self._times.get(address, ()), time.monotonic()][-self._most :]


queries = Slots(QUERIES, "queries running")
streams = Slots(STREAMS, "streams open")
