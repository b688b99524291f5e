"""Move points between the tables and archives; `runbase.storage.archive_protocol` describes each function."""

import hashlib
import time
from collections.abc import Sequence
from typing import Any, cast

import msgspec

from runbase.storage.archive_protocol import Archived, ArchiveTotals, Moved
from runbase.storage.block_files import Axis, Block, Part
from runbase.storage.places import Place
from runbase.storage.sql import archived_blocks
from runbase.storage.sql.points_read import numbers_of
from runbase.storage.sql.session import Session

BATCH = 500
"""Rows that are stored at a time."""
_numbers = msgspec.json.Decoder(list[int | float]).decode
_progress = msgspec.json.Decoder(list[float | None]).decode


def of(session: Session, runs: Sequence[str]) -> list[Archived]:
    """Return the archives of runs."""
    return archived_blocks.find(session, runs)


def files(session: Session) -> dict[str, dict[str, int]]:
    """Return the files of archives, each with its runs and their numbers of points."""
    found: dict[str, dict[str, int]] = {}
    for row in session.rows("archived_files"):
        found.setdefault(row["uri"], {})[row["run_id"]] = row["points"]
    return found


def totals(session: Session) -> ArchiveTotals:
    """Return how much is archived."""
    row = session.row("archived_totals")
    return ArchiveTotals(
        runs=int(row["runs"]), files=int(row["files"]), points=int(row["points"]), bytes=int(row["bytes"])
    )  # fmt: skip


def problems(session: Session) -> list[str]:
    """Return which files of archives are missing, or do not have the points of their runs."""
    return archived_blocks.problems(session)


def place(session: Session, uri: str) -> tuple[Place, str]:
    """Return the folder and the name of a file as this machine has it."""
    return archived_blocks.located(session, uri)


def mark(session: Session) -> str:
    """Return eight letters and digits that tell files of this database from those of others."""
    created = session.moment(session.row("when_created")["time"])
    return hashlib.sha256(str(created).encode()).hexdigest()[:8]


def in_tables(session: Session, runs: Sequence[str]) -> list[Moved]:
    """Return how many groups and points of runs are in the tables."""
    return [
        Moved(run=row["run_id"], groups=int(row["groups"]), points=int(row["points"]))
        for row in session.rows("points_in_tables", runs=session.as_list(runs))
    ]


def series(session: Session, run: str) -> list[tuple[int, str, str]]:
    """Return the id, kind and key of each metric of a run."""
    return [(row["id"], row["kind"], row["key"]) for row in session.rows("series_to_move", run=run)]


def axes(session: Session, run: str, after: int, most: int) -> list[Axis]:
    """Return groups of a run after one of them."""
    import numpy as np

    return [
        Axis(
            run=run,
            seq=row["seq"],
            group=row["id"],
            journal=row["journal_id"],
            keys_hash=row["keys_hash"],
            count=row["count"],
            first_step=row["first_step"],
            stride=row["stride"],
            steps=None if row["steps"] is None else _steps(row["steps"]),
            lowest_step=row["lowest_step"],
            highest_step=row["highest_step"],
            first_time=row["first_time"],
            times=np.rint(numbers_of(row["times"])).astype(np.int64),
            progress=None if row["progress"] is None else _progress_of(row["progress"]),
        )
        for row in session.arrays("axes_to_move", run=run, after=after, most=most)
    ]


def blocks(
    session: Session, run: str, series: tuple[int, str, str], after: int, most: int
) -> list[Block]:
    """Return blocks of a metric after one of them."""
    number, kind, key = series
    rows = session.arrays("blocks_to_move", run=run, series=number, after=after, most=most)
    return [
        Block(
            run=run,
            kind=kind,
            key=key,
            group=row["group_id"],
            numbers=numbers_of(row["numbers"]),
            **{name: row[name] for name in ("seq", "count", "nans", "min", "max", "sum")},
        )
        for row in rows
    ]


def move(session: Session, uri: str, sha256: str, parts: Sequence[Part]) -> list[str]:
    """Delete the points of runs that are in a file, and record the file."""
    runs = [part.run for part in parts]
    session.rows("lock_runs", runs=session.as_list(runs))
    here = {one.run: one for one in in_tables(session, runs)}
    archived = {one.run for one in of(session, runs)}
    moved = [
        part
        for part in parts
        if part.run in here
        and part.run not in archived
        and (here[part.run].groups, here[part.run].points) == (part.groups, part.points)
    ]
    ids = session.as_list([part.run for part in moved])
    session.run("purge_blocks", ids=ids)
    session.run("purge_groups", ids=ids)
    session.many("insert_archive", [_archive(session, uri, sha256, part) for part in moved])
    return [part.run for part in moved]


def take_back(session: Session, run: str) -> None:
    """Store the archived points of a run in the tables again, and forget its archive."""
    listed = session.as_list([run])
    session.rows("lock_runs", runs=listed)
    archived = of(session, [run])
    if not archived:
        return  # another process has done it
    known = {(row["kind"], row["key"]): row for row in session.rows("series_to_move", run=run)}
    groups: list[dict[str, Any]] = []
    blocks: list[dict[str, Any]] = []

    def store() -> None:
        session.many("load_group", groups)
        session.many("insert_block", blocks)
        groups.clear()
        blocks.clear()

    for row in archived_blocks.whole(session, archived[0]):
        if isinstance(row, Axis):
            groups.append(_group(session, row))
        else:
            blocks.append(_block(session, row, known[row.kind, row.key]))
        if len(groups) + len(blocks) >= BATCH:
            store()
    store()
    session.run("delete_archives", ids=listed)


def change(session: Session, old: str, uri: str, sha256: str, parts: Sequence[Part]) -> None:
    """Record that the points of runs are in another file now."""
    session.many(
        "move_archive", [{**_archive(session, uri, sha256, part), "old": old} for part in parts]
    )


def rename(session: Session, old: str, new: str) -> None:
    """Record that a file is at another place now."""
    session.run("rename_archive", old=old, new=new)


def _archive(session: Session, uri: str, sha256: str, part: Part) -> dict[str, Any]:
    fields = {name: getattr(part, name) for name in part.__struct_fields__}
    return {**fields, "uri": uri, "sha256": sha256, "time": session.time(time.time())}


def _group(session: Session, axis: Axis) -> dict[str, Any]:
    row = archived_blocks.portable(axis)
    arrays = {
        name: None if row[name] is None else session.array(row[name])
        for name in ("steps", "times", "progress")
    }
    return {**row, **arrays, "run": axis.run}


def _block(session: Session, block: Block, series: Any) -> dict[str, Any]:
    row = archived_blocks.portable(block, whole_numbers=series["type"] in ("int", "bool"))
    numbers = session.floats_of(row["numbers"])
    return {**row, "series": series["id"], "group": block.group, "numbers": numbers}


def _steps(held: Any) -> Any:
    """Return steps as int64, or as float64 if one is fractional or too large."""
    import numpy as np

    found: Any = np.array(_numbers(held) if isinstance(held, str) else held)
    return found if found.dtype == np.int64 else found.astype(np.float64)


def _progress_of(held: Any) -> Any:
    import numpy as np

    values = _progress(held) if isinstance(held, str) else cast("list[float | None]", list(held))
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
