"""Read complete lines of a journal in batches, from an offset. Never writes, and never raises for damaged lines.

A last line without a line end is not an event yet. A damaged line in the middle, or an event that no database can store, is
skipped and counted as a `Problem` with its file, offset and beginning.
"""

import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from gzip import BadGzipFile
from pathlib import Path

from msgspec import Struct

from runbase.events import JournalEvent, Opened, Points, Problem
from runbase.journal.format import (
    VERSION,
    VOID,
    MetricLine,
    PointLine,
    TelemetryLine,
    behind_half,
    checked,
    columns,
    decode_event,
    decode_points,
    time_of,
)
from runbase.journal.packed import SUFFIX, is_packed, last_line, open_lines
from runbase.journal.validation import mended

BATCH_BYTES = 2**19
LARGEST_LINE = 2**26
"""A longer line (64 MiB) is considered damaged."""

_PACKED_BYTES = 2**24
"""Packed journals are read in larger pieces, because each piece is decompressed from the beginning."""

_FILE = re.compile(r"journal(\.\d+)?\.jsonl(\.gz)?")
_LONGEST_ID = 256
_SHOWN = 100
"""Characters of a line that a problem shows."""


class Batch(Struct, frozen=True):
    """Consecutive lines of a journal as events, and the offset of the next line.

    `events` contains the points as columns, after the other events. `torn` is the number of bytes after the last complete line.
    `lines` counts log calls and events.
    """

    events: list[JournalEvent | Points]
    start: int
    offset: int
    problems: list[Problem]
    torn: int
    lines: int


def files(folder: Path) -> list[Path]:
    """Return the journals of a run folder, that of the first process first; empty if there are none."""
    try:
        names = chosen({entry.name for entry in os.scandir(folder)})
    except OSError:
        return []
    return [folder / name for name in sorted(names, key=lambda name: (len(name), name))]


def chosen(names: Iterable[str]) -> list[str]:
    """Return the journals among the names in a folder; if one is both plain and packed, the plain one."""
    journals = {name for name in names if _FILE.fullmatch(name)}
    return sorted(name for name in journals if name.removesuffix(SUFFIX) not in journals - {name})


def opened(path: Path) -> Opened | None:
    """Return the first line of a journal, which identifies its run; None if it is unreadable or incomplete.

    Numbers that are out of range are replaced (see `validation.mended`).
    """
    try:
        with open_lines(path) as file:
            line = file.readline(LARGEST_LINE)
    except (OSError, EOFError, zlib.error):
        return None
    plain = checked(line[:-1]) if line.endswith(b"\n") else None
    if plain is None:
        return None
    try:
        event = decode_event(plain)
    except (ValueError, RecursionError):
        return None
    if not isinstance(event, Opened) or event.version > VERSION:
        return None
    if not (0 < len(event.run) <= _LONGEST_ID and 0 < len(event.journal) <= _LONGEST_ID):
        return None
    return mended(event, _changed(path))[0]


def last_time(path: Path) -> float:
    """Return the time of a journal's last line, or of its first if that is later; 0 if it is empty."""
    head = opened(path)
    last = time_of(last_line(path)) if head is not None else None
    return max(last or 0.0, 0.0 if head is None else head.time)


def read(path: Path, offset: int = 0, size: int = BATCH_BYTES) -> Batch:
    """Read about `size` bytes of complete lines from `offset`, at least one line."""
    if is_packed(path):
        size = max(size, _PACKED_BYTES)
    try:
        with open_lines(path) as file:
            file.seek(offset)
            data = file.read(size)
            while data and b"\n" not in data and len(data) < LARGEST_LINE:
                more = file.read(size)
                if not more:
                    break
                data += more
    except (EOFError, zlib.error, BadGzipFile) as error:
        return Batch(
            [], offset, offset, [Problem(str(path), offset, f"not as packed: {error}")], 0, 0
        )
    end = data.rfind(b"\n") + 1
    if end == 0 and len(data) >= LARGEST_LINE:
        reason = f"a line of more than {LARGEST_LINE} bytes"
        return Batch([], offset, offset + len(data), [Problem(str(path), offset, reason)], 0, 0)
    return _parse(path, data[:end], offset, len(data) - end)


