"""Read Parquet files of archived points: whole, run by run, or only the row groups that a question concerns."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runbase.model import Scalar
from runbase.storage.block_files import (
    BLOCK,
    EXACT,
    INTEGERS,
    LISTS,
    OWNER,
    REALS,
    RUNS,
    TEXTS,
    Axis,
    Block,
    parquet,
    update,
)
from runbase.storage.places import Place

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Wanted(Struct, frozen=True):
    """Metrics of a run to be read from a file; keys None: all."""

    run: str
    first_row_group: int
    row_groups: int
    keys: Collection[str] | None


def digest_of(place: Place, name: str) -> str:
    """Read a whole file and return the digest of all arrays in it, to compare with that of `write`."""
    digest = hashlib.blake2b()
    for row in rows_of(place, name):
        update(digest, row)
    return digest.hexdigest()


def sha256_of(place: Place, name: str) -> str:
    """Read a whole file and return the SHA-256 of its bytes."""
    digest = hashlib.sha256()
    with place.open(name) as source:
        while piece := source.read(2**20):
            digest.update(piece)
    return digest.hexdigest()


def rows_of(
    place: Place, name: str, run: str | None = None, first: int = 0, count: int | None = None
) -> Iterator[Axis | Block]:
    """Yield the rows of a file, or of one run in some of its row groups, in their order: an axis before its blocks."""
    with place.open(name) as source:
        file = parquet().ParquetFile(source)
        end = file.num_row_groups if count is None else first + count
        for number in range(first, end):
            columns = _Columns(file.read_row_group(number))
            chosen = range(columns.size) if run is None else columns.of_run(run)
            yield from map(columns.row, chosen)


class About(Struct, frozen=True):
    """What the metadata of a file say: run → number of points, and the URL of the store that wrote it."""

    runs: dict[str, int]
    owner: str


def about(place: Place, name: str) -> About:
    """Return what the metadata of a file say."""
    with place.open(name) as source:
        metadata: dict[bytes, bytes] = parquet().read_metadata(source).metadata or {}
    return About(json.loads(metadata.get(RUNS, b"{}")), metadata.get(OWNER, b"").decode())


def read(
    place: Place,
    name: str,
    wanted: Sequence[Wanted],
    kind: str,
    *,
    start: Scalar | None = None,
    end: Scalar | None = None,
    groups: Collection[int] | None = None,
    partial: bool = False,
    times: bool = True,
) -> dict[tuple[str, str], list[tuple[Axis, Block]]]:
    """Return blocks with their axes, by run and key, in the order they were logged.

    Args:
        place: the folder of the file.
        name: its name.
        wanted: the metrics.
        kind: metric or telemetry.
        start: only groups with steps from here on.
        end: only groups with steps up to here.
        groups: only these groups.
        partial: only blocks that are not full.
        times: whether times and progress are needed; without them, less is read.
    """
    with place.open(name) as source:
        reader = _Reader(source, f"{place.url}/{name}", times=times)
        found: dict[tuple[str, str], list[tuple[Axis, Block]]] = {}
        for one in wanted:
            span = range(one.first_row_group, one.first_row_group + one.row_groups)
            axes = reader.axes(one.run, span, start, end, groups, partial=partial)
            for block in reader.blocks(one.run, span, kind, one.keys, axes):
                found.setdefault((one.run, block.key), []).append((axes[block.group], block))
    for pairs in found.values():
        pairs.sort(key=lambda pair: pair[0].seq)
    return found


def clocks(
    place: Place, name: str, wanted: Sequence[Wanted], kind: str
) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """Return the least step and the time of the first call of each group of some metrics, by run and key."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with place.open(name) as source:
        metadata, index = _footer(source, f"{place.url}/{name}")
        file = parquet().ParquetFile(source, metadata=metadata)
        for one in wanted:
            axes: dict[int, tuple[float, float]] = {}
            for number in range(one.first_row_group, one.first_row_group + one.row_groups):
                if not index[number].has_run(one.run):
                    continue
                if one.keys is not None and not index[number].concerns(one.keys):
                    continue
                for row in file.read_row_group(number, _CLOCKS).to_pylist():
                    if row["run_id"] != one.run:
                        continue
                    if row["key"] is None:
                        axes[row["group_id"]] = (row["lowest_step"], row["first_time"])
                    elif row["kind"] == kind and (one.keys is None or row["key"] in one.keys):
                        pairs = found.setdefault((one.run, row["key"]), [])
                        pairs.append(axes[row["group_id"]])
    return found


_CLOCKS = ["run_id", "kind", "key", "group_id", "lowest_step", "first_time"]


