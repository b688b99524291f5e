"""Files that are downloaded: kept beside the target while they are incomplete, so that the next attempt continues them."""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from runbase.filesystems import atomic_write

try:
    import fcntl
except ImportError:  # Windows has no flock: each attempt begins again there
    fcntl = None


@contextmanager
def resumable(target: Path, sha256: str | None) -> Generator[Path]:
    """Write a file that others see complete or not at all; an exception or a kill leaves what was written.

    The next attempt for the same content finds that and appends to it. One process at a time does so: another one, and
    content without a hash, gets a new file.

    Args:
        target: the file; its folder is created.
        sha256: the hash of the content that is written.

    Yields:
        A path beside it to append to. It becomes `target` at the end.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    known = sha256 is not None and re.fullmatch(
        "[0-9a-f]{64}", sha256
    )  # a record may have any text
    partial = target.with_name(f".{sha256}.part" if known else ".part")
    handle = _lock(partial) if known else None
    if handle is None:
        with atomic_write(target) as other:
            yield other
        return
    try:
        yield partial
        partial.replace(target)
    finally:
        with suppress(OSError):  # an attempt that got nothing leaves nothing
            if os.fstat(handle).st_size == 0 and partial.exists():
                partial.unlink()
        os.close(handle)


def _lock(path: Path) -> int | None:
    """Open and lock a file, which is created; return None if another process has it, or it cannot be locked."""
    if fcntl is None:
        return None
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), path.stat()):  # else it got its name meanwhile
            return handle
    except OSError:
        pass
    os.close(handle)
    return None
