"""Find run folders in a directory tree, and whether they changed since the last scan.

A folder's stamp is JSON: ``[FOLDER, [NAME, SIZE, CHANGED], …]``, the modification times in nanoseconds. FOLDER is 0 if the
folder was changed just before it was read, so that a later change might have the same time.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import Struct

from runbase.ingest import journal_folders
from runbase.ingest.folders import Format
from runbase.ingest.hydra_config import CONFIG, FOLDER
from runbase.ingest.readers import folder_formats
from runbase.storage.types import Scanned
from runbase.values import plain_text

_LONGEST_PATH = 2000
"""Bytes of a folder's path that fit into an index of the database."""
_DEEP = 24
"""Levels of nested folders. The limit ends a walk through links that form a cycle."""
_UNSETTLED = 2_000_000_000
"""Nanoseconds after a folder's change within which another change may have the same modification time."""

encode, decode = msgspec.json.Encoder().encode, msgspec.json.Decoder().decode


@cache
def _flat() -> dict[str, Format]:
    """Return the formats whose run folders do not contain other run folders, by name."""
    return {
        format_.NAME: format_
        for format_ in folder_formats()
        if not getattr(format_, "NESTED", False)
    }


class Found(Struct, frozen=True):
    """A folder of a format, and the files in it that describe the run."""

    path: str
    format: Format
    names: list[str]
    stamp: str
    config: str | None = None
    """The configuration of the Hydra job in whose folder it is."""


def walk(
    root: str,
    problems: list[str],
    known: Mapping[str, Scanned],
    depth: int = _DEEP,
    config: str | None = None,
) -> Iterator[Found]:
    """Yield every run folder at and below a folder, by path, without descending into run folders.

    Args:
        root: the folder.
        problems: a list to which what cannot be read is added, with reasons.
        known: folders of earlier scans, by path: those that have not changed are not listed again.
        depth: how many levels to descend.
        config: the configuration of the Hydra job in whose folder the root is.
    """
    if len(os.fsencode(root)) > _LONGEST_PATH:
        problems.append(f"{plain_text(root[:100])}…: its path has more than {_LONGEST_PATH} bytes")
        return
    earlier = known.get(root)
    if earlier is not None and earlier.format in _flat() and _is_as_before(root, earlier.stamp):
        names = [name for name, _, _ in decode(earlier.stamp)[1:]]
        yield Found(root, _flat()[earlier.format], names, earlier.stamp, config)
        return
    try:
        with os.scandir(root) as entries:
            here = sorted(entries, key=lambda entry: entry.name)
    except OSError as wrong:
        problems.append(f"{root}: {wrong.strerror}")
        return
    files = {entry.name for entry in here if _is_file(entry)}
    folders = [entry for entry in here if entry.is_dir(follow_symlinks=False)]
    if any(entry.name == FOLDER for entry in folders):
        config = _config(root) or config
    skips: Callable[[str], bool] | None = None
    told = files | {f"{entry.name}/" for entry in folders}
    for format in folder_formats():
        names = format.tells(root, told)
        if names:
            stamp = _stamp(root, names)
            if stamp is not None:
                yield Found(root, format, names, stamp, _for(format, config))
            if not getattr(format, "NESTED", False):
                return
            skips = getattr(format, "skips", None)
            break
    if depth:
        for entry in folders:
            if skips is None or not skips(entry.name):
                yield from walk(entry.path, problems, known, depth - 1, config)


def _config(root: str) -> str | None:
    """Return the configuration of a Hydra job whose folder this is."""
    path = os.path.join(root, FOLDER, CONFIG)  # noqa: PTH118 - as the other paths of a walk
    return path if os.path.isfile(path) else None  # noqa: PTH113


def _for(format: Format, config: str | None) -> str | None:
    """Return the configuration for a run of a format: our own runs have their parameters."""
    return None if format.NAME == journal_folders.NAME else config


def same(earlier: str, now: str) -> bool:
    """Return whether the files of a folder are unchanged."""
    return earlier == now or (bool(earlier) and decode(earlier)[1:] == decode(now)[1:])


def is_settled_since(earlier: str, now: str) -> bool:
    """Return whether a folder is unchanged, and later changes will show in its modification time."""
    return earlier != now and same(earlier, now) and decode(now)[0] > 0


def _is_as_before(path: str, stamp: str) -> bool:
    """Return whether nothing in a folder was created, removed or changed, with one call to stat for it and for each file."""
    if not stamp:
        return False
    folder, *files = decode(stamp)
    try:
        if not folder or os.stat(path).st_mtime_ns != folder:  # noqa: PTH116 - creating a Path costs more than the call to stat
            return False
        for name, size, changed in files:
            status = os.stat(f"{path}/{name}")  # noqa: PTH116
            if status.st_mtime_ns != changed or status.st_size != size:
                return False
    except OSError:
        return False
    return True


def _is_file(entry: "os.DirEntry[str]") -> bool:
    """Return whether an entry is a regular file: opening a pipe would block."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _stamp(path: str, names: Sequence[str]) -> str | None:
    """Return the stamp of a folder and its files; None if a file was removed meanwhile."""
    try:
        folder = os.stat(path).st_mtime_ns  # noqa: PTH116
        settled = folder < time.time_ns() - _UNSETTLED
        files: list[Any] = [
            (name, status.st_size, status.st_mtime_ns)
            for name in names
            for status in [os.stat(f"{path}/{name}")]  # noqa: PTH116
        ]
    except OSError:
        return None
    return encode([folder if settled else 0, *files]).decode()
