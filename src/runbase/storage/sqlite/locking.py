"""The lock file next to a SQLite database, for which writers queue.

SQLite's own busy wait can starve writers; the kernel queues waiters for a lock file.
"""

import errno
import logging
import os
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from runbase.errors import StoreBusy, StoreUnavailable
from runbase.storage.deadlines import patience

try:
    import fcntl
except ImportError:  # Windows has no flock; SQLite's own wait is used there
    fcntl = None  # type: ignore[assignment]

_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EINTR)
"""Errors of a lock call if another process holds the lock."""


_LONG = 1.0
"""Waits for a lock of at least this many seconds are logged."""
_LOG = logging.getLogger(__name__)


@contextmanager
def lock_file(path: Path | None, timeout: float) -> Generator[None]:
    """Hold the lock of a database while the block runs.

    Args:
        path: the database; None: it is in memory and needs no lock.
        timeout: seconds to wait for it.

    Raises:
        StoreBusy: other processes held it for so long.
        StoreUnavailable: the lock file cannot be created or locked there.
    """
    if path is None or fcntl is None:
        yield
        return
    try:
        fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise StoreUnavailable(f"cannot write next to {path}: {error.strerror}") from error
    try:
        _wait_for(fd, patience(timeout))
        yield
    finally:
        os.close(fd)


def _wait_for(fd: int, timeout: float) -> None:
    """Wait for the lock by polling, because the kernel's own wait has no timeout."""
    assert fcntl is not None
    began = time.monotonic()
    deadline = began + timeout
    pause = 0.0005
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if time.monotonic() - began > _LONG:
                _LOG.info("waited %.1f s for the lock of the database", time.monotonic() - began)
            return
        except OSError as error:
            if error.errno not in _HELD:
                raise StoreUnavailable(
                    f"files cannot be locked there ({error.strerror}): put the database on a local disk"
                ) from error
            if time.monotonic() > deadline:
                raise StoreBusy(
                    f"other processes have kept the database busy for {timeout:.0f} s"
                ) from None
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)
