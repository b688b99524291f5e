"""The bin: deleted runs and experiments, brought back or purged for good."""

import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct, structs

from runbase.artifacts import remote
from runbase.errors import UsageError
from runbase.ingest.cleanup import Tidied, leftovers, loose_files, pack_journals
from runbase.storage.types import Kind, Query
from runbase.store.base import StoreBase


class Purged(Struct, frozen=True, kw_only=True):
    """What a purge took away, or would (`dry_run`).

    `bytes` are those of the runs' folders and of `files`; `uploads` are the artifacts elsewhere, and `left` those of
    them that could not be reached: they are still there.
    """

    runs: int
    experiments: int
    folders: list[str]
    bytes: int
    uploads: list[str]
    left: list[str]
    files: list[str] = []
    """Files that nothing referred to, and what was left over of what was stopped half-way."""
    packed: int = 0
    """Journals that were packed."""
    saved: int = 0
    """Bytes that this saved."""
    problems: list[str] = []


class TrashMethods(StoreBase):
    """Deleting in two steps."""

    def delete(self, *targets: Any, purge: bool = False) -> int:
        """Put runs and experiments into the bin; how many. They are out of every listing, and
        `restore` brings them back. With `purge`, for good: see `purge`.
        """
        found = self._sorted(targets)
        if purge:
            done = self._purge(found)
            return done.runs + done.experiments
        return sum(self.storage.delete(kind, ids) for kind, ids in found.items() if ids)

    def restore(self, *targets: Any) -> int:
        """Bring runs and experiments back from the bin; how many."""
        found = self._sorted(targets, deleted=True)
        return sum(self.storage.delete(kind, ids, back=True) for kind, ids in found.items() if ids)

    def purge(self, *targets: Any, dry_run: bool = False) -> Purged:
        """Delete for good: rows, points, links, and the files in the runs' folders.

        `targets` may be in the bin or not. Forks of a purged experiment go on, and keep its name in
        their line of descent. Folders met again later do not bring a purged run back.
        """
        return self._purge(self._sorted(targets, both=True), dry_run)

    def gc(
        self,
        older_than: float = 30 * 86400.0,
        *,
        where: str | None = None,
        files: bool = False,
        journals: float | None = None,
        dry_run: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Purged:
        """Free space: what has been in the bin for longer than `older_than` seconds (30 days), and what else is asked.

        Args:
            where: runs that satisfy this filter too, for good, if they are over.
            files: remove files of a home's finished runs that nothing refers to, folders of purged runs, and what was
                left when a process was stopped half-way; all older than a day.
            journals: pack the journals of runs that have been over for so many seconds and are whole in the store;
                they are read as before, also by `sync --rebuild`.
            dry_run: say what would go, and leave it.
            progress: called with how many run folders were looked at for `journals`, and of how many.

        Nothing that a living process may still write to is touched. Raises FilterError, and UsageError for files of a
        store that has no home.
        """
        if (files or journals is not None) and self.home is None:
            raise UsageError("files and journals are a home's, and this store was opened without")
        runs, experiments = self.storage.deleted_before(time.time() - older_than)
        if where is not None:
            runs = [*runs, *(run.id for run in self.storage.runs(Query(where=where)) if run.ended)]
        found: dict[Kind, list[str]] = {"run": runs, "experiment": experiments}
        done = self._purge(found, dry_run)
        tidied: list[Tidied] = []
        if files and self.home is not None:
            tidied += [loose_files(self.storage, self.home, dry_run=dry_run)]
            tidied += [leftovers(self.home, dry_run=dry_run)]
        if journals is not None and self.home is not None:
            tidied.append(
                pack_journals(
                    self.storage,
                    self.home,
                    older_than=journals,
                    dry_run=dry_run,
                    progress=progress,
                )
            )
        return structs.replace(
            done,
            bytes=done.bytes + sum(each.bytes for each in tidied),
            files=[name for each in tidied for name in each.files],
            packed=sum(each.journals for each in tidied),
            saved=sum(each.saved for each in tidied),
            problems=[problem for each in tidied for problem in each.problems],
        )

    def _purge(self, found: dict[Kind, list[str]], dry_run: bool = False) -> Purged:
        runs = dict.fromkeys(
            [*found["run"], *self.storage.runs_of_experiments(found["experiment"])]
        )
        folders = self.storage.folders(list(runs))
        uploads = self.storage.uploads(list(runs))
        size = sum(self._size(folder) for folder in folders)
        if not dry_run:
            for kind, ids in found.items():
                if ids:
                    self.storage.purge(kind, ids)
            for folder in folders:
                self._remove(folder)
        left = [] if dry_run else [url for url in uploads if not _gone(url)]
        return Purged(
            runs=len(runs),
            experiments=len(found["experiment"]),
            folders=folders,
            bytes=size,
            uploads=uploads,
            left=left,
        )

    def _sorted(
        self, targets: Sequence[Any], *, deleted: bool = False, both: bool = False
    ) -> dict[Kind, list[str]]:
        from runbase.errors import NotFound

        found: dict[Kind, list[str]] = {"run": [], "experiment": []}
        for target in targets:
            try:
                kind, key = self._target(target, deleted=deleted)
            except NotFound:
                if not both:
                    raise
                kind, key = self._target(target, deleted=True)
            if key not in found[kind]:
                found[kind].append(key)
        return found

    def _inside(self, folder: str) -> Any:
        """A run's folder on this machine, if it lies where runs lie; None otherwise."""
        if self.home is None:
            return None
        runs = (self.home / "runs").resolve()
        path = (self.home / folder).resolve()
        return path if runs in path.parents and path.is_dir() else None

    def _size(self, folder: str) -> int:
        path = self._inside(folder)
        return 0 if path is None else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())

    def _remove(self, folder: str) -> None:
        path = self._inside(folder)
        if path is not None:
            shutil.rmtree(path, ignore_errors=True)


def _gone(url: str) -> bool:
    try:
        remote.remove(url)
    except Exception:  # whatever a network has to say: the answer names what is left
        return False
    return True
