"""Scan run folders of any format and store what changed since the last scan.

The database records the sizes and times of a folder's files (`scans`); a folder whose files are unchanged is not opened.
All data is stored through journal offsets, so that concurrent scanners store each point once.
"""

import time
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from runbase.errors import StoreError, UsageError
from runbase.events import Points
from runbase.filesystems import atomic_write
from runbase.ingest.folders import Folder, Keep, Reached, Unreadable
from runbase.ingest.hydra_config import with_config
from runbase.ingest.walk import Found, is_settled_since, same, walk
from runbase.storage.protocol import Storage
from runbase.storage.types import Delivery, Scanned
from runbase.typing import JsonObject
from runbase.values import plain_text

BATCH = 4 * 2**20
"""Approximate bytes of deliveries in one transaction."""
_RETRIES = 3
"""How often a folder is read again because another scanner stored something of it first."""


class ScanReport(Struct, kw_only=True):
    """What a scan read and changed."""

    found: int = 0
    """Run folders."""
    new: int = 0
    updated: int = 0
    unchanged: int = 0
    invalid: int = 0
    """Folders that look like run folders and cannot be read; `problems` gives the reasons. Each scan tries them again."""
    missing: int = 0
    """Runs whose folder was removed since the last scan; they are kept and marked."""
    returned: int = 0
    """Runs whose folder exists again."""
    lost: int = 0
    """Runs with an active status and no new data."""
    points: int = 0
    left_out: dict[str, int] = {}
    """Data that runbase does not store: kind → number."""
    problems: list[str] = []
    """Folders and lines that could not be read, with reasons."""
    seconds: float = 0.0

    def add(self, other: "ScanReport") -> None:
        """Add the counts and lists of another report."""
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
        """Count data that is not stored."""
        self.left_out = dict(Counter(self.left_out) + Counter(counts))


class _Read(Struct, frozen=True):
    """A folder that was read: what to record of it, and whether it must be read again even if unchanged."""

    found: Found
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
    """Scan a folder and all folders below it, and store the runs in them.

    Args:
        storage: the database.
        root: the folder.
        full: read all run folders again, also unchanged ones.
        place: returns the path of a run's folder as the database records it.
        files: the folder for files that are extracted from other files, such as images in TensorBoard's event files.
        progress: called with the number of changed folders done, and the number of all changed folders.

    Returns:
        What was read and stored.

    Raises:
        UsageError: the folder does not exist.
    """
    began = time.perf_counter()
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder")
    report = ScanReport()
    known = storage.scans(str(root))
    problems: list[str] = []
    found = list(walk(str(root), problems, {} if full else known))
    report.problems, report.found = problems, len(found)
    changed = [
        f for f in found if full or f.path not in known or not same(known[f.path].stamp, f.stamp)
    ]
    report.unchanged = len(found) - len(changed)
    settled = [
        f for f in found if f.path in known and is_settled_since(known[f.path].stamp, f.stamp)
    ]
    gone = [known[path] for path in known.keys() - {each.path for each in found}]
    if progress:
        progress(0, len(changed))
    done = 0
    for part in _parts(changed):
        late = _take(storage, part, known.keys(), place, _keeper(files), report)
        for _ in range(_RETRIES):
            if not late:
                break
            again = ScanReport()  # these folders are counted already
            late = _take(storage, late, known.keys(), place, _keeper(files), again)
            report.points += again.points
            report.problems = [*report.problems, *again.problems]
        done += len(part)
        if progress:
            progress(done, len(changed))
    if settled:
        storage.put_scans([replace(known[f.path], stamp=f.stamp) for f in settled])
    report.missing = storage.mark_missing(gone) if gone else 0
    report.seconds = time.perf_counter() - began
    return report


def has_runs(root: Path) -> bool:
    """Return whether a folder is a run folder or contains one."""
    return next(walk(str(root), [], {}), None) is not None