class _Columns:
    """The columns of a row group; a row is converted when it is asked for."""

    def __init__(self, table: Any, lists: Sequence[str] = LISTS) -> None:
        self.size: int = table.num_rows
        self._codes = {name: _codes(table.column(name)) for name in ("run_id", "kind", "key")}
        self._cells = {
            name: table.column(name).combine_chunks() for name in (*TEXTS, *INTEGERS, *REALS)
        }
        self._lists = {name: _parts(table.column(name).combine_chunks()) for name in lists}

    def places(
        self, run: str, kind: str | None = None, keys: Collection[str] | None = None
    ) -> list[int]:
        """Return the places of a run's rows of a kind with some keys; kind None: its axes."""
        import numpy as np

        chosen = self._are("run_id", [run]) & self._are("kind", [kind])
        if keys is not None:
            chosen &= self._are("key", keys)
        return np.flatnonzero(chosen).tolist()

    def of_run(self, run: str) -> list[int]:
        """Return the places of all rows of a run."""
        import numpy as np

        return np.flatnonzero(self._are("run_id", [run])).tolist()

    def _are(self, name: str, values: Collection[str | None]) -> "NDArray[np.bool_]":
        import numpy as np

        codes, names = self._codes[name]
        wanted = [names.get(value, -2) for value in values]
        return codes == wanted[0] if len(wanted) == 1 else np.isin(codes, wanted)

    def groups(self, places: Sequence[int]) -> list[int]:
        """Return the groups of some rows."""
        return self._cells["group_id"].take(places).to_pylist() if places else []

    def row(self, place: int) -> Axis | Block:
        """Return a row."""
        cells = {name: column[place].as_py() for name, column in self._cells.items()}
        if cells["key"] is not None:
            numbers: Any = self._lists["numbers"](place)
            return Block(
                run=cells["run_id"],
                group=cells["group_id"],
                numbers=numbers,
                **{name: cells[name] for name in _BLOCK},
            )
        steps: Any = self._lists["steps"](place)
        steps = self._lists["real_steps"](place) if steps is None else steps
        first, stride = cells["first_step"], cells["stride"]
        if steps is not None:
            first = steps[0].item()
            if abs(first) > EXACT and (known := _stride_of(steps)) is not None:
                steps, stride = None, known
        times: Any = self._lists["times"](place) if "times" in self._lists else _NONE
        return Axis(
            run=cells["run_id"],
            seq=cells["seq"],
            group=cells["group_id"],
            journal=cells["journal_id"],
            keys_hash=cells["keys_hash"],
            count=cells["count"],
            first_step=_scalar(first),
            stride=None if stride is None else _scalar(stride),
            steps=steps,
            **_ends(cells, first, stride, steps),
            first_time=cells["first_time"],
            times=times,
            progress=self._lists["progress"](place) if "progress" in self._lists else None,
        )


_OF_TIMES = ("times", "progress")
_NONE: "tuple[int, ...]" = ()
"""The times of an axis whose times were not read."""
_BLOCK = ("kind", "key", "seq", "count", "nans", "min", "max", "sum")


def _stride_of(steps: "NDArray[Any]") -> int | None:
    """Return the constant distance between whole steps; None if it varies."""
    import numpy as np

    distances = np.unique(np.diff(steps)).tolist()
    if steps.dtype.kind != "i" or len(distances) > 1:
        return None
    return distances[0] if distances else 1


def _ends(
    cells: Mapping[str, Any], first: Scalar, stride: Scalar | None, steps: "NDArray[Any] | None"
) -> dict[str, Scalar]:
    """Return the least and the greatest step of an axis, exactly."""
    if steps is not None:
        ends = [steps.min().item(), steps.max().item()]
    elif stride is not None:
        ends = sorted([first, first + stride * (cells["count"] - 1)])
    else:
        ends = [cells["lowest_step"], cells["highest_step"]]
    return {"lowest_step": _scalar(ends[0]), "highest_step": _scalar(ends[1])}


def _scalar(value: Scalar) -> Scalar:
    return int(value) if value == int(value) else value


def _codes(column: Any) -> "tuple[NDArray[np.int64], dict[str | None, int]]":
    """Return a code for each row of a text column, -1 for null, and the code of each text."""
    import numpy as np

    array = column.combine_chunks()
    array = array if hasattr(array, "indices") else array.dictionary_encode()
    codes = np.asarray(array.indices.fill_null(-1)).astype(np.int64)
    names: dict[str | None, int] = {
        name: code for code, name in enumerate(array.dictionary.to_pylist())
    }
    return codes, {**names, None: -1}


def _parts(column: Any) -> "Callable[[int], NDArray[Any] | None]":
    """Return a function from a row to its array of a list column."""
    import numpy as np

    offsets, flat = np.asarray(column.offsets), np.asarray(column.values)
    valid = np.asarray(column.is_valid())

    def part(place: int) -> "NDArray[Any] | None":
        return flat[offsets[place] : offsets[place + 1]] if valid[place] else None

    return part


class _RowGroup(Struct, frozen=True):
    """What the statistics of a row group tell."""

    runs: tuple[str, str]
    has_axes: bool
    has_blocks: bool
    keys: tuple[str, str] | None
    groups: tuple[int, int]
    counts: tuple[int, int]
    steps: tuple[float, float] | None

    def has_run(self, run: str) -> bool:
        """Return whether rows of a run can be in it."""
        return self.runs[0] <= run <= self.runs[1]

    def may_have(self, keys: Collection[str]) -> bool:
        """Return whether blocks of some metrics can be in it."""
        if self.keys is None:
            return True
        least, greatest = self.keys
        return any(least <= key <= greatest for key in keys)

    def concerns(self, keys: Collection[str]) -> bool:
        """Return whether it has axes, or can have blocks of some metrics."""
        return self.has_axes or (self.has_blocks and self.may_have(keys))


