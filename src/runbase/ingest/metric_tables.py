"""Read run folders whose curves are one CSV table, and which do not record how the run ended.

A run whose files have not changed for three minutes is COMPLETED, and is resumed when they grow again.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from runbase.events import Ended, Params, Problem, Started
from runbase.ids import derived_id
from runbase.ingest.folders import (
    STILL,
    Folder,
    Reached,
    Table,
    Unreadable,
    number_of,
    opening,
    read_table,
    rows_to_points,
)
from runbase.ingest.untrusted import load_yaml
from runbase.status import Status
from runbase.storage.types import Delivery
from runbase.typing import JsonObject
from runbase.values import flatten


class TableFormat(Struct, frozen=True, kw_only=True):
    """How the table of a format is read."""

    name: str
    """The name of the format."""
    table: str
    """The file."""
    steps: tuple[str, ...]
    """Columns that can be the steps: the first one that the table has."""
    elapsed: str | None = None
    """The column with the seconds since the start; None: a point has the modification time of the file."""
    options: dict[str, Any] = {}
    """Arguments of `csv.DictReader`."""


def read_folder(
    form: TableFormat,
    folder: Path,
    names: Sequence[str],
    reached: Reached,
    *,
    experiment: str | None = None,
    name: str | None = None,
    params: Callable[[], JsonObject] = dict,
) -> Folder:
    """Read new rows, and with the first of them the parameters.

    Args:
        form: how to read the table.
        folder: the folder.
        names: the files that describe the run; the table may be missing.
        reached: returns how far a file has been read.
        experiment: the name of the experiment. Default: that of the parent folder, else of the format.
        name: the display name of the run. Default: that of the folder.
        params: returns the parameters.
    """
    experiment = experiment or folder.parent.name or form.name
    name = name or folder.name or form.name
    run = derived_id(form.name, str(folder))
    began = min((folder / file).stat().st_mtime for file in names)
    first, journal = opening(run, form.table, experiment, name, began)
    known = reached(journal)  # twice the number of rows read; odd if the run was considered ended
    table = _table(form, folder, names, known // 2)
    header = list(table.rows[0]) if table.rows else []
    step = next((column for column in form.steps if column in header), None)
    if header and step is None:
        neither, *nor = form.steps
        raise Unreadable(
            f"{form.table} has neither a column {neither} nor a column {nor[0]}"
            if nor
            else f"{form.table} has no column {neither}"
        )
    ended = time.time() - table.changed > STILL
    offset = 2 * table.reached + (1 if ended else 0)
    events: list[Any] = []
    if known == 0:
        events = [first, Started(time=began)]
        if values := params():
            events.append(Params(time=began, values=values))
        offset = max(offset, 2)
    if table.new and step is not None:
        if known % 2:
            events.append(Started(time=table.changed, resumed=True))
        events += rows_to_points(table.new, step, table.first, _clock(table, form.elapsed))
    if ended and (table.new or not known % 2):
        events.append(Ended(time=table.changed, status=Status.COMPLETED))
    problems = [Problem(str(folder / form.table), None, problem) for problem in table.problems]
    delivery = Delivery(
        run=run,
        events=events,
        journal=journal,
        start=known,
        offset=offset,
        file=form.table,
        problems=problems,
    )
    return Folder(run=run, deliveries=[delivery] if events else [], live=not ended)


def _table(form: TableFormat, folder: Path, names: Sequence[str], known: int) -> Table:
    """Read the table; if it does not exist yet, it has no rows and is as old as the newest file."""
    if form.table not in names:
        newest = max((folder / name).stat().st_mtime for name in names)
        return Table([], 0, known, [], newest)
    return read_table(folder / form.table, known, over=False, **form.options)


def _clock(table: Table, elapsed: str | None) -> float | Callable[[Mapping[str, object]], float]:
    """Return when rows were written: the last one with the file, earlier ones by the seconds between them."""
    last = number_of(table.rows[-1].get(elapsed)) if elapsed is not None else None
    if elapsed is None or last is None:
        return table.changed

    def written(row: Mapping[str, object]) -> float:
        seconds = number_of(row.get(elapsed))
        return table.changed if seconds is None else table.changed - max(last - seconds, 0.0)

    return written


def yaml_params(path: Path) -> JsonObject:
    """Return the values of a YAML file, flattened; empty if it does not exist or cannot be read."""
    try:
        document: Any = load_yaml(path)
    except (ImportError, OSError, ValueError):
        return {}  # for example tags of Python objects, which are not constructed
    return dict(flatten(cast("JsonObject", document))) if isinstance(document, dict) else {}
