"""SHA-256 of files, computed once per content."""

import hashlib
import os
import threading
import time
from pathlib import Path

SETTLED = 2.0
"""Seconds since the last change of a file after which its hash is kept: some file systems count time in whole seconds."""
MOST = 4096
"""Files whose hashes are kept."""

_Identity = tuple[int, int, int, int, int]
_kept: dict[_Identity, str] = {}
_lock = threading.Lock()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, which is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_once(path: Path) -> str:
    """Return the SHA-256 of a file; it is not read again in this process while its inode, size and times are the same.

    A server answers each piece of a file with it, and a file of 10 GB has thousands of pieces.
    """
    status = path.stat()
    identity = _identity(status)
    with _lock:
        kept = _kept.pop(identity, None)
        if kept is not None:
            _kept[identity] = kept  # the files that were used last are kept
            return kept
    began = time.time()
    found = digest(path)
    settled = began - max(status.st_mtime, status.st_ctime) > SETTLED
    if settled and _identity(path.stat()) == identity:
        with _lock:
            _kept[identity] = found
            while len(_kept) > MOST:
                del _kept[next(iter(_kept))]
    return found


def _identity(status: os.stat_result) -> _Identity:
    """Return what changes if the content of a file does."""
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
    )