def batches(path: Path, offset: int = 0, size: int = BATCH_BYTES) -> Iterator[Batch]:
    """Yield batches up to the current end of the file."""
    while True:
        batch = read(path, offset, size)
        if batch.offset == offset:
            return
        yield batch
        offset = batch.offset


def locate(path: Path, start: int, end: int, event: JournalEvent | Points) -> Problem:
    """Find the line of an event that a database refused, between two offsets.

    `event` is an event that `read` returned, or a part of it: fewer calls, keys or values.
    """
    try:
        with open_lines(path) as file:
            file.seek(start)
            data = file.read(end - start)
    except (OSError, EOFError, zlib.error):
        data = b""
    offset = start
    for line in _split(data):
        plain = checked(line[:-1])
        if plain is not None and _tells(plain, event):
            return Problem(str(path), offset, "", _shown(line))
        offset += len(line)
    return Problem(str(path), None, "")


def _tells(line: bytes, event: JournalEvent | Points) -> bool:
    try:
        if isinstance(event, Points) and line[:1] == b"[":
            (point,) = decode_points([line])
            at = (point.step, point.time) == (event.steps[0], event.times[0])
            return at and set(event.keys) <= set(point.values)
        if isinstance(event, Points) or line[:1] == b"[":
            return False
        decoded = decode_event(line)
    except (ValueError, RecursionError):
        return False
    return type(decoded) is type(event) and decoded.time == event.time


def _parse(path: Path, data: bytes, start: int, torn: int) -> Batch:
    events: list[JournalEvent | Points] = []
    problems: list[Problem] = []
    point_lines: list[bytes] = []
    places: list[int] = []
    offset = start
    for line in data.splitlines(keepends=True) if b"\r" not in data else _split(data):
        plain = checked(line[:-1])
        if plain is None and line != VOID:
            whole = behind_half(line)
            what = "the line does not match its checksum"
            reason = what if whole is None else "half a line before a whole one"
            problems.append(Problem(str(path), offset, reason, _shown(line)))
            plain = None if whole is None else checked(whole[:-1])
        if plain is None:
            pass
        elif plain[:1] == b"[":
            point_lines.append(plain)
            places.append(offset)
        else:
            try:
                event = decode_event(plain)
                if isinstance(event, Opened):
                    event, wrong = mended(event, _changed(path))
                    problems += [Problem(str(path), 0, reason, _shown(line)) for reason in wrong]
                events.append(event)
            except (ValueError, RecursionError) as error:
                reason = f"not an event that can be stored: {error}"
                problems.append(Problem(str(path), offset, reason, _shown(line)))
        offset += len(line)
    points = _decode(path, point_lines, places, problems)
    lines = len(events) + len(points)
    metrics = [point for point in points if type(point) is MetricLine]
    telemetry = points if not metrics else [p for p in points if type(p) is TelemetryLine]
    events += columns("metric", metrics)
    events += columns("telemetry", telemetry)
    return Batch(events, start, offset, problems, torn, lines)


def _split(data: bytes) -> list[bytes]:
    # bytes.splitlines also splits at carriage returns, which JSON Lines does not.
    return [line + b"\n" for line in data.split(b"\n")[:-1]]


def _decode(
    path: Path, lines: Sequence[bytes], places: Sequence[int], problems: list[Problem]
) -> list[PointLine]:
    """Decode lines of points, all at once; if that fails, in halves."""
    if not lines:
        return []
    try:
        return decode_points(list(lines))
    except (ValueError, RecursionError) as error:
        if len(lines) == 1:
            reason = f"not a point that can be stored: {error}"
            problems.append(Problem(str(path), places[0], reason, _shown(lines[0])))
            return []
    half = len(lines) // 2
    return [
        *_decode(path, lines[:half], places[:half], problems),
        *_decode(path, lines[half:], places[half:], problems),
    ]


def _shown(line: bytes) -> str:
    return line[:_SHOWN].decode("utf-8", "replace").rstrip("\n")


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
