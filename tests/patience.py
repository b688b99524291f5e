"""How long tests wait for something that is sure to happen."""

import time
from collections.abc import Callable

PATIENCE = 900.0
"""Seconds, on a machine that twenty processes share: a bound for what hangs, and no measure of speed."""


def wait_until(holds: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until something holds; fail if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.02)
