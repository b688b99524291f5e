"""Read GoodSeed runs: one SQLite file per run, in `projects/<project>/runs` of its folder. GoodSeed need not be installed."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from runbase.errors import StoreUnavailable
from runbase.ids import derived_id
from runbase.ingest.foreign import ImportedRun, ImportRequest
from runbase.ingest.foreign_databases import database, path_of, tables
from runbase.ingest.neptune_terms import attributes

NAME = "goodseed"
_TABLES = {"run_meta", "configs", "metric_series", "metric_points", "string_points"}


def recognises(source: str) -> bool:
    """Return whether a source is the file of a run, or a folder with such files."""
    return any(tables(str(path)) >= _TABLES for path in _files(source)[:20])


def count(source: str) -> int:
    """Return the number of files."""
    return len(_files(source))


def runs(asked: ImportRequest) -> Iterator[ImportedRun]:
    """Yield all runs by project and name; files that cannot be read are reported in `asked.problems`."""
    for path in _files(asked.source):
        try:
            yield _run(path)
        except (StoreUnavailable, ValueError, KeyError) as wrong:
            asked.problems.append(f"{path}: {wrong}")


def _files(source: str) -> list[Path]:
    if "://" in source and not source.startswith("sqlite:"):
        return []
    path = path_of(source)
    if path.is_file():
        return [path]
    patterns = ("*.sqlite", "runs/*.sqlite", "*/runs/*.sqlite", "projects/*/runs/*.sqlite")
    return sorted(file for pattern in patterns for file in path.glob(pattern))


def _run(path: Path) -> ImportedRun:
    metrics: dict[str, list[tuple[float, int | float, float]]] = {}
    texts: list[tuple[float, int | float, str, Any]] = []
    with database(str(path), NAME) as ask:
        meta = dict(ask("select key, value from run_meta"))
        configs = {
            key: _value(kind, text)
            for key, kind, text in ask("select path, type_tag, value from configs")
        }
        for key, step, value, stamp in ask(
            "select s.path, p.step, p.y, p.ts from metric_points p join metric_series s on s.id = p.series_id "
            "order by s.id, p.step"
        ):
            metrics.setdefault(key, []).append((_seconds(stamp), _step(step), float(value)))
        for key, step, text, stamp in ask(
            "select s.path, p.step, p.value, p.ts from string_points p join string_series s on s.id = p.series_id "
            "order by s.id, p.step"
        ):
            texts.append((_seconds(stamp), _step(step), key, text))
    name = str(meta.get("run_id") or path.stem)
    project = str(meta.get("project") or path.parent.parent.name)
    if meta.get("status"):
        configs["sys/state"] = str(meta["status"])
    return attributes(
        run=derived_id(NAME, f"{project}\0{name}"),
        name=name,
        project=project,
        said=configs,
        metrics=metrics,
        texts=texts,
    )


def _value(kind: str, text: str | None) -> Any:
    if text is None:
        return None
    if kind == "datetime":
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if kind == "string_set":
        return json.loads(text)
    match kind:
        case "int":
            return int(text)
        case "float":
            return float(text)
        case "bool":
            return text.lower() in ("true", "1")
        case _:
            return text


def _step(step: float) -> int | float:
    return int(step) if float(step).is_integer() else step


def _seconds(stamp: float) -> float:
    return stamp / 1000 if stamp > 1e11 else float(stamp)
