"""What a format of run folders is, and what such formats share."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from runbase.events import Opened, Points, Process, Scalar
from runbase.ids import derived_id
from runbase.journal import VERSION
from runbase.storage.records import Delivery

Reached = Callable[[str], int]
"""How far a journal, by its id, is in the store."""
Keep = Callable[[str, str, bytes], "str | None"]
"""Keeps bytes that stand inside another file as a file of a run (id, name, bytes). The place where it is; None where
the store has no folder for files."""


STILL = 180.0
"""Seconds without a change after which a run that never says how it ended counts as over."""


class Unreadable(Exception):
    """A folder that looks like a run's and cannot be read: why."""


class Folder(Struct, frozen=True, kw_only=True):
    """A run folder, read."""

    run: str
    """The id of the run."""
    deliveries: Iterator[Delivery] | list[Delivery]
    source_status: str | None = None
    """Its state in its own words."""
    checkpoint: str | None = None
    """The artifact that is its checkpoint."""
    live: bool = False
    """Whether it is to be read again even if no file changes."""
    left_out: dict[str, int] = {}
    """What runbase does not keep: kind → how many. Filled while deliveries are read."""


class Format(Protocol):
    """A module that reads one kind of run folder."""

    @property
    def NAME(self) -> str:  # noqa: N802 - a constant of the module
        """What it is called."""
        ...

    def tells(self, folder: str, names: set[str]) -> list[str]:
        """The files that tell of the run; none: the folder is not of this format."""
        ...

    def read(self, folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
        """The run, and what is new of it."""
        ...


def opening(run: str, journal: str, experiment: str, name: str, began: float) -> tuple[Opened, str]:
    """The event that makes a run known, for a journal that a scan stands in for, and the journal's id."""
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
    rows: Iterable[Mapping[str, Any]], step_key: str, first: int, time: float
) -> Iterator[Points]:
    """Rows of a table of metrics as log calls, neighbours with the same keys together; text and blanks are left out."""
    keys: tuple[str, ...] = ()
    steps: list[Scalar] = []
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
                yield Points(keys=keys, steps=steps, times=[time] * len(steps), columns=columns)
            keys, steps, columns = tuple(values), [], [[] for _ in values]
        whole = number if step is None else step
        steps.append(int(whole) if whole == int(whole) else whole)
        for column, value in zip(columns, values.values(), strict=True):
            column.append(value)
    if steps:
        yield Points(keys=keys, steps=steps, times=[time] * len(steps), columns=columns)


def number_of(text: Any) -> float | None:
    """A number in a cell; None for what is none."""
    if text is None or text == "":
        return None
    if isinstance(text, bool):
        return float(text)
    try:
        found = float(text)
    except (TypeError, ValueError):
        return {"true": 1.0, "false": 0.0}.get(str(text).strip().lower())
    return (
        found
        if not math.isinf(found) or str(text).strip().lower().lstrip("+-").startswith("inf")
        else None
    )
