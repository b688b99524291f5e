"""Read folders of Lightning's CSVLogger: metrics.csv and hparams.yaml in …/NAME/version_N.

The files record neither the user nor how the run ended: a run whose files have not changed for three minutes is
COMPLETED, and is resumed when they grow again.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from runbase.events import Ended, Params, Problem, Started
from runbase.ids import derived_id
from runbase.ingest.folders import (
    STILL,
    Folder,
    Keep,
    Reached,
    Unreadable,
    opening,
    read_table,
    rows_to_points,
)
from runbase.ingest.untrusted import load_yaml
from runbase.status import Status
from runbase.storage.types import Delivery
from runbase.values import flatten

NAME = "lightning-csv"
_METRICS, _PARAMS = "metrics.csv", "hparams.yaml"


def tells(folder: str, names: set[str]) -> list[str]:
    """Return the known files of a folder; none without the table, or if it is not a version folder."""
    version = folder.rpartition("/")[2].startswith("version_")
    if _METRICS not in names or not (version or _PARAMS in names):
        return []
    return [name for name in (_METRICS, _PARAMS) if name in names]


def read(folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
    """Read new rows, and with the first of them the parameters."""
    del keep
    run = derived_id(NAME, str(folder))
    began = min((folder / name).stat().st_mtime for name in names)
    first, journal = opening(run, _METRICS, folder.parent.name or "lightning", _name(folder), began)
    known = reached(journal)  # twice the number of rows read; odd if the run was considered ended
    table = read_table(folder / _METRICS, known // 2, over=False)
    header = list(table.rows[0]) if table.rows else []
    if header and "step" not in header and "epoch" not in header:
        raise Unreadable(f"{_METRICS} has neither a column step nor a column epoch")
    ended = time.time() - table.changed > STILL
    offset = 2 * table.reached + (1 if ended else 0)
    events: list[Any] = []
    if known == 0:
        events = [first, Started(time=began)]
        params = _params(folder / _PARAMS)
        if params:
            events.append(Params(time=began, values=params))
        offset = max(offset, 2)
    if table.new:
        if known % 2:
            events.append(Started(time=table.changed, resumed=True))
        step = "step" if "step" in header else "epoch"
        events += rows_to_points(table.new, step, table.first, table.changed)
    if ended and (table.new or not known % 2):
        events.append(Ended(time=table.changed, status=Status.COMPLETED))
    problems = [Problem(str(folder / _METRICS), None, problem) for problem in table.problems]
    delivery = Delivery(
        run=run,
        events=events,
        journal=journal,
        start=known,
        offset=offset,
        file=_METRICS,
        problems=problems,
    )
    return Folder(run=run, deliveries=[delivery] if events else [], live=not ended)


def _name(folder: Path) -> str:
    return (
        f"{folder.parent.name}/{folder.name}" if folder.name.startswith("version_") else folder.name
    )


def _params(path: Path) -> dict[str, Any]:
    """Return hparams.yaml, flattened; empty if it does not exist or cannot be read."""
    try:
        document: Any = load_yaml(path)
    except (ImportError, OSError, ValueError):
        return {}  # for example tags of Python objects, which are not constructed
    return dict(flatten(cast("dict[str, Any]", document))) if isinstance(document, dict) else {}
