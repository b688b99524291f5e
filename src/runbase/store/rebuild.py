"""Rebuild a SQLite database from the run folders, and recover what only the old database contains.

The old file is renamed. A marker file next to the new database records this until everything has been
recovered, so that the next `sync` resumes an interrupted rebuild.
"""

import json
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, cast

from runbase.errors import StoreError, UsageError
from runbase.filesystems import atomic_write

_PARTS = ("", "-wal", "-shm")


def rebuildable(url: str, home: Path) -> Path:
    """Return the file of a database that can be rebuilt from run folders.

    Raises:
        UsageError: it is not a SQLite database, or the home has no run folders.
    """
    if not url.startswith("sqlite:"):
        raise UsageError("--rebuild needs a SQLite database; this store is on a server")
    if not (home / "runs").is_dir():
        raise UsageError(f"{home} has no run folders to rebuild the database from")
    return _path(url)


def set_aside(url: str, home: Path) -> list[Path]:
    """Rename a database and its -wal and -shm files, so that a new one is created.

    Returns:
        The new paths.

    Raises:
        UsageError: as for `rebuildable`.
        StoreError: the files cannot be renamed.
    """
    path = rebuildable(url, home)
    if not path.exists():
        return []
    with suppress(sqlite3.Error), closing(sqlite3.connect(path, timeout=10)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")  # make it complete without its log
    target = _free(path)
    try:
        _note(path, [target, *pending(url)])
        for suffix in _PARTS:
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(target.with_name(target.name + suffix))
    except OSError as error:
        raise StoreError(f"cannot rename {path}: {error.strerror}") from error
    return [
        target.with_name(target.name + s)
        for s in _PARTS
        if target.with_name(target.name + s).exists()
    ]


def pending(url: str) -> list[Path]:
    """Return the renamed databases that have not been recovered yet, newest first."""
    if not url.startswith("sqlite:"):
        return []
    path = _path(url)
    try:
        content: Any = json.loads(_marker(path).read_bytes())
    except (OSError, ValueError):
        return []
    names = cast("list[str]", content) if isinstance(content, list) else []
    return [path.with_name(Path(name).name) for name in names]


def done(url: str) -> None:
    """Remove the marker: all renamed databases have been recovered."""
    _marker(_path(url)).unlink(missing_ok=True)


def _path(url: str) -> Path:
    return Path(url.partition("://")[2][1:])


def _marker(path: Path) -> Path:
    return path.with_name(f"{path.name}.rebuild")


def _note(path: Path, targets: list[Path]) -> None:
    marker = _marker(path)
    with atomic_write(marker, sync=True) as partial:
        partial.write_text(json.dumps([target.name for target in targets]), "utf-8")


def _free(path: Path) -> Path:
    stamp, number = time.strftime("%Y%m%d-%H%M%S"), 0
    while True:
        target = path.with_name(f"{path.name}.{stamp}{f'-{number}' if number else ''}")
        if not target.exists():
            return target
        number += 1
