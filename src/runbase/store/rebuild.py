"""A SQLite database made anew from the run folders, with what the old one still holds besides.

The old file is set aside, and a note beside the new one says so until all of it has been taken over: whenever this is
stopped, the next `sync` goes on.
"""

import json
import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

from runbase.errors import StoreError, UsageError

_PARTS = ("", "-wal", "-shm")


def rebuildable(url: str, home: Path) -> Path:
    """The file of a database that run folders can make anew.

    Raises UsageError where it is not SQLite's, or there is nothing to make it from.
    """
    if not url.startswith("sqlite:"):
        raise UsageError("--rebuild makes a SQLite file anew; this store is elsewhere")
    if not (home / "runs").is_dir():
        raise UsageError(f"there are no run folders in {home} to rebuild from")
    return _path(url)


def set_aside(url: str, home: Path) -> list[Path]:
    """Rename a database and what belongs to it, so that a new one is made; where it is now.

    Raises UsageError as `rebuildable`, StoreError where it stays.
    """
    path = rebuildable(url, home)
    if not path.exists():
        return []
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=10)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")  # so that it is whole without its log
    target = _free(path)
    try:
        _note(path, [target, *pending(url)])
        for suffix in _PARTS:
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(target.with_name(target.name + suffix))
    except OSError as error:
        raise StoreError(f"cannot set {path} aside: {error.strerror}") from error
    return [
        target.with_name(target.name + s)
        for s in _PARTS
        if target.with_name(target.name + s).exists()
    ]


def pending(url: str) -> list[Path]:
    """Databases that were set aside and not taken over yet, the newest first."""
    if not url.startswith("sqlite:"):
        return []
    path = _path(url)
    try:
        told: Any = json.loads(_marker(path).read_bytes())
    except (OSError, ValueError):
        return []
    names = cast("list[str]", told) if isinstance(told, list) else []
    return [path.with_name(Path(name).name) for name in names]


def done(url: str) -> None:
    """They have been taken over."""
    _marker(_path(url)).unlink(missing_ok=True)


def _path(url: str) -> Path:
    return Path(url.partition("://")[2][1:])


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.rebuild")


def _note(path: Path, targets: list[Path]) -> None:
    marker = _marker(path)
    half = marker.with_name(f"{marker.name}.{os.getpid()}")
    with half.open("w", encoding="utf-8") as file:
        json.dump([target.name for target in targets], file)
        file.flush()
        os.fsync(file.fileno())
    half.replace(marker)


def _free(path: Path) -> Path:
    stamp, number = time.strftime("%Y%m%d-%H%M%S"), 0
    while True:
        target = path.with_name(f"{path.name}.{stamp}{f'-{number}' if number else ''}")
        if not target.exists():
            return target
        number += 1
