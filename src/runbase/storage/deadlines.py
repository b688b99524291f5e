"""A deadline for calls that wait for a database: shorter than the driver's own timeout."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_deadline: ContextVar[float | None] = ContextVar("runbase_deadline", default=None)


@contextmanager
def until(deadline: float | None) -> Generator[None]:
    """Limit waits for locks and connections inside this block to a time of `time.monotonic`."""
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def patience(timeout: float) -> float:
    """Return the most seconds to wait: `timeout`, or the time until the deadline."""
    deadline = _deadline.get()
    return timeout if deadline is None else max(min(timeout, deadline - time.monotonic()), 0.0)
