"""Writes one journal: one process, one file, one `write(2)` an event.

What an append returned from is in the kernel's page cache and survives the death of the process.
Never raises for the environment's sake: what a full disk refuses is kept in memory (up to a bound),
tried again by `retry`, and written in its order. A file that was deleted, replaced or cut short
under the writer is restored, or gone on with in another one (`check`). Never writes to a file that
another process opened: after a fork the child goes on in a file of its own.
"""

import errno
import os
import threading
import time
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from zlib import adler32

from runbase.errors import HomeError, RunFinished
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

LARGEST_BACKLOG = 64 * 2**20
"""How many bytes a journal keeps in memory while its disk refuses them."""

_TRIES = 100
"""How often a line is written anew that the system cuts short."""
_IN_FLIGHT = 0.05
"""Seconds within which a write that has begun is over, mostly; `_take_along` sees to the others."""
_MARK = 64
"""Bytes at the end of a journal by which it is known again."""

_write = os.write
_now = time.time


class JournalWriter:
    """Appends events to one journal file of a run's folder; made to be called from any thread.

    `opened` makes the first line for this process; it is asked again in a child after a fork.
    """

    def __init__(self, folder: Path, opened: Callable[[], Opened]) -> None:
        self.folder = folder
        self._opened = opened
        self._guard = (
            threading.RLock()
        )  # re-entrant: a signal handler may end the run inside a call
        self._backlog: deque[bytes] = deque()
        self._backlog_bytes = 0
        self._dropped = 0
        self._warned = False
        self._closed = False
        self._fd = -1
        """Where appends go; -1 sends every append the long way round, where it is asked why."""
        self._file = -1
        self._pid = os.getpid()
        self._left_behind: tuple[int, int] | None = None
        self._checked_size, self._checked_end, self._checked_at = 0, b"", 0.0
        self.path = self._create()
        _writers.add(self)

    def append_finite(
        self, step: Scalar, values: Mapping[str, Scalar], progress: float | None = None
    ) -> None:
        """One log call of int and float values that are all finite, now. The hot path."""
        # `format.encode_points` and `format.sealed`, written out: training pays for each call.
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
        """One log call of any plain numbers, `at` seconds since the epoch (now if None)."""
        self._append_slowly(
            encode_points(tag, step, _now() if at is None else at, values, progress)
        )

    def append(self, event: JournalEvent) -> None:
        """Any other event."""
        self._append_slowly(encode_event(event))

    @property
    def waiting(self) -> int:
        """How many lines the disk has not taken yet."""
        return len(self._backlog)

    @property
    def dropped(self) -> int:
        """How many lines were lost because the disk stayed full and the memory bound was reached."""
        return self._dropped

    def retry(self) -> bool:
        """Write what the disk refused before; True when nothing is left waiting."""
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
            if not self._closed and self._file >= 0 and self._pid == os.getpid():
                self._fd = self._file
            return not self._backlog

    def check(self, wanted: Callable[[], bool] = lambda: True) -> str | None:
        """See whether the file is still the one that is written to; what had happened to it where not.

        One that was deleted or replaced is written anew, with all that it held, under the next free
        name. Of one that was cut short, what was logged since goes into a journal of its own; what was
        cut off is in the database as far as that had taken it in. `wanted` is asked before: a run that
        was purged is not brought back. Called about once a second; warns.
        """
        if self._file < 0 or self._closed or self._pid != os.getpid():
            return None
        self._take_along()
        try:
            ours = os.fstat(self._file)
            there = None
            with suppress(FileNotFoundError):
                there = self.path.stat()
            end = os.pread(self._file, _MARK, max(self._checked_size - _MARK, 0))
        except OSError:
            return None  # a network file system that is away for a moment
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
        _warn(f"the journal {path} was {damage} while its run goes on; it goes on in {self.path}")
        return damage

    def _note_size(self) -> None:
        """Remember how long the file is, and how it ends, to know it again."""
        with suppress(OSError):
            size = os.fstat(self._file).st_size
            self._checked_end = os.pread(self._file, min(_MARK, size), max(size - _MARK, 0))
            self._checked_size, self._checked_at = size, _now()

    def _write_anew(self) -> None:
        """Continue in a new file that begins with all that the present one holds."""
        path, new = self._make_file()
        try:
            place = _copy(self._file, 0, new)
            with self._guard:
                self._fd = -1  # from here on others wait for this
                time.sleep(_IN_FLIGHT)
                place = _copy(self._file, place, new)
                self._switch(path, new, place)
        except BaseException:
            os.close(new)
            path.unlink(missing_ok=True)
            self.retry()
            raise

    def _part(self, since: float) -> None:
        """Continue in a new journal with the lines that are later than `since`; the old one keeps the others."""
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
        """Write to another file; what a slow thread still writes to the old one, behind `place`, is taken along later."""
        self._left_behind = (self._file, place)
        self.path, self._file = path, new
        self._fd = -1 if self._backlog else new
        self._note_size()
        self.sync()

    def _take_along(self) -> None:
        """Lines that a thread wrote to the file before the present one, after it was left."""
        if self._left_behind is None:
            return
        (old, place), self._left_behind = self._left_behind, None
        with self._guard, suppress(OSError):
            _copy(old, place, self._file)
        _retire(old)

    def sync(self) -> None:
        """Ask the disk to keep what was written; what a power cut leaves is what this reached."""
        try:
            os.fsync(self._file)
        except (OSError, ValueError):
            pass  # closed meanwhile, or a file system without fsync: the page cache still has it

    def close(self, last: JournalEvent | None = None) -> None:
        """Write the last event and let go of the file. A second close does nothing."""
        with self._guard:
            if self._closed:
                return
            if self._pid == os.getpid():
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
                _warn(
                    f"{self._dropped} lines of {self.path} could not be written: the disk is full"
                )

    def _create(self) -> Path:
        path, self._file = self._make_file()
        self._fd = self._file
        self._checked_size, self._checked_end, self._checked_at = 0, b"", _now()
        self._append_slowly(encode_event(self._opened()))
        self.sync()
        return path

    def _make_file(self) -> tuple[Path, int]:
        """A new file under the first name that is free, and its descriptor."""
        number = 0
        while True:
            name = NAME if number == 0 else f"journal.{number}.jsonl"
            path = self.folder / name
            if path.with_name(f"{name}{SUFFIX}").exists():  # an earlier process's, packed since
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
        """Write a line, or keep it until that is possible.

        A write that was cut short is begun anew on a line of its own: another thread may have written
        behind the half, and readers find a whole line behind half of another one.
        """
        with self._guard:
            if self._closed:
                raise RunFinished(
                    "this run has finished and takes nothing more; to go on with it, use "
                    "runbase.start_run(…, resume=run.id)"
                )
            if self._pid != os.getpid():
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
        self._pid = os.getpid()
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
            _warn(
                f"cannot write {self.folder / NAME}: {error.strerror}; training goes on, up to "
                f"{LARGEST_BACKLOG // 2**20} MiB are kept in memory and tried again"
            )

    def _forget_after_fork(self) -> None:
        # The file belongs to the parent: the child's first append finds -1 and opens its own.
        self._guard = threading.RLock()
        if self._file >= 0 and not self._closed:
            os.close(self._file)
        self._file = self._fd = -1
        self._left_behind = None


def _copy(source: int, place: int, target: int) -> int:
    """Append what a file holds from a place on to another; where it ends."""
    while piece := os.pread(source, 2**20, place):
        place += len(piece)
        _write_all(target, piece)
    return place


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[_write(fd, data) :]


_retired: deque[tuple[float, int]] = deque()


def _retire(fd: int) -> None:
    """Close a file a moment later: another thread may be inside its last append, and the number of
    a closed file is soon that of another one.
    """
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


def _warn(message: str) -> None:
    warnings.warn(f"runbase: {message}", RuntimeWarning, stacklevel=4)
