"""Takes run folders of any format into a store: what changed since the last scan, and nothing else.

What a folder looked like is kept beside the run (`scans`); a folder whose files have the same sizes and times is
not opened. Everything enters through journals' offsets, so several scanners at once take each point once.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from runbase.errors import StoreError, UsageError
from runbase.events import Points
from runbase.registry.formats import FORMATS, Folder, Format, Unreadable
from runbase.registry.formats.base import Keep
from runbase.storage.protocol import Storage
from runbase.storage.records import Delivery, Scanned
from runbase.values import plain_text

BATCH = 4 * 2**20
"""Bytes of deliveries, about, that one transaction takes."""
_LONGEST_PATH = 2000
"""Bytes of a folder's path that fit into an index of the database."""
_DEEP = 24
"""Folders within folders: a link that leads back would never end otherwise."""


class ScanReport(Struct, kw_only=True):
    """What a scan found and did."""

    found: int = 0
    """Run folders."""
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    invalid: int = 0
    """Folders that look like a run's and cannot be read; `problems` says why. They are tried again each time."""
    missing: int = 0
    """Runs whose folder is gone since the last scan; they stay, marked."""
    returned: int = 0
    """Runs whose folder is there again."""
    lost: int = 0
    """Runs that say they run, and gave no sign of life."""
    points: int = 0
    left_out: dict[str, int] = {}
    """What runbase does not keep: kind → how many."""
    problems: list[str] = []
    """Folders and lines that could not be read: where, and why."""
    seconds: float = 0.0

    def add(self, other: "ScanReport") -> None:
        """Count another report in."""
        for name in (
            "found",
            "new",
            "updated",
            "unchanged",
            "invalid",
            "missing",
            "returned",
            "lost",
            "points",
        ):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.leave_out(other.left_out)
        self.problems = [*self.problems, *other.problems]
        self.seconds += other.seconds

    def leave_out(self, counts: Mapping[str, int]) -> None:
        """Count what is not kept."""
        self.left_out = dict(Counter(self.left_out) + Counter(counts))


class _Found(Struct, frozen=True):
    """A folder of a format, and the files in it that tell of the run."""

    path: str
    format: Format
    names: list[str]
    stamp: str


class _Read(Struct, frozen=True):
    """A folder that was read: what is to be kept of it, and whether it may change by standing still."""

    found: _Found
    folder: Folder


