"""The backup method of a store: copy the whole database to a file while it is in use."""

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
    """A backup that was written, or would be (`dry_run`). `removed` lists older backups that it replaces."""

    path: Path
    bytes: int
    seconds: float
    removed: list[Path]


class BackupMethods(StoreBase):
    """Backups of the database."""

    def backup(
        self,
        target: "str | os.PathLike[str]" = ".",
        *,
        keep: int | None = None,
        dry_run: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Backup:
        """Write a consistent copy of the whole database to a file, without blocking its users.

        Run folders are not included: they are plain files, for your usual file backup.

        Args:
            target: the file, or a folder for a file with the time in its name. For SQLite the file is
                a store of its own (`runbase.open(path)`); for PostgreSQL it is a dump by `pg_dump`,
                for `pg_restore`.
            keep: in a folder, the number of backups to keep, including this one; older ones are
                removed. Default: all.
            dry_run: report what would be done, and do nothing.
            progress: called with the number of pages done and the total (SQLite).

        Returns:
            The path, size and duration of the backup.

        Raises:
            UsageError: the file exists, its folder does not, `keep` is not valid, or `pg_dump` is
                not installed.
        """
        began = time.perf_counter()
        suffix = "dump" if self.storage.dialect == "postgres" else "db"
        path = Path(target).expanduser().absolute()
        folder = path.is_dir()
        if keep is not None and keep < 1:
            raise UsageError(f"keep is {keep}; it must be at least 1")
        if keep is not None and not folder:
            what = "is a file" if path.exists() else "does not exist"
            raise UsageError(
                f"keep needs a folder for the backups, and {path} {what}; make it with mkdir"
            )
        if folder:
            path = _free(path, suffix)
        elif path.exists():
            raise UsageError(f"{path} exists; pass another file, or a folder")
        elif not path.parent.is_dir():
            raise UsageError(f"folder {path.parent} not found; create it, or pass another one")
        old = [] if keep is None else _ours(path.parent, suffix)[: -keep + 1 or None]
        if not dry_run:
            self.storage.backup(path, progress)
            for backup in old:
                backup.unlink(missing_ok=True)
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
    """Return earlier backups in a folder, oldest first."""
    backups = [p for p in folder.glob(f"runbase-*.{suffix}") if _OURS.fullmatch(p.name)]
    return sorted(backups, key=lambda path: (path.stat().st_mtime_ns, path.name))
