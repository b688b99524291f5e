"""The bin: deleted runs and experiments, brought back or purged for good."""

import shutil
import time
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from runbase import roots
from runbase.shelves.base import Shelf
from runbase.storage.records import Kind


class Purged(Struct, frozen=True, kw_only=True):
    """What a purge took away, or would (`dry_run`).

    `bytes` are those of the runs' folders; `uploads` are the artifacts elsewhere, and `left` those of
    them that could not be reached: they are still there.
    """

    runs: int
    experiments: int
    folders: list[str]
    bytes: int
    uploads: list[str]
    left: list[str]


class TrashShelf(Shelf):
    """Deleting in two steps."""

    def delete(self, *targets: Any, purge: bool = False) -> int:
        """Put runs and experiments into the bin; how many. They are out of every listing, and
        `restore` brings them back. With `purge`, for good: see `purge`.
        """
        found = self._sorted(targets)
        if purge:
            done = self._purge(found)
            return done.runs + done.experiments
        return sum(self._storage.delete(kind, ids) for kind, ids in found.items() if ids)

    def restore(self, *targets: Any) -> int:
        """Bring runs and experiments back from the bin; how many."""
        found = self._sorted(targets, deleted=True)
        return sum(self._storage.delete(kind, ids, back=True) for kind, ids in found.items() if ids)

    def purge(self, *targets: Any, dry_run: bool = False) -> Purged:
        """Delete for good: rows, points, links, and the files in the runs' folders.

        `targets` may be in the bin or not. Forks of a purged experiment go on, and keep its name in
        their line of descent. Folders met again later do not bring a purged run back.
        """
        return self._purge(self._sorted(targets, both=True), dry_run)

    def gc(self, older_than: float = 30 * 86400.0, *, dry_run: bool = False) -> Purged:
        """Purge what has been in the bin for longer than `older_than` seconds (30 days)."""
        runs, experiments = self._storage.in_the_bin(time.time() - older_than)
        found: dict[Kind, list[str]] = {"run": runs, "experiment": experiments}
        return self._purge(found, dry_run)

    def _purge(self, found: dict[Kind, list[str]], dry_run: bool = False) -> Purged:
        runs = dict.fromkeys([*found["run"], *self._storage.below(found["experiment"])])
        folders = self._storage.folders(list(runs))
        uploads = self._storage.uploads(list(runs))
        size = sum(self._size(folder) for folder in folders)
        if not dry_run:
            for kind, ids in found.items():
                if ids:
                    self._storage.purge(kind, ids)
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
        roots.remove(url)
    except Exception:  # whatever a network has to say: the answer names what is left
        return False
    return True
