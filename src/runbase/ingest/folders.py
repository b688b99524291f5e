"""The interface of run folder formats, and functions that they share."""

import io
import math
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from runbase.events import Opened, Points, Process, Scalar
from runbase.ids import derived_id
from runbase.ingest.untrusted import csv_rows
from runbase.journal import VERSION
from runbase.storage.types import Delivery
from runbase.typing import JsonObject

Reached = Callable[[str], int]
"""Returns how many bytes (or rows) of a journal, by its id, are stored."""
Keep = Callable[[str, str, bytes], "str | None"]
"""Writes bytes that are embedded in another file to a file of a run (id, name, bytes). Returns the file's path; None if
the store has no folder for files.
"""


_ATTEMPTS = 5
"""How often to try reading a file that changes while it is read."""
_BEGINNING = 2**16
"""Bytes at the beginning of a file that are compared to detect whether it was extended or rewritten."""
STILL = 180.0
"""Seconds without a change after which a run that never reports its end is considered ended."""


class Unreadable(Exception):
    """A folder looks like a run folder and cannot be read; the message is the reason."""


class Folder(Struct, frozen=True, kw_only=True):
    """The content of a run folder."""

    run: str
    """The id of the run."""
    deliveries: Iterator[Delivery] | list[Delivery]
    source_status: str | None = None
    """The run's status in the source's own terms."""
    checkpoint: str | None = None
    """The artifact that is the run's checkpoint."""
    live: bool = False
    """Whether to read the folder again even if no file changes."""
    left_out: dict[str, int] = {}
    """Data that runbase does not store: kind → number."""
    scope: str = ""
    """The scope of `attributes`."""
    attributes: JsonObject = {}
    """Other data of the run in the folder. `display_name` is also the run's name; `tags` are those that the folder sets."""


class Format(Protocol):
    """A module that reads one kind of run folder."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a constant of the module
        """The name of the format."""
        ...

    def tells(self, folder: str, names: set[str]) -> list[str]:
        """Return the files that describe the run; empty: the folder is not of this format.

        `names` has the files of the folder, and its subfolders with a final slash. Files of subfolders are returned as paths
        relative to the folder.
        """
        ...

    def read(self, folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
        """Read the run, and what is new of it."""
        ...


class Table(Struct, frozen=True):
    """A CSV table of metrics, read at one moment, and which of its rows are new."""

    rows: list[JsonObject]
    first: int
    """The index of the first new row."""
    reached: int
    """The position after the last row, to pass as `known` next time."""
    problems: list[str]
    changed: float
    """When the file was changed, in seconds since the epoch."""

    @property
    def new(self) -> list[JsonObject]:
        """Return the new rows."""
        return self.rows[self.first :]


def read_table(path: Path, known: int, *, over: bool, **options: Any) -> Table:
    """Read a table that a program may be rewriting at this moment.

    Training programs rewrite such a file whole when a metric is added, and may start it again when they are resumed. The
    file is read at once. The last line counts only if it is complete, or if no process writes any more.

    Args:
        path: the file.
        known: `reached` of the last time; 0: it was never read.
        over: whether the run has ended, so that the file is complete.
        options: arguments of `csv.DictReader`, such as the delimiter.

    Raises:
        Unreadable: the first row is not a header, or the file changed during each of several attempts to read it.
    """
    raw, changed = _steady(path)
    over = over or time.time() - changed > STILL
    if not over:
        raw = raw[: raw.rfind(b"\n") + 1]
    problems: list[str] = []
    text = io.StringIO(raw.decode("utf-8", "replace"), newline="")
    rows = list(csv_rows(text, problems.append, **options))
    if rows and raw.count(b'"') % 2 and not over:
        rows.pop()  # a quoted cell with a line break is still being written
    header = list(rows[0]) if rows else []
    if header and all(number_of(name) is not None for name in header):
        raise Unreadable(
            f"the first row of {path.name} is not a header: {', '.join(header[:3])}, …"
        )
    count, mark = divmod(known, 2**32)
    first = count
    if count and (over or len(rows) >= count):
        kept = len(rows) >= count and _mark(rows[count - 1]) == mark
        first = count if kept else 0  # the file was started again: all of its rows are new
    if first > len(rows) or not rows:
        return Table(rows, len(rows), known, problems, changed)
    return Table(rows, first, len(rows) * 2**32 + _mark(rows[-1]), problems, changed)


def _steady(path: Path) -> tuple[bytes, float]:
    """Read a file as it was at one moment; returns its bytes and its modification time. Rows may be added meanwhile."""
    for _ in range(_ATTEMPTS):
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            raw = file.read(before.st_size)
            after = os.fstat(file.fileno())
            same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
            if not same:  # added rows do not change the beginning
                file.seek(0)
                same = after.st_size >= len(raw) and file.read(_BEGINNING) == raw[:_BEGINNING]
        if same and len(raw) == before.st_size:
            return raw, before.st_mtime
    raise Unreadable(f"{path.name} is being rewritten; the next scan reads it")


def _mark(row: Mapping[str, object]) -> int:
    """Return a checksum of 32 bits of a row that does not change when columns are added."""
    cells = sorted((key, str(value)) for key, value in row.items() if value not in (None, ""))
    return zlib.crc32(repr(cells).encode())


def opening(run: str, journal: str, experiment: str, name: str, began: float) -> tuple[Opened, str]:
    """Create the first event of a run, for the journal that stands for a scanned file; returns it and the journal's id."""
    key = derived_id(run, journal)
    process = Process("", 0)
    return (
        Opened(
            time=began,
            version=VERSION,
            journal=key,
            run=run,
            experiment=experiment,
            name=name,
            process=process,
        ),
        key,
    )


def rows_to_points(
    rows: Iterable[Mapping[str, object]],
    step_key: str,
    first: int,
    time: float | Callable[[Mapping[str, object]], float],
) -> Iterator[Points]:
    """Convert rows of a table of metrics to points; adjacent rows with the same keys are combined, text and blanks are left out.

    Args:
        rows: column → value of each row.
        step_key: the column with the steps.
        first: the step of the first row without one.
        time: when the rows were written, in seconds since the epoch, or a function that returns it.
    """
    keys: tuple[str, ...] = ()
    steps: list[Scalar] = []
    times: list[float] = []
    columns: list[list[Scalar]] = []
    for number, row in enumerate(rows, first):
        values = {
            key: v
            for key, text in row.items()
            if key != step_key and (v := number_of(text)) is not None
        }
        if not values:
            continue
        step = number_of(row.get(step_key))
        if tuple(values) != keys or len(steps) == 1024:
            if steps:
                yield Points(keys=keys, steps=steps, times=times, columns=columns)
            keys, steps, times, columns = tuple(values), [], [], [[] for _ in values]
        whole = number if step is None else step
        steps.append(int(whole) if whole == int(whole) else whole)
        times.append(time(row) if callable(time) else time)
        for column, value in zip(columns, values.values(), strict=True):
            column.append(value)
    if steps:
        yield Points(keys=keys, steps=steps, times=times, columns=columns)


def number_of(text: Any) -> float | None:
    """Parse a number in a cell; None if it is not a number."""
    if text is None or text == "":
        return None
    if isinstance(text, bool):
        return float(text)
    try:
        number = float(text)
    except (TypeError, ValueError):
        return {"true": 1.0, "false": 0.0}.get(str(text).strip().lower())
    return (
        number
        if not math.isinf(number) or str(text).strip().lower().lstrip("+-").startswith("inf")
        else None
    )
