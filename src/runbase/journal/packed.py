"""Journals that nobody writes to any more, packed with gzip: read as the plain ones, only slower to enter in the middle."""

import errno
import gzip
import os
import stat
import zlib
from pathlib import Path
from typing import BinaryIO, cast

SUFFIX = ".gz"
LARGEST = 2**32 - 1
"""Bytes of a journal that is packed: gzip notes no greater length (RFC 1952, ISIZE)."""


def is_packed(path: Path) -> bool:
    """Whether a journal is a packed one."""
    return path.suffix == SUFFIX


def open_lines(path: Path) -> BinaryIO:
    """A journal's lines, as they were written.

    Raises OSError where they cannot be read, also for what is not a regular file: a pipe of that name
    would be waited for without end.
    """
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    file = os.fdopen(fd, "rb")
    return cast("BinaryIO", _Unpacked(file)) if is_packed(path) else file


class _Unpacked(gzip.GzipFile):
    """The lines of a packed journal; closes the file below it."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._below = file

    def close(self) -> None:
        super().close()
        self._below.close()


def size(path: Path) -> int:
    """How many bytes its lines have. Raises OSError."""
    if not is_packed(path):
        return path.stat().st_size
    if not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    with path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        return int.from_bytes(file.read(4), "little")


def last_line(path: Path) -> bytes:
    """The last whole line of a journal, however long it is; empty where there is none."""
    count = 2**12
    with open_lines(path) as file:
        end = size(path)
        while True:
            file.seek(max(end - count, 0))
            data = file.read()
            data = data[: data.rfind(b"\n") + 1]
            start = data.rfind(b"\n", 0, -1) + 1
            if start or count >= end:
                return data[start:]
            count *= 8


def pack(path: Path) -> int:
    """Put a packed journal in a plain one's place; how many bytes that saves.

    Whatever moment it is stopped at, one of the two is there and whole; where both are, the plain one counts. Raises
    OSError where it cannot be written, or does not read back as it was.
    """
    before = path.stat()
    half = path.with_name(f".{path.name}{SUFFIX}.half")
    with path.open("rb") as lines, half.open("wb") as target:
        with gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=before.st_mtime) as packed:
            while piece := lines.read(2**20):
                packed.write(piece)
        target.flush()
        os.fsync(target.fileno())
    if _sum(path) != _sum(half):
        half.unlink()
        raise OSError(f"{path} does not read back from its packed form")
    os.utime(half, ns=(before.st_atime_ns, before.st_mtime_ns))
    whole = path.with_name(f"{path.name}{SUFFIX}")
    half.replace(whole)
    path.unlink()
    return before.st_size - whole.stat().st_size


def _sum(path: Path) -> tuple[int, int]:
    """Length and Adler-32 of its lines."""
    check, length = 1, 0
    with gzip.open(path, "rb") if path.name.endswith(".half") else path.open("rb") as file:
        while piece := file.read(2**20):
            check, length = zlib.adler32(piece, check), length + len(piece)
    return length, check
