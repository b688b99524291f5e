"""Write one journal: one process, one file, one `write(2)` per event.

When an append returns, its data is in the kernel's page cache and survives the end of the process. Errors of the environment
are never raised: data that a full disk refuses is kept in memory (up to a limit), and written later, in order, by `retry`.
If the file is deleted, replaced or truncated by another process, it is restored, or continued in another file (`check`).
The writer never writes to a file that another process opened: after a fork, the child opens a file of its own.
"""

import errno
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from zlib import adler32

from runbase.errors import HomeError, RunFinished, warn
from runbase.events import Closed, JournalEvent, Opened, Scalar
from runbase.journal.format import (
    NAME,
    VOID,
    encode,
    encode_event,
    encode_points,
    split_by_time,
)
from runbase.journal.packed import SUFFIX
from runbase.processes import Owner

LARGEST_BACKLOG = 64 * 2**20
"""Bytes that a journal keeps in memory while the disk refuses them."""

_TRIES = 100
"""How often a line is written again that the system cuts short."""
_IN_FLIGHT = 0.05
"""Seconds within which most pending writes finish; `_take_along` handles the others."""
_MARK = 64
"""Bytes at the end of a journal that are compared to detect whether it was changed."""

_write = os.write
_now = time.time


class JournalWriter:
    """Appends events to a journal file in a run's folder; may be called from any thread.

    `opened` creates the first line for this process; it is called again in a child process after a fork.
    """

    def __init__(self, folder: Path, opened: Callable[[], Opened]) -> None:
        self.folder = folder
        self._opened = opened
        self._guard = (
            threading.RLock()
        )  # re-entrant: a signal handler may end the run during a call
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._dropped = 0
        self._warned = False
        self._closed = False
        self._fd = -1
        """Descriptor of the file; -1 makes every append use `_append_slowly`, which finds out the reason."""
        self._file = -1
        self._owner = Owner()
        self._left_behind: tuple[int, int] | None = None
        self._checked_size, self._checked_end, self._checked_at = 0, b"", 0.0
        self.path = self._create()
        _writers.add(self)

    def append_finite(
        self, step: Scalar, values: Mapping[str, Scalar], progress: float | None = None
    ) -> None:
        """Append one log call of finite int and float values, with the current time. This is the hot path."""
        # `format.encode_points` and `format.sealed`, inlined: each call costs training time.
        if progress is None:
            line = encode(("m", step, _now(), values))
        else:
            line = encode(("m", step, _now(), values, progress))
        line = b"%b,%d]\n" % (line[:-1], adler32(line))
        try:
            written = _write(self._fd, line)
            if written == len(line):
                return
        except OSError:
            written = 0
        self._append_slowly(line if written == 0 else VOID + line)

    def append_points(
        self,
        tag: str,
        step: Scalar,
        values: Mapping[str, Scalar],
        progress: float | None = None,
        at: float | None = None,
    ) -> None:
        """Append one log call of any plain numbers, at the time `at` (seconds since the epoch; None: now)."""
        self._append_slowly(
            encode_points(tag, step, _now() if at is None else at, values, progress)
        )

    def append(self, event: JournalEvent) -> None:
        """Append any other event."""
        self._append_slowly(encode_event(event))

    @property
    def waiting(self) -> int:
        """The number of lines that the disk has not accepted yet."""
        return len(self._backlog)

    @property
    def dropped(self) -> int:
        """The number of lines that were lost because the disk stayed full and the memory limit was reached."""
        return self._dropped

    def retry(self) -> bool:
        """Write what the disk refused before; returns True if nothing is left."""
        with self._guard:
            while self._backlog and self._file >= 0:
                line = self._backlog[0]
                try:
                    written = _write(self._file, line)
                except OSError:
                    return False
                if written < len(line):
                    if written and not line.startswith(VOID):
                        self._backlog[0] = VOID + line
                        self._backlog_bytes += len(VOID)
                    return False
                self._backlog_bytes -= len(line)
                self._backlog.popleft()
            if not self._closed and self._file >= 0 and self._owner.here:
                self._fd = self._file
            return not self._backlog

    def check(self, wanted: Callable[[], bool] = lambda: True) -> str | None:
        """Check that the file was not deleted, replaced or truncated; returns what happened to it, or None.

        A deleted or replaced file is written again, with all its content, under the next free name. After a truncation, later
        lines go to a new journal; what was cut off is in the database as far as it had been ingested. `wanted` is called before:
        a run that was purged is not restored. This method is called about once a second, and logs warnings.
        """
        if self._file < 0 or self._closed or not self._owner.here:
            return None
        self._take_along()
        try:
            ours = os.fstat(self._file)
            there = None
            with suppress(FileNotFoundError):
                there = self.path.stat()
            end = os.pread(self._file, _MARK, max(self._checked_size - _MARK, 0))
        except OSError:
            return None  # the network file system is temporarily unavailable
        damage = None
        if there is None or (there.st_ino, there.st_dev) != (ours.st_ino, ours.st_dev):
            damage = "deleted" if there is None else "replaced"
        elif ours.st_size < self._checked_size or not end.startswith(self._checked_end):
            damage = "cut short"
        since = self._checked_at
        self._note_size()
        if damage is None or not wanted():
            return None
        path = self.path
        try:
            if damage == "cut short":
                self._part(since)
            else:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._write_anew()
        except OSError as error:
            self._warn_once(error)
            return None
        warn(f"the journal {path} was {damage} during the run; the run continues in {self.path}")
        return damage

    def _note_size(self) -> None:
        """Record the file's length and its last bytes, to recognise it later."""
        with suppress(OSError):
            size = os.fstat(self._file).st_size
            self._checked_end = os.pread(self._file, min(_MARK, size), max(size - _MARK, 0))
            self._checked_size, self._checked_at = size, _now()

    def _write_anew(self) -> None:
        """Continue in a new file that begins with the content of the current one."""
        path, new = self._make_file()
        try:
            place = _copy(self._file, 0, new)
            with self._guard:
                self._fd = -1  # from here on, other threads wait for this one
                time.sleep(_IN_FLIGHT)
                place = _copy(self._file, place, new)
                self._switch(path, new, place)
        except BaseException:
            os.close(new)
            path.unlink(missing_ok=True)
            self.retry()
            raise

    def _part(self, since: float) -> None:
        """Continue in a new journal with the lines later than `since`; the old one keeps the others."""
        with self._guard:
            self._fd = -1
            time.sleep(_IN_FLIGHT)
            old, old_path, content, place = self._file, self.path, b"", 0
            while piece := os.pread(old, 2**20, place):
                place += len(piece)
                content += piece
            kept, later = split_by_time(content, since)
            path, new = self._make_file()
            try:
                _write_all(new, encode_event(self._opened()) + later)
                os.ftruncate(old, kept)
                if not kept:
                    old_path.unlink()
                self._switch(path, new, kept)
            except BaseException:
                os.close(new)
                path.unlink(missing_ok=True)
                self.retry()
                raise

    def _switch(self, path: Path, new: int, place: int) -> None:
        """Switch to another file; `_take_along` later copies what a slow thread still writes to the old one after `place`."""
        self._left_behind = (self._file, place)
        self.path, self._file = path, new
        self._fd = -1 if self._backlog else new
        self._note_size()
        self.sync()

    def _take_along(self) -> None:
        """Copy lines that a thread wrote to the previous file after the switch."""
        if self._left_behind is None:
            return
        (old, place), self._left_behind = self._left_behind, None
        with self._guard, suppress(OSError):
            _copy(old, place, self._file)
        _retire(old)

    def sync(self) -> None:
        """Flush the file to the disk; after a power failure, everything up to this point is kept."""
        try:
            os.fsync(self._file)
        except (OSError, ValueError):
            pass  # closed meanwhile, or a file system without fsync: the data is still in the page cache

    def close(self, last: JournalEvent | None = None) -> None:
        """Write the last event and close the file. A second call does nothing."""
        with self._guard:
            if self._closed:
                return
            if self._owner.here:
                self._take_along()
                self.append(last if last is not None else Closed(time=_now()))
                self.retry()
                self.sync()
            self._closed = True
            self._fd = -1
            if self._file >= 0:
                _retire(self._file)
                self._file = -1
            if self._backlog:
                self._dropped += len(self._backlog)
                warn(f"{self._dropped} lines of {self.path} could not be written: the disk is full")

    def _create(self) -> Path:
        path, self._file = self._make_file()
        self._fd = self._file
        self._checked_size, self._checked_end, self._checked_at = 0, b"", _now()
        self._append_slowly(encode_event(self._opened()))
        self.sync()
        return path

    def _make_file(self) -> tuple[Path, int]:
        """Create a file under the first free name; returns it and its descriptor."""
        number = 0
        while True:
            name = NAME if number == 0 else f"journal.{number}.jsonl"
            path = self.folder / name
            if path.with_name(
                f"{name}{SUFFIX}"
            ).exists():  # the packed journal of an earlier process
                number += 1
                continue
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
            try:
                file = os.open(path, flags, 0o666)
            except FileExistsError:
                number += 1
                continue
            except OSError as error:
                raise HomeError(
                    f"cannot write a journal in {self.folder}: {error.strerror}; choose another "
                    "folder with home=… or RUNBASE_HOME"
                ) from error
            return path, file

    def _append_slowly(self, line: bytes) -> None:
        """Write a line, or keep it until it can be written.

        A write that was cut short is repeated on a new line: another thread may have written after the partial line, and readers
        find a complete line that follows a partial one.
        """
        with self._guard:
            if self._closed:
                raise RunFinished(
                    "this run has finished; to continue it, use runbase.start_run(…, resume=run.id)"
                )
            if not self._owner.here:
                self._reopen_in_child()
            if self._backlog and not self.retry():
                self._keep(line)
                return
            error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            for _ in range(_TRIES):
                try:
                    if _write(self._file, line) == len(line):
                        return
                except OSError as refused:
                    error = refused
                    break
                line = line if line.startswith(VOID) else VOID + line
            self._fd = -1
            self._keep(line)
            self._warn_once(error)

    def _reopen_in_child(self) -> None:
        self._owner.adopt()
        self._backlog.clear()
        self._backlog_bytes = 0
        self.path = self._create()

    def _keep(self, line: bytes) -> None:
        if self._backlog_bytes + len(line) > LARGEST_BACKLOG:
            self._dropped += 1
            return
        self._backlog.append(line)
        self._backlog_bytes += len(line)

    def _warn_once(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            warn(
                f"cannot write {self.folder / NAME}: {error.strerror}; training continues; up to "
                f"{LARGEST_BACKLOG // 2**20} MiB are kept in memory and written later"
            )

    def _forget_after_fork(self) -> None:
        # The file belongs to the parent: the child's first append finds -1 and opens a file of its own.
        self._guard = threading.RLock()
        if self._file >= 0 and not self._closed:
            os.close(self._file)
        self._file = self._fd = -1
        self._left_behind = None


def _copy(source: int, place: int, target: int) -> int:
    """Append the content of a file from a position to another; returns where it ends."""
    while piece := os.pread(source, 2**20, place):
        place += len(piece)
        _write_all(target, piece)
    return place


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[_write(fd, data) :]


_retired: deque[tuple[float, int]] = deque()


def _retire(fd: int) -> None:
    """Close a file a moment later: another thread may be in its last append, and the descriptor of a closed file is reused."""
    now = time.monotonic()
    _retired.append((now, fd))
    while _retired and now - _retired[0][0] > 1.0:
        os.close(_retired.popleft()[1])


_writers: "weakref.WeakSet[JournalWriter]" = weakref.WeakSet()


def _forget_all_after_fork() -> None:
    for writer in list(_writers):
        writer._forget_after_fork()  # pyright: ignore[reportPrivateUsage]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all_after_fork)
