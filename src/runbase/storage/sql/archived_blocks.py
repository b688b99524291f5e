"""Read blocks of archived runs from their files, as rows like those of the tables."""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from runbase.errors import StoreError, counted
from runbase.model import Scalar
from runbase.storage import block_reader
from runbase.storage.archive_protocol import FOLDER, Archived
from runbase.storage.arrays import encode_numbers
from runbase.storage.block_files import Axis, Block
from runbase.storage.places import Place
from runbase.storage.sql.session import Session

Rows = dict[tuple[str, str], list[Any]]
"""Blocks by run and key."""


def find(session: Session, runs: Sequence[str]) -> list[Archived]:
    """Return the archives of runs."""
    fields = [name for name in Archived.__struct_fields__ if name not in ("run", "created_at")]
    return [
        Archived(
            run=row["run_id"],
            created_at=_known(session.moment(row["created_at"])),
            **{name: row[name] for name in fields},
        )
        for row in session.rows("archives_of", runs=session.as_list(runs))
    ]


def of_series(
    session: Session,
    run: str,
    key: str,
    kind: str,
    start: Scalar | None = None,
    end: Scalar | None = None,
) -> list[Any]:
    """Return the archived blocks of a metric with points between two steps, in the order they were logged."""
    return of_runs(session, {run: [key]}, kind, start, end).get((run, key), [])


def of_runs(
    session: Session,
    keys: Mapping[str, Collection[str] | None],
    kind: str,
    start: Scalar | None = None,
    end: Scalar | None = None,
    *,
    groups: Collection[int] | None = None,
    partial: bool = False,
    times: bool = True,
) -> Rows:
    """Return the archived blocks of metrics of runs.

    Args:
        session: a session inside a transaction.
        keys: run → its metrics; None: all.
        kind: metric or telemetry.
        start: only groups with steps from here on.
        end: only groups with steps up to here.
        groups: only these groups.
        partial: only blocks that are not full.
        times: whether times are needed; without them, less is read.

    Raises:
        StoreError: a file is missing or damaged.
    """
    found: Rows = {}
    for uri, wanted in _by_file(session, keys).items():
        with _readable(session, uri) as (place, name):
            pairs = block_reader.read(
                place,
                name,
                wanted,
                kind,
                start=start,
                end=end,
                groups=groups,
                partial=partial,
                times=times,
            )
        for of, rows in pairs.items():
            found[of] = [_row(axis, block) for axis, block in rows]
    return found


def clocks(
    session: Session, keys: Mapping[str, Collection[str]], kind: str
) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Return least step and first time of each archived group of some metrics, by run and key."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for uri, wanted in _by_file(session, keys).items():
        with _readable(session, uri) as (place, name):
            found |= block_reader.clocks(place, name, wanted, kind)
    return found


def whole(session: Session, archived: Archived) -> Iterator[Axis | Block]:
    """Yield all archived rows of a run: axes first."""
    with _readable(session, archived.uri) as (place, name):
        yield from block_reader.rows_of(
            place, name, archived.run, archived.first_row_group, archived.row_groups
        )


def portable(row: Axis | Block, *, whole_numbers: bool = False) -> dict[str, Any]:
    """Return a row as the plain data of a dump, with arrays as JSON text.

    Args:
        row: the row.
        whole_numbers: write numbers without a fraction as integers.
    """
    if isinstance(row, Axis):
        progress = None
        if row.progress is not None:
            progress = encode_numbers(
                [None if one != one else one for one in row.progress.tolist()]
            )
        return {
            "id": row.group,
            "journal_id": row.journal,
            **{name: getattr(row, name) for name in _AXIS},
            "steps": None if row.steps is None else encode_numbers(row.steps.tolist()),
            "times": encode_numbers(row.times.tolist()),
            "progress": progress,
        }
    values: list[Any] = row.numbers.tolist()
    if whole_numbers:
        values = [int(value) if value.is_integer() else value for value in values]
    return {
        "group_id": row.group,
        **{name: getattr(row, name) for name in ("count", "nans", "min", "max", "sum")},
        "numbers": encode_numbers(values),
    }


_AXIS = (
    "seq", "keys_hash", "count", "first_step", "stride", "lowest_step", "highest_step", "first_time",
)  # fmt: skip


def _by_file(
    session: Session, keys: Mapping[str, Collection[str] | None]
) -> dict[str, list[block_reader.Wanted]]:
    files: dict[str, list[block_reader.Wanted]] = {}
    for part in find(session, list(keys)):
        wanted = block_reader.Wanted(
            part.run, part.first_row_group, part.row_groups, keys[part.run]
        )
        files.setdefault(part.uri, []).append(wanted)
    return files


@contextmanager
def _readable(session: Session, uri: str) -> Generator[tuple[Place, str]]:
    """Yield the folder and the name of a file; errors of reading it are a StoreError."""
    try:
        yield located(session, uri)
    except (OSError, ValueError) as error:  # PyArrow's errors are both
        raise unreadable(uri, error) from error


def located(session: Session, uri: str) -> tuple[Place, str]:
    """Return the folder and the name of a file: that beside the database, for a home that was moved or copied; else its path."""
    folder, _, name = uri.rpartition("/")
    if "://" not in uri and session.dialect == "sqlite":
        file = session.query("select file from pragma_database_list where name = 'main'", {})[0][0]
        beside = Path(file).parent / FOLDER
        if (beside / name).exists():
            return Place(str(beside)), name
    return Place(folder), name


def problems(session: Session) -> list[str]:
    """Return which files of archives are missing, or do not have the points of their runs."""
    files: dict[str, dict[str, int]] = {}
    for row in session.rows("archived_files"):
        files.setdefault(row["uri"], {})[row["run_id"]] = row["points"]
    found: list[str] = []
    for uri, runs in files.items():
        what = f"the archive {uri}, which has the points of {counted(len(runs), 'run')},"
        try:
            place, name = located(session, uri)
            there = block_reader.about(place, name).runs
        except (OSError, ValueError):
            found.append(f"{what} is missing or damaged; put it back from a copy")
            continue
        if any(there.get(run) != points for run, points in runs.items()):
            found.append(f"{what} does not have all of them; put it back from a copy")
    return found


def unreadable(uri: str, error: Exception) -> StoreError:
    """Return the error for a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        why = "does not exist on this machine; put it back where it was"
    else:
        why = f"cannot be read: {str(error).partition('. Detail')[0]}"
    return StoreError(f"the archive {uri}, which has the points of this run, {why}")


def _row(axis: Axis, block: Block) -> dict[str, Any]:
    return {
        "group_id": axis.group,
        "seq": axis.seq,
        "count": block.count,
        "first_step": axis.first_step,
        "stride": axis.stride,
        "steps": axis.steps,
        "lowest_step": axis.lowest_step,
        "first_time": axis.first_time,
        "times": axis.times,
        "numbers": block.numbers,
    }


def _known(moment: Any) -> Any:
    assert moment is not None
    return moment
