"""Walks a tree of run folders: which there are, and whether they changed since the last scan.

A folder's stamp is JSON: ``[FOLDER, [NAME, SIZE, CHANGED], …]``, the times of modification in nanoseconds. FOLDER is 0 where
the folder was changed just before it was looked at, so that a later change might have the same time.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from runbase.ingest.folders import Format
from runbase.ingest.readers import folder_formats
from runbase.storage.types import Scanned
from runbase.values import plain_text

_LONGEST_PATH = 2000
"""Bytes of a folder's path that fit into an index of the database."""
_DEEP = 24
"""Folders within folders: a link that leads back would never end otherwise."""
_UNSETTLED = 2_000_000_000
"""Nanoseconds after a folder's change within which another one may have the same time of modification."""

encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode


@cache
def _flat() -> dict[str, Format]:
    """Formats of which no run lies within another one's folder, by name."""
    return {one.NAME: one for one in folder_formats() if not getattr(one, "NESTED", False)}


class Found(Struct, frozen=True):
    """A folder of a format, and the files in it that tell of the run."""

    path: str
    format: Format
    names: list[str]
    stamp: str


def walk(
    root: str, problems: list[str], known: Mapping[str, Scanned], depth: int = _DEEP
) -> Iterator[Found]:
    """Every run folder at and below a folder, by path, without going into those that are one.

    Args:
        root: the folder.
        problems: where it names what cannot be read, and why.
        known: folders of earlier scans, by path: one that has not changed is not listed again.
        depth: how many levels to go down.
    """
    if len(os.fsencode(root)) > _LONGEST_PATH:
        problems.append(f"{plain_text(root[:100])}…: its path has more than {_LONGEST_PATH} bytes")
        return
    earlier = known.get(root)
    if earlier is not None and earlier.format in _flat() and _is_as_before(root, earlier.stamp):
        names = [name for name, _, _ in decode(earlier.stamp)[1:]]
        yield Found(root, _flat()[earlier.format], names, earlier.stamp)
        return
    try:
        with os.scandir(root) as entries:
            here = sorted(entries, key=lambda entry: entry.name)
    except OSError as wrong:
        problems.append(f"{root}: {wrong.strerror}")
        return
    files = {entry.name: entry for entry in here if _is_file(entry)}
    for format in folder_formats():
        names = format.tells(root, set(files))
        if names:
            stamp = _stamp(root, [files[name] for name in names])
            if stamp is not None:
                yield Found(root, format, names, stamp)
            if not getattr(format, "NESTED", False):
                return
            break
    if depth:
        for entry in here:
            if entry.is_dir(follow_symlinks=False):
                yield from walk(entry.path, problems, known, depth - 1)


def same(earlier: str, now: str) -> bool:
    """Whether the files of a folder are as they were."""
    return earlier == now or (bool(earlier) and decode(earlier)[1:] == decode(now)[1:])


def is_settled_since(earlier: str, now: str) -> bool:
    """Whether a folder is as it was, and can be told by its time of modification from now on."""
    return earlier != now and same(earlier, now) and decode(now)[0] > 0


def _is_as_before(path: str, stamp: str) -> bool:
    """Whether nothing was made, removed or changed in a folder, by one look at it and one at each file."""
    if not stamp:
        return False
    folder, *files = decode(stamp)
    try:
        if not folder or os.stat(path).st_mtime_ns != folder:  # noqa: PTH116 - a Path costs more than the look
            return False
        for name, size, changed in files:
            found = os.stat(f"{path}/{name}")  # noqa: PTH116
            if found.st_mtime_ns != changed or found.st_size != size:
                return False
    except OSError:
        return False
    return True


def _is_file(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a regular file: a pipe would be waited for without end."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _stamp(path: str, entries: "Sequence[os.DirEntry[str]]") -> str | None:
    """How a folder and its files look; None where a file has gone meanwhile."""
    try:
        folder = os.stat(path).st_mtime_ns  # noqa: PTH116
        settled = folder < time.time_ns() - _UNSETTLED
        files: list[Any] = [
            (entry.name, found.st_size, found.st_mtime_ns)
            for entry in entries
            for found in [entry.stat()]
        ]
    except OSError:
        return None
    return encode([folder if settled else 0, *files]).decode()
