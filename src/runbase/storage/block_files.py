"""Parquet files of archived points: the rows of `groups` and `blocks` of many runs, sorted by run, key and group.

Row groups have either full blocks and their axes, or those that are not full: the chart of a long metric needs only the latter.

A row without a key is an axis: steps, times and progress of the log calls of a group. A row with a key has the values of this
metric in a group. Statistics of the row groups tell which of them a question concerns.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from runbase.extras import load
from runbase.model import Scalar
from runbase.storage.places import Place

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 1024
"""Log calls of a full block."""
POINTS = 2**18
"""Numbers from which a row group is written: 2 MB before compression, which are read in 3 ms."""
ROWS = 2**13
"""Rows from which a row group is written."""
EXACT = 2**53
"""Integers up to this size are exact as float64."""
RUNS = b"runbase.runs"
OWNER = b"runbase.store"
TEXTS = ("run_id", "kind", "key", "journal_id", "keys_hash")
INTEGERS = ("seq", "group_id", "count", "nans")
REALS = (
    "first_step", "stride", "lowest_step", "highest_step", "first_time", "min", "max", "sum",
)  # fmt: skip
LISTS = ("steps", "real_steps", "times", "progress", "numbers")
_WHOLE = ("steps", "times")
"""Lists of integers; the others have float64."""


class Axis(Struct, kw_only=True):
    """The steps and times of the log calls of a group, as the table `groups` has them."""

    run: str
    seq: int
    group: int
    journal: str
    keys_hash: str
    count: int
    first_step: Scalar
    stride: Scalar | None
    steps: "NDArray[Any] | None"
    lowest_step: Scalar
    highest_step: Scalar
    first_time: float
    times: "NDArray[np.int64]"
    progress: "NDArray[np.float64] | None"
    """NaN where a call had none."""


class Block(Struct, kw_only=True):
    """The values of a metric in a group, as the table `blocks` has them."""

    run: str
    kind: str
    key: str
    seq: int
    group: int
    count: int
    nans: int
    min: float | None
    max: float | None
    sum: float | None
    numbers: "NDArray[np.float64]"


class Part(Struct, frozen=True, kw_only=True):
    """Where the points of a run are in a file."""

    run: str
    first_row_group: int
    row_groups: int
    groups: int
    points: int
    last_seq: int
    last_group: int
    bytes: int
    """Its share of the file."""


class Written(Struct, frozen=True):
    """A file that was written: its parts, size and SHA-256, and a digest of all arrays in it."""

    parts: list[Part]
    size: int
    sha256: str
    digest: str


def write(place: Place, name: str, rows: Iterator[Axis | Block], owner: str) -> Written:
    """Write rows, which come sorted by run; of each run its axes first, then its blocks by kind and key.

    Args:
        place: the folder.
        name: the name of the file.
        rows: the rows.
        owner: the URL of the store, kept in the metadata: only that store changes or removes the file.
    """
    made: list[_Writer] = []

    def work(file: Any) -> None:
        hashed = _Hashed(file)
        writer = _Writer(hashed)
        try:
            for row in rows:
                writer.add(row)
            writer.close(owner)
        except BaseException:
            hashed.given_up = True
            raise
        writer.sha256 = hashed.digest.hexdigest()
        made.append(writer)

    size = place.write(name, work)
    return Written(made[0].parts(size), size, made[0].sha256, made[0].digest.hexdigest())


def parquet() -> Any:
    """Return the module of PyArrow that reads and writes Parquet."""
    return load("pyarrow.parquet", "analysis", "an archive")


class _Hashed:
    """A file that is written in one go, and the SHA-256 of what was written."""

    def __init__(self, file: Any) -> None:
        self._file, self.digest = file, hashlib.sha256()
        self.closed = False
        self.given_up = False
        """Whether what is still written is of no use: PyArrow ends the file also after an exception."""

    def write(self, data: Any) -> int:
        if self.given_up:
            return len(data)
        self.digest.update(data)
        self._file.write(data)
        return len(data)

    def tell(self) -> int:
        return 0 if self.given_up else self._file.tell()

    def flush(self) -> None: ...

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


class _Held(Struct):
    """Rows of the next row group, and how many numbers they have."""

    rows: list[Axis | Block] = []
    numbers: int = 0


class _Writer:
    def __init__(self, file: Any) -> None:
        arrow = load("pyarrow", "analysis", "an archive")
        self.digest = hashlib.blake2b()
        self.sha256 = ""
        self._full, self._partial = _Held(), _Held()
        self._row_group = 0
        self._spans: dict[str, list[int]] = {}
        self._groups: dict[str, list[int]] = {}
        self._weights: dict[str, int] = {}
        self._points: dict[str, int] = {}
        text, whole = arrow.dictionary(arrow.int32(), arrow.string()), arrow.int64()
        types = dict.fromkeys(TEXTS, text) | dict.fromkeys(INTEGERS, whole)
        types |= {name: arrow.float64() for name in REALS}
        types |= {name: arrow.list_(whole if name in _WHOLE else arrow.float64()) for name in LISTS}
        self._schema = arrow.schema(list(types.items()))
        encodings = {
            f"{name}.list.element": "DELTA_BINARY_PACKED" if name in _WHOLE else "BYTE_STREAM_SPLIT"
            for name in LISTS
        }
        self._writer = parquet().ParquetWriter(
            file, self._schema, compression="zstd", compression_level=3, store_schema=False,
            use_dictionary=list(TEXTS),
            write_statistics=["run_id", "key", "group_id", "count", "lowest_step", "highest_step"], column_encoding=encodings,
        )  # fmt: skip

    def add(self, row: Axis | Block) -> None:
        held = self._full if row.count >= BLOCK else self._partial
        if held.numbers >= POINTS or len(held.rows) >= ROWS:
            self._flush(held)
        held.rows.append(_exact(row) if isinstance(row, Axis) else row)
        held.numbers += row.count
        self._weights[row.run] = self._weights.get(row.run, 0) + row.count
        if isinstance(row, Axis):
            known = self._groups.setdefault(row.run, [0, 0, 0])
            known[:] = [known[0] + 1, max(known[1], row.seq), max(known[2], row.group)]
        else:
            self._points[row.run] = self._points.get(row.run, 0) + row.count

    def close(self, owner: str) -> None:
        self._flush(self._full)
        self._flush(self._partial)
        self._writer.add_key_value_metadata({RUNS: json.dumps(self._points), OWNER: owner})
        self._writer.close()

    def parts(self, size: int) -> list[Part]:
        """Return where each run is; `size` is that of the file in bytes."""
        weights = sum(self._weights.values()) or 1
        return [
            Part(
                run=run,
                first_row_group=first,
                row_groups=last - first + 1,
                groups=self._groups[run][0],
                points=self._points.get(run, 0),
                last_seq=self._groups[run][1],
                last_group=self._groups[run][2],
                bytes=size * self._weights[run] // weights,
            )
            for run, (first, last) in sorted(self._spans.items())
        ]

    def _flush(self, held: "_Held") -> None:
        """Write the rows that are held as a row group."""
        if not held.rows:
            return
        arrow = load("pyarrow", "analysis", "an archive")
        for row in held.rows:
            update(self.digest, row)
            self._spans.setdefault(row.run, [self._row_group, 0])[1] = self._row_group
        columns = [self._column(arrow, name, held.rows) for name in self._schema.names]
        self._writer.write_table(arrow.table(columns, schema=self._schema), row_group_size=10**9)
        held.rows, held.numbers = [], 0
        self._row_group += 1

    def _column(self, arrow: Any, name: str, rows: Sequence[Axis | Block]) -> Any:
        field = self._schema.field(name)
        values = [_cell(row, name) for row in rows]
        if name not in LISTS:
            column = arrow.array(values, arrow.string() if name in TEXTS else field.type)
            return column.dictionary_encode() if name in TEXTS else column
        import numpy as np

        kind = np.int64 if name in _WHOLE else np.float64
        lengths = [0 if value is None else len(value) for value in values]
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        mask = arrow.array([value is None for value in values])
        flat = np.concatenate([np.empty(0, kind), *(v for v in values if v is not None)])
        return arrow.ListArray.from_arrays(
            arrow.array(offsets), arrow.array(flat.astype(kind, copy=False)), mask=mask
        )


def _cell(row: Axis | Block, name: str) -> Any:
    """Return the value of a column of a row."""
    name = {"run_id": "run", "journal_id": "journal", "group_id": "group"}.get(name, name)
    if name in REALS:
        value = getattr(row, name, None)
        return None if value is None else float(value)
    if isinstance(row, Block) or name not in ("steps", "real_steps"):
        return getattr(row, name, None)
    if row.steps is None:
        return None
    return row.steps if (row.steps.dtype.kind == "i") == (name == "steps") else None


def _exact(axis: Axis) -> Axis:
    """Return an axis whose steps are exact in a file: explicit if they are too large for a float64."""
    if axis.stride is None or max(abs(axis.lowest_step), abs(axis.highest_step)) <= EXACT:
        return axis
    import numpy as np

    steps = axis.first_step + np.arange(axis.count) * axis.stride
    return structs.replace(axis, steps=steps, stride=None)


def update(digest: Any, row: Axis | Block) -> None:
    """Add a row to a digest: what identifies it, and its arrays."""
    if isinstance(row, Axis):
        explicit = _exact(row).steps
        steps = b"" if explicit is None else explicit.tobytes()
        head = (row.run, row.seq, row.group, row.count, row.first_time, float(row.lowest_step))
        digest.update(repr(head).encode() + steps + row.times.tobytes())
        if row.progress is not None:
            digest.update(row.progress.tobytes())
    else:
        figures = [None if one is None else float(one) for one in (row.min, row.max)]
        head = (row.run, row.kind, row.key, row.group, row.count, row.nans, figures)
        digest.update(repr(head).encode() + row.numbers.tobytes())
