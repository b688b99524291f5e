"""Read Trackio's projects: one SQLite database per project, in its folder. Trackio need not be installed.

Run ids are kept. Trackio does not record a status: a run is RUNNING if something was logged in the last three
minutes, else COMPLETED.
"""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from runbase.ids import derived_id
from runbase.ingest.foreign import Artifact, ImportedRecord, ImportedRun, ImportRequest
from runbase.ingest.foreign_databases import Ask, database, each, path_of, tables
from runbase.status import SILENCE, Status
from runbase.values import flatten

NAME = "trackio"
_TABLES = {"metrics", "configs", "system_metrics", "project_metadata"}
_NUMBERS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": -float("inf")}
_MEDIA = {"trackio.image": "image", "trackio.audio": "audio", "trackio.video": "video"}


def recognises(source: str) -> bool:
    """Return whether a source is the database of a project, or a folder with such databases."""
    return bool(_projects(source))


def count(source: str) -> int:
    """Return the number of runs."""
    total = 0
    for path in _projects(source):
        with database(str(path), NAME) as ask:
            total += int(ask("select count(distinct run_id) from metrics")[0][0])
    return total


def runs(asked: ImportRequest) -> Iterator[ImportedRun]:
    """Yield the runs of all projects, in the order of their first log calls."""
    for path in _projects(asked.source):
        with database(str(path), NAME) as ask:
            rows = ask("select run_id, min(run_name) from metrics group by run_id order by min(id)")

            def run_of(
                run: Any,
                name: Any,
                ask: Ask = ask,
                path: Path = path,
                problems: list[str] = asked.problems,
            ) -> ImportedRun:
                return _run(ask, path, str(run), str(name), problems)

            yield from each(rows, run_of, asked.problems)


def _projects(source: str) -> list[Path]:
    if "://" in source and not source.startswith("sqlite:"):
        return []
    path = path_of(source)
    files = sorted(path.glob("*.db")) if path.is_dir() else [path] if path.is_file() else []
    return [file for file in files if tables(str(file)) >= _TABLES]


def _run(ask: Ask, path: Path, run: str, name: str, problems: list[str]) -> ImportedRun:
    config = _config(ask, run, problems)
    contents = _Contents(path.parent / "media", path.stem)
    last = 0.0
    for stamp, step, raw in ask(
        "select timestamp, step, metrics from metrics where run_id = ? order by id", run
    ):
        when = datetime.fromisoformat(stamp).timestamp()
        last = max(last, when)
        try:
            values = json.loads(raw)
        except ValueError:
            problems.append(f"{path}: step {step} of run {name} is not a JSON document")
            continue
        for key, value in values.items():
            contents.keep(key, value, when, step)
    created = config.pop("_Created", None)
    started = datetime.fromisoformat(created).timestamp() if created else contents.first or last
    alive = time.time() - last < SILENCE
    group = config.pop("_Group", None)
    user = config.pop("_Username", None)
    return ImportedRun(
        id=run if len(run) == 32 and run.isalnum() else derived_id(NAME, f"{path.stem}\0{run}"),
        name=name,
        experiment=path.stem,
        status=Status.RUNNING if alive else Status.COMPLETED,
        source_status="",
        started=started,
        ended=None if alive else last,
        user=user,
        params=dict(flatten({k: v for k, v in config.items() if not k.startswith("_")})),
        tags={"group": str(group)} if group else {},
        metrics=contents.metrics,
        types=contents.types,
        texts=contents.texts,
        records=contents.records,
        artifacts=contents.artifacts,
        samples=_samples(ask, run),
    )


def _config(ask: Ask, run: str, problems: list[str]) -> dict[str, Any]:
    for (raw,) in ask("select config from configs where run_id = ?", run):
        try:
            return dict(json.loads(raw))
        except ValueError:
            problems.append(f"the configuration of run {run} is not a JSON document")
    return {}


def _samples(ask: Ask, run: str) -> list[tuple[float, str, Any]]:
    samples: list[tuple[float, str, Any]] = []
    for stamp, raw in ask("select timestamp, metrics from system_metrics where run_id = ?", run):
        when = datetime.fromisoformat(stamp).timestamp()
        samples += [(when, f"system/{key}", value) for key, value in json.loads(raw).items()]
    return samples


class _Contents:
    """Collects what a run logged, by metric."""

    def __init__(self, media: Path, project: str) -> None:
        self._media, self._project = media, project
        self.first: float | None = None
        self.metrics: dict[str, list[tuple[float, int | float, float]]] = {}
        self.types: dict[str, str] = {}
        self.texts: list[tuple[float, int | float, str, Any]] = []
        self.records: list[ImportedRecord] = []
        self.artifacts: list[Artifact] = []

    def keep(self, key: str, value: Any, when: float, step: int) -> None:
        """Add a value of a log call; Trackio writes NaN and infinities as text."""
        self.first = when if self.first is None else min(self.first, when)
        if isinstance(value, bool):
            self.types[key] = "bool"
        if isinstance(value, str) and value in _NUMBERS:
            value = _NUMBERS[value]
        if isinstance(value, int | float):
            self.metrics.setdefault(key, []).append((when, step, float(value)))
        elif isinstance(value, dict) and "_type" in value:
            self._object(key, cast("dict[str, Any]", value), when, step)
        elif value is not None:
            self.texts.append((when, step, key, cast("Any", value)))

    def _object(self, key: str, value: dict[str, Any], when: float, step: int) -> None:
        kind = str(value["_type"])
        if kind in _MEDIA:
            name = str(value.get("file_path") or "")
            path = self._media / name
            if path.is_file() and path.resolve().is_relative_to(self._media.resolve()):
                size = path.stat().st_size
                self.artifacts.append(
                    Artifact(path=name, uri=str(path.absolute()), size=size, kind="media")
                )
                self._record(key, _MEDIA[kind], when, step, path=name)
        elif kind == "trackio.histogram":
            bins: Any = value.get("bins") or []
            counts: Any = value.get("values") or []
            document = {"counts": counts, "edges": bins, "not_finite": 0}
            self._record(key, "histogram", when, step, document)
        elif kind == "trackio.table" and isinstance(value.get("_value"), list):
            rows = cast("list[dict[str, Any]]", value["_value"])
            names = list(dict.fromkeys(name for row in rows for name in row))
            table = {"columns": names, "rows": [[row.get(n) for n in names] for row in rows]}
            self._record(key, "table", when, step, table)
        else:
            self._record(key, "json", when, step, value)

    def _record(
        self,
        key: str,
        kind: str,
        when: float,
        step: int,
        value: Any = None,
        path: str | None = None,
    ) -> None:
        self.records.append(
            ImportedRecord(time=when, step=step, key=key, kind=kind, value=value, path=path)
        )