class _Reader:
    """Reads rows of one open file; each row group at most once."""

    def __init__(self, source: Any, address: str, *, times: bool) -> None:
        metadata, self._index = _footer(source, address)
        self._file = parquet().ParquetFile(source, metadata=metadata)
        self._lists = LISTS if times else tuple(n for n in LISTS if n not in _OF_TIMES)
        self._held: dict[int, _Columns] = {}

    def _read(self, number: int) -> _Columns:
        if number not in self._held:
            self._held[number] = _Columns(
                self._file.read_row_group(
                    number, [*TEXTS, *INTEGERS, *REALS, *self._lists], use_threads=False
                ),
                self._lists,
            )
        return self._held[number]

    def axes(
        self,
        run: str,
        span: range,
        start: Scalar | None,
        end: Scalar | None,
        groups: Collection[int] | None,
        *,
        partial: bool,
    ) -> dict[int, Axis]:
        """Return the axes of a run, by group."""
        low, high = _bounds(groups)
        found: dict[int, Axis] = {}
        for number in span:
            about = self._index[number]
            if not (about.has_axes and about.has_run(run)):
                continue
            if about.groups[1] < low or about.groups[0] > high:
                continue
            if (partial and about.counts[0] >= BLOCK) or not _meets(about.steps, start, end):
                continue
            columns = self._read(number)
            places = columns.places(run)
            for row, group in zip(places, columns.groups(places), strict=True):
                if groups is not None and group not in groups:
                    continue
                axis = columns.row(row)
                assert isinstance(axis, Axis)
                if partial and axis.count >= BLOCK:
                    continue
                if _meets((axis.lowest_step, axis.highest_step), start, end):
                    found[group] = axis
        return found

    def blocks(
        self,
        run: str,
        span: range,
        kind: str,
        keys: Collection[str] | None,
        axes: Collection[int],
    ) -> Iterator[Block]:
        """Yield the blocks of a run with some keys in some groups."""
        if not axes:
            return
        low, high = _bounds(axes)
        for number in span:
            about = self._index[number]
            if not (about.has_blocks and about.has_run(run)):
                continue
            if about.groups[1] < low or about.groups[0] > high:
                continue
            if keys is not None and not about.may_have(keys):
                continue
            columns = self._read(number)
            places = columns.places(run, kind, keys)
            for row, group in zip(places, columns.groups(places), strict=True):
                if group in axes:
                    block = columns.row(row)
                    assert isinstance(block, Block)
                    yield block


def _bounds(groups: Collection[int] | None) -> tuple[float, float]:
    if groups is None:
        return float("-inf"), float("inf")
    return (min(groups), max(groups)) if groups else (0, -1)


def _meets(steps: tuple[Scalar, Scalar] | None, start: Scalar | None, end: Scalar | None) -> bool:
    if steps is None:
        return True
    return (start is None or steps[1] >= start) and (end is None or steps[0] <= end)


def _footer(source: Any, address: str) -> tuple[Any, list[_RowGroup]]:
    """Return the metadata of a file and what they tell of its row groups; those of the last files are kept."""
    held = _FOOTERS.get(address)
    if held is None:
        metadata = parquet().read_metadata(source)
        source.seek(0)
        index = [_about(metadata.row_group(number)) for number in range(metadata.num_row_groups)]
        if len(_FOOTERS) >= 64:
            _FOOTERS.pop(next(iter(_FOOTERS)), None)
        held = _FOOTERS[address] = metadata, index
    return held


_FOOTERS: dict[str, tuple[Any, list[_RowGroup]]] = {}
"""Address → metadata of files that were read: a file never changes."""


def _range(lowest: Any, highest: Any) -> tuple[float, float] | None:
    """Return the range of steps; None if it is not known exactly."""
    if not (lowest.has_min_max and highest.has_min_max):
        return None
    return None if max(-lowest.min, highest.max) > EXACT else (lowest.min, highest.max)


def _about(row_group: Any) -> _RowGroup:
    columns = [row_group.column(number) for number in range(row_group.num_columns)]
    named = {column.path_in_schema: column.statistics for column in columns}
    key, lowest, highest = named["key"], named["lowest_step"], named["highest_step"]
    rows = row_group.num_rows
    return _RowGroup(
        runs=(named["run_id"].min, named["run_id"].max),
        has_axes=key is None or key.null_count > 0,
        has_blocks=key is None or key.null_count < rows,
        keys=(key.min, key.max) if key is not None and key.has_min_max else None,
        groups=(named["group_id"].min, named["group_id"].max),
        counts=(named["count"].min, named["count"].max),
        steps=_range(lowest, highest),
    )
