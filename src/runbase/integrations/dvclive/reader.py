"""Read folders of DVCLive: params.yaml, metrics.json, and a table for each metric below plots/metrics.

The files do not record how the run ended: a run whose files have not changed for three minutes is COMPLETED, and is
resumed when they grow again.
"""

import json
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from runbase.events import Ended, Params, Points, Problem, Started
from runbase.ids import derived_id
from runbase.ingest.folders import (
    STILL,
    Folder,
    Keep,
    Reached,
    Unreadable,
    number_of,
    opening,
    read_table,
    rows_to_points,
)
from runbase.ingest.metric_tables import yaml_params
from runbase.integrations.held import numbers
from runbase.status import Status
from runbase.storage.types import Delivery
from runbase.typing import JsonObject

NAME = "dvclive"
_METRICS, _PARAMS, _PLOTS = "metrics.json", "params.yaml", "plots/metrics"
_MOST_METRICS = 10_000


def tells(folder: str, names: set[str]) -> list[str]:
    """Return the known files of a folder, with the tables of its metrics; none without a table or the summary."""
    if "plots/" not in names or not names & {_METRICS, _PARAMS}:
        return []
    tables = sorted(
        path.relative_to(folder).as_posix()
        for path in (Path(folder) / _PLOTS).rglob("*.tsv")
        if path.is_file()
    )[:_MOST_METRICS]
    if not tables and _METRICS not in names:
        return []
    return [name for name in (_METRICS, _PARAMS) if name in names] + tables


def read(folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
    """Read new rows of each table, and the summary once no process writes any more."""
    del keep
    run = derived_id(NAME, str(folder))
    times = [(folder / name).stat().st_mtime for name in names]
    ended = time.time() - max(times) > STILL
    reader = _Reader(folder, names, run, reached, (min(times), max(times)), ended=ended)
    return Folder(run=run, deliveries=reader.deliveries(), live=not ended)


class _Reader:
    """Reads a folder.

    Args:
        folder: the folder.
        names: its files.
        run: the id of the run.
        reached: returns how far a file has been read.
        span: when the oldest and the newest file were changed.
        ended: whether the run is considered ended.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        run: str,
        reached: Reached,
        span: tuple[float, float],
        *,
        ended: bool,
    ) -> None:
        self._folder, self._names, self._run, self._reached = folder, names, run, reached
        self._began, self._changed = span
        self._ended = ended
        # A folder with the name that DVCLive gives it is told from others by the folder around it.
        own = folder.name != "dvclive"
        self._name = folder.name if own else folder.parent.name or NAME
        self._experiment = (folder.parent if own else folder.parent.parent).name or NAME

    def deliveries(self) -> Iterator[Delivery]:
        """Yield what is new: of each table, and of the run."""
        unreadable: Unreadable | None = None
        grown = False
        for name in self._names:
            if not name.endswith(".tsv"):
                continue
            try:
                delivery = self._table(name)
            except Unreadable as wrong:  # read the other tables first
                unreadable = wrong
                continue
            if delivery is not None:
                grown = True
                yield delivery
        yield from self._run_itself(grown=grown)
        if unreadable is not None:
            raise unreadable

    def _opening(self, file: str) -> tuple[Any, str]:
        return opening(self._run, file, self._experiment, self._name, self._began)

    def _table(self, name: str) -> Delivery | None:
        first, journal = self._opening(name)
        known = self._reached(journal)
        path = self._folder / name
        table = read_table(path, known, over=self._ended, delimiter="\t")
        if not table.new:
            return None
        key = Path(name).relative_to(_PLOTS).with_suffix("").as_posix()
        rows = [_point(row, key) for row in table.new]
        return Delivery(
            run=self._run,
            events=[
                *([] if known else [first]),
                *rows_to_points(rows, "step", table.first, _clock(table.new, rows, table.changed)),
            ],
            journal=journal,
            start=known,
            offset=table.reached,
            file=name,
            problems=[Problem(str(path), None, problem) for problem in table.problems],
        )

    def _run_itself(self, *, grown: bool) -> Iterator[Delivery]:
        """Yield the parameters, the summary and the status: the position is a number of versions, and the files' checksum."""
        first, journal = self._opening(_METRICS)
        known = self._reached(journal)
        version, content = divmod(known, 2**32)  # an odd version: the run was considered ended
        params = yaml_params(self._folder / _PARAMS)
        summary = _summary(self._folder / _METRICS)
        mark = zlib.crc32(json.dumps([params, summary], default=str, sort_keys=True).encode())
        if known and not grown and mark == content and bool(version % 2) == self._ended:
            return
        events: list[Any] = [] if known else [first, Started(time=self._began)]
        if known and version % 2:
            events.append(Started(time=self._changed, resumed=True))
        if params and (not known or mark != content):
            events.append(Params(time=self._began, values=params))
        if self._ended:
            events += self._single(summary)
            events.append(Ended(time=self._changed, status=Status.COMPLETED))
        if events or mark != content:
            yield Delivery(
                run=self._run,
                events=events,
                journal=journal,
                start=known,
                offset=(2 * (version // 2 + 1) + self._ended) * 2**32 + mark,
                file=_METRICS,
            )

    def _single(self, summary: JsonObject) -> Iterator[Points]:
        """Yield values of the summary that have no table."""
        tables = {Path(name).relative_to(_PLOTS).with_suffix("").as_posix() for name in self._names
                  if name.endswith(".tsv")}  # fmt: skip
        step = number_of(summary.get("step"))
        alone = {
            key: value
            for key, value in numbers(summary).items()
            if key != "step" and key not in tables
        }
        if alone:
            columns: Any = [[value] for value in alone.values()]
            at = 0 if step is None else int(step)
            yield Points(keys=tuple(alone), steps=[at], times=[self._changed], columns=columns)


def _point(row: JsonObject, key: str) -> JsonObject:
    """Return the step and the value of a row of a table, whose column has the last part of the metric's name."""
    value = row.get(key.rpartition("/")[2])
    return {"step": row.get("step"), key: value}


def _clock(rows: Sequence[JsonObject], points: Sequence[JsonObject], changed: float) -> Any:
    """Return when rows were written: their times (milliseconds since the epoch), or that of the file."""
    stamps = {
        id(point): number_of(row.get("timestamp")) for row, point in zip(rows, points, strict=True)
    }

    def written(row: Mapping[str, object]) -> float:
        stamp = stamps.get(id(row))
        return changed if stamp is None else stamp / 1000

    return written


def _summary(path: Path) -> JsonObject:
    """Return the latest values; empty while the file is being written."""
    try:
        summary: Any = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return cast("JsonObject", summary) if isinstance(summary, dict) else {}
