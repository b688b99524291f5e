"""Packed journals: complete journals compressed with gzip. They are read like plain ones; only seeking is slower."""

import errno
import gzip
import os
import stat
import threading
import zlib
from pathlib import Path
from typing import BinaryIO, cast

SUFFIX = ".gz"
LARGEST = 2**32 - 1
"""Largest journal that is packed, in bytes: gzip cannot record a greater length (RFC 1952, ISIZE)."""


def is_packed(path: Path) -> bool:
    """Return whether a journal is packed."""
    return path.suffix == SUFFIX


def open_lines(path: Path) -> BinaryIO:
    """Open a journal for reading its lines, as they were written.

    Raises:
        OSError: the journal cannot be read, or is not a regular file (opening a pipe would block).
    """
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    file = os.fdopen(fd, "rb")
    return cast("BinaryIO", _Unpacked(file)) if is_packed(path) else file


class _Unpacked(gzip.GzipFile):
    """The lines of a packed journal; closing it closes the underlying file."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(fileobj=file, mode="rb")
        self._below = file

    def close(self) -> None:
        super().close()
        self._below.close()


def size(path: Path) -> int:
    """Return the number of bytes of a journal's lines.

    Raises:
        OSError: the journal cannot be read.
    """
    if not is_packed(path):
        return path.stat().st_size
    if not path.is_file():
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    with path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        return int.from_bytes(file.read(4), "little")


def last_line(path: Path) -> bytes:
    """Return the last complete line of a journal, of any length; empty if there is none."""
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
    """Replace a plain journal by a packed one; returns how many bytes this saves.

    If it is interrupted at any time, a complete journal remains; if both exist, the plain one counts.

    Raises:
        OSError: the packed journal cannot be written, or does not read back unchanged.
    """
    before = path.stat()
    # Two threads or processes may pack one journal at once: each writes a file of its own, and both are complete.
    half = path.with_name(f".{path.name}{SUFFIX}.{os.getpid()}-{threading.get_ident()}.half")
    try:
        with path.open("rb") as lines, half.open("wb") as target:
            with gzip.GzipFile(
                filename="", mode="wb", compresslevel=6, fileobj=target, mtime=before.st_mtime
            ) as packed:
                while piece := lines.read(2**20):
                    packed.write(piece)
            target.flush()
            os.fsync(target.fileno())
        _check_same(path, half)
        os.utime(half, ns=(before.st_atime_ns, before.st_mtime_ns))
        whole = path.with_name(f"{path.name}{SUFFIX}")
        half.replace(whole)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    path.unlink(missing_ok=True)
    return before.st_size - whole.stat().st_size


def _check_same(path: Path, half: Path) -> None:
    if _sum(path) != _sum(half):
        raise OSError(f"{path} does not read back from its packed form")


def _sum(path: Path) -> tuple[int, int]:
    """Return the length and the Adler-32 of a journal's lines."""
    check, length = 1, 0
    with gzip.open(path, "rb") if path.name.endswith(".half") else path.open("rb") as file:
        while piece := file.read(2**20):
            check, length = zlib.adler32(piece, check), length + len(piece)
    return length, check
