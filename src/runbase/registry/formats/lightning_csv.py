"""Folders of Lightning's CSVLogger: metrics.csv and hparams.yaml in …/NAME/version_N.

They say neither who ran them nor how they ended: a run whose files have been still for three minutes counts as
COMPLETED, and goes on when they grow again.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from runbase.events import Ended, Params, Started
from runbase.ids import derived_id
from runbase.registry.formats.base import (
    STILL,
    Folder,
    Keep,
    Reached,
    Unreadable,
    opening,
    rows_to_points,
)
from runbase.status import Status
from runbase.storage.records import Delivery
from runbase.untrusted import csv_rows, load_yaml
from runbase.values import flatten

NAME = "lightning-csv"
_METRICS, _PARAMS = "metrics.csv", "hparams.yaml"


def tells(folder: str, names: set[str]) -> list[str]:
    """Both files, of which the table must be there, in a folder that is a version."""
    version = folder.rpartition("/")[2].startswith("version_")
    if _METRICS not in names or not (version or _PARAMS in names):
        return []
    return [name for name in (_METRICS, _PARAMS) if name in names]


def read(folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
    """New rows, and the parameters with the first of them."""
    del keep
    path = folder / _METRICS
    run = derived_id(NAME, str(folder))
    changed = path.stat().st_mtime
    began = min((folder / name).stat().st_mtime for name in names)
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv_rows(file, lambda _: None))
        header = list(rows[0]) if rows else []
    if header and "step" not in header and "epoch" not in header:
        raise Unreadable(f"{_METRICS} has neither a column step nor a column epoch")
    first, journal = opening(run, _METRICS, folder.parent.name or "lightning", _name(folder), began)
    known = reached(journal)
    total = 2 * len(rows) + 2  # an even offset: it runs; an odd one: it was taken for ended
    ended = time.time() - changed > STILL
    events: list[Any] = []
    if known == 0:
        events = [first, Started(time=began)]
        params = _params(folder / _PARAMS)
        if params:
            events.append(Params(time=began, values=params))
    done = max(known // 2 - 1, 0)
    if len(rows) > done:
        if known % 2:
            events.append(Started(time=changed, resumed=True))
        events += rows_to_points(
            rows[done:], "step" if "step" in header else "epoch", done, changed
        )
    offset = total + (1 if ended else 0)
    if ended and offset > known:
        events.append(Ended(time=changed, status=Status.COMPLETED))
    deliveries = (
        [
            Delivery(
                run=run, events=events, journal=journal, start=known, offset=offset, file=_METRICS
            )
        ]
        if offset > known
        else []
    )
    return Folder(run=run, deliveries=deliveries, live=not ended)


def _name(folder: Path) -> str:
    return (
        f"{folder.parent.name}/{folder.name}" if folder.name.startswith("version_") else folder.name
    )


def _params(path: Path) -> dict[str, Any]:
    """hparams.yaml, flat; empty where there is none, or nothing that reads YAML."""
    try:
        told: Any = load_yaml(path)
    except (ImportError, OSError, ValueError):
        return {}  # tags of Python objects, for one, are not ours to build
    return dict(flatten(cast("dict[str, Any]", told))) if isinstance(told, dict) else {}
