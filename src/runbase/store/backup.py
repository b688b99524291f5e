"""Backups of a store's database."""

import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from runbase.errors import UsageError
from runbase.store.base import StoreBase

_OURS = re.compile(r"runbase-\d{8}-\d{6}(-\d+)?\.(db|dump)")


class Backup(Struct, frozen=True, kw_only=True):
    """A backup that was made, or would be. `removed` are older ones that it took the place of."""

    path: Path
    bytes: int
    seconds: float
    removed: list[Path]


class BackupMethods(StoreBase):
    """Backups."""

    def backup(
        self,
        target: "str | os.PathLike[str]" = ".",
        *,
        keep: int | None = None,
        dry_run: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Backup:
        """Write the whole database, as it is at one moment, to a file; whoever uses it goes on and waits for nothing.

        Args:
            target: the file, or a folder for one with the time in its name. SQLite's is a store of its own
                (`runbase.open(path)`); PostgreSQL's is a dump for `pg_restore`, made by `pg_dump`.
            keep: in a folder, how many to keep, this one among them; older ones are removed. Default: all.
            dry_run: say what would be done.
            progress: called with pages done, and how many there are (SQLite).

        Run folders are not in it: they are plain files, for the backup of files that you have. Raises UsageError
        where the file is there already, or pg_dump is not.
        """
        began = time.perf_counter()
        suffix = "dump" if self.storage.dialect == "postgres" else "db"
        path = Path(target).expanduser().absolute()
        folder = path.is_dir()
        if keep is not None and (keep < 1 or not folder):
            raise UsageError("keep is for a folder of backups, and at least 1")
        if folder:
            path = _free(path, suffix)
        elif path.exists():
            raise UsageError(f"{path} is there already; name another file, or a folder")
        elif not path.parent.is_dir():
            raise UsageError(f"there is no folder {path.parent} for the backup")
        old = [] if keep is None else _ours(path.parent, suffix)[: -keep + 1 or None]
        if not dry_run:
            self.storage.backup(path, progress)
            for each in old:
                each.unlink(missing_ok=True)
        return Backup(
            path=path,
            bytes=0 if dry_run else path.stat().st_size,
            seconds=time.perf_counter() - began,
            removed=old,
        )


def _free(folder: Path, suffix: str) -> Path:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path, number = folder / f"runbase-{stamp}.{suffix}", 1
    while path.exists():
        path, number = folder / f"runbase-{stamp}-{number}.{suffix}", number + 1
    return path


def _ours(folder: Path, suffix: str) -> list[Path]:
    """Earlier backups there, the oldest first."""
    found = [p for p in folder.glob(f"runbase-*.{suffix}") if _OURS.fullmatch(p.name)]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
