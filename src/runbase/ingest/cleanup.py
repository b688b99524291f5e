"""Clean up a home directory: pack journals, remove files that nothing refers to, and remains of interrupted operations.

Files that a live process may still write to are never touched.
"""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from msgspec import Struct

from runbase.ingest.liveness import is_written, may_grow
from runbase.ingest.sync import run_folders
from runbase.journal import files, is_packed, opened, pack, read, size
from runbase.journal.packed import LARGEST
from runbase.model import Run
from runbase.storage.protocol import Storage

QUIET = 86400.0
"""Seconds without a change before a file counts as left over."""
_KEPT = ("artifacts", "media")
"""Subfolders of a run whose files the database refers to."""
_HALF = (".clock-*", ".doctor", ".*.half", ".*.[0-9]*.part")
"""Name patterns of unfinished files that only runbase creates; all other files belong to users."""


class Tidied(Struct, kw_only=True):
    """What was cleaned up, or would be in a dry run."""

    journals: int = 0
    """Number of journals that were packed."""
    saved: int = 0
    """Bytes that packing saved; 0 in a dry run."""
    files: list[str] = []
    """Files and folders that were removed."""
    bytes: int = 0
    """Total size (bytes) of the removed files."""
    problems: list[str] = []


def pack_journals(
    storage: Storage,
    home: Path,
    *,
    older_than: float,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Tidied:
    """Pack the journals of runs that ended long enough ago and are stored completely.

    Only journals that their process closed, or whose process on this host is gone, are packed: a process without a heartbeat
    may still resume writing.

    Args:
        storage: the database.
        home: the home directory.
        older_than: seconds since the end of a run.
        dry_run: change nothing.
        progress: called with (journals done, all journals).
    """
    return pack_folders(
        storage,
        run_folders(home),
        older_than=older_than,
        dry_run=dry_run,
        progress=progress,
    )


def pack_folders(
    storage: Storage,
    folders: list[Path],
    *,
    older_than: float,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Tidied:
    """Pack the journals of some run folders of a home; see `pack_journals`."""
    report = Tidied()
    before = time.time() - older_than
    for number, (folder, run) in enumerate(_with_runs(storage, folders), 1):
        if run is not None and _is_over(run, before) and not is_written(folder):
            for path in _taken_in(storage, folder):
                _pack(path, report, dry_run)
        if progress:
            progress(number, len(folders))
    return report


def loose_files(storage: Storage, home: Path, *, dry_run: bool = False) -> Tidied:
    """Remove files of ended runs that nothing in the database refers to, and folders of purged runs."""
    report = Tidied()
    before = time.time() - QUIET
    gone: list[Path] = []
    folders = run_folders(home)
    purged = storage.purged([folder.name for folder in folders])
    for folder, run in _with_runs(storage, folders):
        if folder.name in purged and run is None:
            gone.append(folder)
        elif run is None or not _is_over(run, before) or is_written(folder):
            continue
        elif len(_taken_in(storage, folder)) == len(
            files(folder)
        ):  # otherwise it may be ingested later
            gone += _unreferred(storage, folder, run.id, before)
    _remove(home, gone, report, dry_run)
    return report


def leftovers(home: Path, *, dry_run: bool = False) -> Tidied:
    """Remove unfinished files of interrupted processes."""
    report = Tidied()
    before = time.time() - QUIET
    unfinished = [
        path for way in _HALF for path in (*home.glob(way), *home.glob(f"runs/*/*/{way}"))
    ]
    old = [path for path in unfinished if path.is_file() and path.stat().st_mtime < before]
    for folder in run_folders(home):
        journals = {path.name for path in folder.glob("journal*.jsonl")}
        # Packing was interrupted before the plain journal was removed: the plain one counts.
        old += [p for p in folder.glob("journal*.gz") if p.name.removesuffix(".gz") in journals]
    _remove(home, old, report, dry_run)
    return report


def _taken_in(storage: Storage, folder: Path) -> list[Path]:
    """Return the journals of a folder that no process writes to any more, and that are stored completely."""
    over = [path for path in files(folder) if not may_grow(path)]
    heads = [(path, head.journal) for path in over if (head := opened(path)) is not None]
    reached = storage.offsets([journal for _, journal in heads])
    places = [(path, reached.get(journal, 0)) for path, journal in heads]
    return [path for path, offset in places if read(path, offset).offset == offset]


def _pack(path: Path, report: Tidied, dry_run: bool) -> None:
    if is_packed(path) or size(path) > LARGEST:
        return
    report.journals += 1
    if dry_run:
        return
    try:
        report.saved += pack(path)
    except OSError as wrong:
        report.journals -= 1
        report.problems = [*report.problems, f"{path}: {wrong.strerror or wrong}"]


def _unreferred(storage: Storage, folder: Path, run: str, before: float) -> Iterator[Path]:
    known: set[str] = set()
    for artifact in storage.artifacts(run):
        if artifact.removed_at is None:
            known |= {artifact.uri, f"artifacts/{artifact.path}", artifact.path}
    known |= {str(record["path"]) for record in storage.records(run) if record["path"]}
    for kind in _KEPT:
        for path in sorted((folder / kind).rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_file() and name not in known and path.stat().st_mtime < before:
                yield path


def _with_runs(storage: Storage, folders: list[Path]) -> Iterator[tuple[Path, Run | None]]:
    """Yield each folder with its run; the folder's name is the run's id."""
    for start in range(0, len(folders), 500):
        part = folders[start : start + 500]
        known = {run.id: run for run in storage.get_runs([folder.name for folder in part])}
        yield from ((folder, known.get(folder.name)) for folder in part)


def _is_over(run: Run, before: float) -> bool:
    return run.ended and run.ended_at is not None and run.ended_at.timestamp() < before


def _remove(home: Path, paths: list[Path], report: Tidied, dry_run: bool) -> None:
    for path in paths:
        parts = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        count = sum(part.stat().st_size for part in parts)
        if not dry_run:
            try:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            except OSError as wrong:
                report.problems = [*report.problems, f"{path}: {wrong.strerror}"]
                continue
        report.bytes += count
        report.files = [*report.files, path.relative_to(home).as_posix()]


__all__ = ["Tidied", "leftovers", "loose_files", "pack_journals"]
