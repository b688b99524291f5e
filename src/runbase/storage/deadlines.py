"""How long a call may wait for a database: less than its driver's own timeout where the caller says so."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_deadline: ContextVar[float | None] = ContextVar("runbase_deadline", default=None)


@contextmanager
def until(deadline: float | None) -> Generator[None]:
    """Within this block, wait for no lock and no connection past a moment of `time.monotonic`."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def patience(timeout: float) -> float:
    """Seconds to wait at most: `timeout`, or what is left until the deadline."""
    deadline = _deadline.get()
    return timeout if deadline is None else max(min(timeout, deadline - time.monotonic()), 0.0)