def _take(
    storage: Storage,
    part: Sequence[Found],
    known: Container[str],
    place: Callable[[str], str],
    keep: Keep,
    report: ScanReport,
) -> list[Found]:
    """Store some folders, in as few transactions as their size allows.

    Returns:
        The folders of which another scanner stored something first. It may have read less, so they are to be read again.
    """
    read: list[_Read] = []
    reached = _offsets(storage)
    batch: list[Delivery] = []
    late: set[str] = set()
    size = 0
    for each in part:
        try:
            folder = each.format.read(Path(each.path), each.names, reached, keep)
            for delivery in _deliveries(each, folder, reached):
                batch.append(_placed(delivery, place(each.path)))
                size += 64 * len(delivery.events) + 16 * _points(delivery)
                if size > BATCH:
                    late |= _apply(storage, batch, report)
                    batch, size = [], 0
            read.append(_Read(each, folder))
            report.leave_out(folder.left_out)
            if each.path in known:
                report.updated += 1
            else:
                report.new += 1
        except StoreError:
            raise
        except Exception as wrong:  # one unusual folder must not stop the scan of all others
            report.problems = [*report.problems, f"{plain_text(each.path)}: {_why(wrong)}"]
            report.invalid += 1
    if batch:
        late |= _apply(storage, batch, report)
    late -= storage.purged(sorted(late)) if late else set()
    changes = {
        read_folder.folder.run: fields for read_folder in read if (fields := _told(read_folder))
    }
    for run, name in _put_attributes(storage, read).items():
        changes.setdefault(run, {})["name"] = name
    storage.update_runs(changes)
    living = [read_folder.folder.run for read_folder in read if read_folder.folder.live]
    if living:
        storage.heartbeat(living)
    # Record this last: if a scan stops before this, the next one reads these folders again.
    scanned = [_kept(read_folder, place, late) for read_folder in read]
    report.returned += storage.put_scans(scanned) if scanned else 0
    return [read_folder.found for read_folder in read if read_folder.folder.run in late]


def _deliveries(found: Found, folder: Folder, reached: Reached) -> Iterable[Delivery]:
    """Return what is new in a folder, with the parameters of the Hydra job in whose folder it is."""
    if found.config is None:
        return folder.deliveries
    return with_config(folder.deliveries, Path(found.config), reached)


def _apply(storage: Storage, batch: Sequence[Delivery], report: ScanReport) -> set[str]:
    """Store deliveries; returns the runs of which another scanner stored something first."""
    late: set[str] = set()
    for delivery, applied in zip(batch, storage.apply(batch), strict=True):
        report.problems = [*report.problems, *map(str, applied.problems)]
        if applied.taken:
            report.points += _points(delivery)
        if not applied.taken and not applied.problems:
            late.add(delivery.run)
    return late


def _kept(one: _Read, place: Callable[[str], str], late: Container[str]) -> Scanned:
    return Scanned(
        path=one.found.path,
        format=one.found.format.NAME,
        run=one.folder.run,
        place=place(one.found.path),
        # Empty: the next scan reads it again, whether it changes or not.
        stamp="" if one.folder.live or one.folder.run in late else one.found.stamp,
    )


def _told(one: _Read) -> JsonObject:
    """Return the fields that a folder reports besides events: its status in the source's own terms, and its checkpoint."""
    fields = {"source_status": one.folder.source_status, "checkpoint": one.folder.checkpoint}
    return {name: value for name, value in fields.items() if value is not None}


def _put_attributes(storage: Storage, read: Sequence[_Read]) -> dict[str, str]:
    """Store the attributes that folders report for runs; returns run → its new name.

    A name and tags are changed only if the folder's values differ from those of the last scan: users may have edited them here.
    """
    names: dict[str, str] = {}
    for scope in {read_folder.folder.scope for read_folder in read if read_folder.folder.scope}:
        reported = {
            read_folder.folder.run: read_folder.folder.attributes
            for read_folder in read
            if read_folder.folder.scope == scope
        }
        for run in storage.purged([*reported]):
            del reported[run]
        known = storage.attributes("run", [*reported], scope)
        changed: dict[str, JsonObject] = {}
        for run, values in reported.items():
            before = known[run]
            new = {key: v for key, v in values.items() if key not in before or before[key] != v}
            new |= {key: None for key, v in before.items() if key not in values and v is not None}
            if not new:
                continue
            changed[run] = new
            if new.get("display_name"):
                names[run] = str(new["display_name"])
            gone = set(before.get("tags") or ()) - set(values.get("tags") or ())
            if gone:
                storage.remove("run", run, {"tags": sorted(gone)})
        if changed:
            storage.put_all_attributes("run", scope, changed)
    return names


def _keeper(files: Path | None) -> Keep:
    """Return a function that writes bytes to a file, in a folder of each run."""

    def keep(run: str, name: str, data: bytes) -> str | None:
        if files is None:
            return None
        target = files / run / name
        with atomic_write(target) as partial:
            partial.write_bytes(data)
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
    events = [event for event in delivery.events if isinstance(event, Points)]
    return sum(len(event.steps) * len(event.keys) for event in events)


def _parts(changed: Sequence[Found]) -> Iterator[Sequence[Found]]:
    for start in range(0, len(changed), 200):
        yield changed[start : start + 200]


def _why(wrong: Exception) -> str:
    if isinstance(wrong, OSError):
        return wrong.strerror or str(wrong)
    return str(wrong) if isinstance(wrong, Unreadable) else f"{type(wrong).__name__}: {wrong}"
