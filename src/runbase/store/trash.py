"""The trash: delete, restore and permanently remove runs and experiments, and free disk space."""

import shutil
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct, structs

from runbase.artifacts import remote
from runbase.errors import NotFound, UsageError
from runbase.ingest.cleanup import Tidied, leftovers, loose_files, pack_journals
from runbase.storage.address import is_server
from runbase.storage.types import Kind, Query
from runbase.store.archive import ArchiveMethods
from runbase.store.archive_files import leftovers_of_archives, remove_gone
from runbase.typing import Subject


class Purged(Struct, frozen=True, kw_only=True):
    """What a purge removed, or would remove (`dry_run`).

    `bytes` is the size of the run folders and of `files`. `uploads` are the URLs of artifacts on
    other systems; `left` are those that could not be removed and still exist.
    """

    runs: int
    experiments: int
    folders: list[str]
    bytes: int
    uploads: list[str]
    left: list[str]
    files: list[str] = []
    """Files without a reference, and partial files of interrupted operations."""
    packed: int = 0
    """Number of journals packed."""
    saved: int = 0
    """Bytes saved by packing."""
    vacuumed: int = 0
    """Bytes that the database returned to the file system."""
    problems: list[str] = []


class TrashMethods(ArchiveMethods):
    """Delete in two steps: to the trash, then permanently."""

    def delete(self, *targets: Subject, purge: bool = False) -> int:
        """Move runs and experiments to the trash.

        They no longer appear in listings. `restore` undoes this.

        Args:
            targets: runs and experiments.
            purge: delete permanently instead; see `purge`.

        Returns:
            The number of runs and experiments deleted.

        Raises:
            NotFound: a target does not exist.
        """
        ids_by_kind = self._sorted(targets)
        if purge:
            purged = self._purge(ids_by_kind)
            return purged.runs + purged.experiments
        return sum(self.storage.delete(kind, ids) for kind, ids in ids_by_kind.items() if ids)

    def restore(self, *targets: Subject) -> int:
        """Restore runs and experiments from the trash; return how many."""
        ids_by_kind = self._sorted(targets, deleted=True)
        return sum(
            self.storage.delete(kind, ids, back=True) for kind, ids in ids_by_kind.items() if ids
        )

    def bring_back(
        self, *targets: Subject, progress: Callable[[int, int], None] | None = None
    ) -> tuple[int, int]:
        """Restore what is in the trash, and move the points of archived runs back into the database.

        Args:
            targets: runs and experiments, each in the trash or archived.
            progress: called with the number of archived runs done and the total.

        Returns:
            How many runs and experiments were restored, and the points of how many runs were moved.

        Raises:
            NotFound: a target does not exist, or is neither in the trash nor archived.
        """
        trashed: list[Subject] = []
        runs: list[str] = []
        words = [target if isinstance(target, str) else str(target.id) for target in targets]
        for target in words:
            try:
                self._target(target, deleted=True)
                trashed.append(target)
            except NotFound as reason:
                kind, key = self._target(target)
                ids = [key] if kind == "run" else self.storage.runs_of_experiments([key])
                if is_server(self.storage.url):
                    raise NotFound(
                        f"{target!r} is not in the trash; to move the points of archived runs back, "
                        "run the command on the machine of the server"
                    ) from reason
                if not self.storage.archives(ids):
                    raise NotFound(f"{target!r} is neither in the trash nor archived") from reason
                runs += ids
        return self.restore(*trashed) if trashed else 0, self._take_back(runs, progress)

    def purge(self, *targets: Subject, dry_run: bool = False) -> Purged:
        """Delete runs and experiments permanently: rows, points, links, and the runs' folders.

        Forks of a purged experiment remain, and keep its name in their ancestors. A copy of the
        folder of a purged run that is scanned later is not ingested again.

        Args:
            targets: runs and experiments, in the trash or not.
            dry_run: report what would be deleted, and delete nothing.

        Returns:
            What was deleted.
        """
        return self._purge(self._sorted(targets, both=True), dry_run)

    def gc(
        self,
        older_than: float = 30 * 86400.0,
        *,
        where: str | None = None,
        files: bool = False,
        journals: float | None = None,
        vacuum: bool = False,
        dry_run: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Purged:
        """Free disk space: purge old trash and, on request, more.

        Files that a running process may still write are never changed.

        Args:
            older_than: purge what has been in the trash for more than this many seconds (30 days).
            where: also purge finished runs that match this filter.
            files: remove files of finished runs that no record refers to, folders of purged runs,
                and partial files of interrupted operations; all older than a day.
            journals: pack the journals of runs that ended more than this many seconds ago and are
                completely ingested. Packed journals can be read as before, also by `sync --rebuild`.
            vacuum: return free space of the database to the file system. Writers of the database wait
                meanwhile, and the disk needs room for a second copy; runs that log do not wait.
            dry_run: report what would be removed, and remove nothing.
            progress: called with the number of run folders checked for `journals` and the total.

        Returns:
            What was removed.

        Raises:
            FilterError: `where` is not a valid filter.
            UsageError: `files` or `journals` for a store without a home.
        """
        if (files or journals is not None) and self.home is None:
            raise UsageError(
                "this store has no home, so it has no files and journals to clean up; "
                "open it with home=…"
            )
        runs, experiments = self.storage.deleted_before(time.time() - older_than)
        if where is not None:
            runs = [*runs, *(run.id for run in self.storage.runs(Query(where=where)) if run.ended)]
        purged = self._purge({"run": runs, "experiment": experiments}, dry_run)
        tidied: list[Tidied] = []
        if files and self.home is not None:
            tidied += [loose_files(self.storage, self.home, dry_run=dry_run)]
            if not is_server(self.storage.url):
                tidied += [leftovers_of_archives(self.storage, self.home, dry_run=dry_run)]
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
        before, after = self.storage.vacuum() if vacuum and not dry_run else (0, 0)
        return structs.replace(
            purged,
            vacuumed=before - after,
            bytes=purged.bytes + sum(report.bytes for report in tidied),
            files=[name for report in tidied for name in report.files],
            packed=sum(report.journals for report in tidied),
            saved=sum(report.saved for report in tidied),
            problems=[problem for report in tidied for problem in report.problems],
        )

    def _purge(self, ids_by_kind: dict[Kind, list[str]], dry_run: bool = False) -> Purged:
        runs = dict.fromkeys(
            [
                *ids_by_kind["run"],
                *self.storage.runs_of_experiments(ids_by_kind["experiment"]),
            ]
        )
        folders = self.storage.folders(list(runs))
        archives: list[str] = []
        if runs and not is_server(self.storage.url):  # a server does this itself
            archives = sorted({one.uri for one in self.storage.archives(list(runs))})
        uploads = self.storage.uploads(list(runs))
        size = sum(self._size(folder) for folder in folders)
        if not dry_run:
            for kind, ids in ids_by_kind.items():
                if ids:
                    self.storage.purge(kind, ids)
            for folder in folders:
                self._remove(folder)
        left = [] if dry_run else [url for url in uploads if not _gone(url)]
        if archives and not dry_run:
            left += remove_gone(self.storage, archives)
        return Purged(
            runs=len(runs),
            experiments=len(ids_by_kind["experiment"]),
            folders=folders,
            bytes=size,
            uploads=uploads,
            left=left,
        )

    def _sorted(
        self, targets: Sequence[Subject], *, deleted: bool = False, both: bool = False
    ) -> dict[Kind, list[str]]:
        ids_by_kind: dict[Kind, list[str]] = {"run": [], "experiment": []}
        for target in targets:
            try:
                kind, key = self._target(target, deleted=deleted)
            except NotFound:
                if not both:
                    raise
                kind, key = self._target(target, deleted=True)
            if key not in ids_by_kind[kind]:
                ids_by_kind[kind].append(key)
        return ids_by_kind

    def _inside(self, folder: str) -> Any:
        """Return a run's folder on this machine if it is inside the home's `runs` folder, else None."""
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
    except Exception:  # any network error: the report lists the artifacts that remain
        return False
    return True