def scan(
    storage: Storage,
    root: Path,
    *,
    full: bool = False,
    place: Callable[[str], str] = str,
    files: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ScanReport:
    """Take in the run folders at and below a folder.

    `full` reads all of them again. `place` says how a run's folder is to be called in the store. `files` is the folder
    for files that are made from what stands inside others, such as images in TensorBoard's. `progress` is called with
    how many changed folders are done, and how many there are. Raises UsageError where there is no such folder.
    """
    began = time.perf_counter()
    if not root.is_dir():
        raise UsageError(f"there is no folder {root} to scan")
    report = ScanReport()
    known = storage.scans(str(root))
    found = list(_walk(str(root), report))
    report.found = len(found)
    changed = [f for f in found if full or f.path not in known or known[f.path].stamp != f.stamp]
    report.unchanged = len(found) - len(changed)
    gone = [known[path] for path in known.keys() - {each.path for each in found}]
    if progress:
        progress(0, len(changed))
    done = 0
    for part in _parts(changed):
        _take(storage, part, known.keys(), place, _keeper(files), report)
        done += len(part)
        if progress:
            progress(done, len(changed))
    report.missing = storage.folders_gone(gone) if gone else 0
    report.seconds = time.perf_counter() - began
    return report


def has_runs(root: Path) -> bool:
    """Whether there is a run folder at or below a folder."""
    return next(_walk(str(root), ScanReport()), None) is not None


def _take(
    storage: Storage,
    part: Sequence[_Found],
    known: Container[str],
    place: Callable[[str], str],
    keep: Keep,
    report: ScanReport,
) -> None:
    """Some folders, in as few transactions as their size allows."""
    read: list[_Read] = []
    reached = _offsets(storage)
    batch: list[Delivery] = []
    size = 0
    for each in part:
        try:
            folder = each.format.read(Path(each.path), each.names, reached, keep)
            for delivery in folder.deliveries:
                batch.append(_placed(delivery, place(each.path)))
                report.points += _points(delivery)
                size += 64 * len(delivery.events) + 16 * _points(delivery)
                if size > BATCH:
                    _apply(storage, batch, report)
                    batch, size = [], 0
            read.append(_Read(each, folder))
            report.leave_out(folder.left_out)
            if each.path in known:
                report.updated += 1
            else:
                report.new += 1
        except StoreError:
            raise
        except Exception as wrong:  # the fence between one odd folder and the scan of all others
            report.problems = [*report.problems, f"{plain_text(each.path)}: {_why(wrong)}"]
            report.invalid += 1
    if batch:
        _apply(storage, batch, report)
    storage.update_runs({one.folder.run: changes for one in read if (changes := _told(one))})
    living = [one.folder.run for one in read if one.folder.live]
    if living:
        storage.beat(living)
    # Last: where a scan was stopped before this, the next one reads these folders again.
    scanned = [_kept(one, place) for one in read]
    report.returned += storage.put_scans(scanned) if scanned else 0


def _apply(storage: Storage, batch: Sequence[Delivery], report: ScanReport) -> None:
    for applied in storage.apply(batch):
        report.problems = [*report.problems, *map(str, applied.problems)]


def _kept(one: _Read, place: Callable[[str], str]) -> Scanned:
    return Scanned(
        path=one.found.path,
        format=one.found.format.NAME,
        run=one.folder.run,
        place=place(one.found.path),
        stamp=""
        if one.folder.live
        else one.found.stamp,  # to be looked at again, whether it changes or not
    )


def _told(one: _Read) -> dict[str, str]:
    """What a folder says of itself that is no event: its state in its own word."""
    said = {"source_status": one.folder.source_status, "checkpoint": one.folder.checkpoint}
    return {name: value for name, value in said.items() if value is not None}


def _keeper(files: Path | None) -> Keep:
    """Makes files of bytes, in a folder of each run."""

    def keep(run: str, name: str, data: bytes) -> str | None:
        if files is None:
            return None
        target = files / run / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.{os.getpid()}.tmp")
        part.write_bytes(data)
        part.replace(target)
        return str(target)

    return keep


def _offsets(storage: Storage) -> Callable[[str], int]:
    return lambda journal: storage.offsets([journal]).get(journal, 0)


def _placed(delivery: Delivery, folder: str) -> Delivery:
    return Delivery(
        run=delivery.run,
        events=delivery.events,
        journal=delivery.journal,
        start=delivery.start,
        offset=delivery.offset,
        file=delivery.file,
        folder=folder,
        lines=delivery.lines or len(delivery.events),
        problems=delivery.problems,
        locate=delivery.locate,
    )


def _points(delivery: Delivery) -> int:
    told = [event for event in delivery.events if isinstance(event, Points)]
    return sum(len(event.steps) * len(event.keys) for event in told)


def _parts(changed: Sequence[_Found]) -> Iterator[Sequence[_Found]]:
    for start in range(0, len(changed), 200):
        yield changed[start : start + 200]


def _walk(root: str, report: ScanReport, depth: int = _DEEP) -> Iterator[_Found]:
    """Every run folder, without going into those that are one, by path."""
    if len(os.fsencode(root)) > _LONGEST_PATH:
        reason = f"its path has more than {_LONGEST_PATH} bytes"
        report.problems = [*report.problems, f"{plain_text(root[:100])}…: {reason}"]
        return
    try:
        with os.scandir(root) as entries:
            here = sorted(entries, key=lambda entry: entry.name)
    except OSError as wrong:
        report.problems = [*report.problems, f"{root}: {wrong.strerror}"]
        return
    files = {entry.name: entry for entry in here if _is_file(entry)}
    for format in FORMATS:
        names = format.tells(root, set(files))
        if names:
            stamp = _stamp(files[name] for name in names)
            if stamp is not None:
                yield _Found(root, format, names, stamp)
            if not getattr(format, "NESTED", False):
                return
            break
    if depth:
        for entry in here:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, report, depth - 1)


def _is_file(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a regular file: a pipe would be waited for without end."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _stamp(entries: "Iterable[os.DirEntry[str]]") -> str | None:
    """Sizes and times; None where a file has gone meanwhile."""
    try:
        return json.dumps([(e.name, s.st_size, s.st_mtime_ns) for e in entries for s in [e.stat()]])
    except OSError:
        return None


def _why(wrong: Exception) -> str:
    if isinstance(wrong, OSError):
        return wrong.strerror or str(wrong)
    return str(wrong) if isinstance(wrong, Unreadable) else f"{type(wrong).__name__}: {wrong}"
