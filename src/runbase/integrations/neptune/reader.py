"""Read runs exported by Neptune's exporter: Parquet files with one row per value. Needs PyArrow.

The columns are documented in the exporter's README: project_id, run_id, attribute_path, attribute_type, step,
timestamp, one column per value type, `file_value` (a path below the folder of files), `histogram_value`.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from runbase.errors import UsageError
from runbase.ids import derived_id
from runbase.ingest.foreign import Artifact, ImportedRecord, ImportedRun, ImportRequest
from runbase.ingest.foreign_databases import path_of
from runbase.ingest.neptune_terms import attributes

NAME = "neptune"
_COLUMNS = {"project_id", "run_id", "attribute_path", "attribute_type", "step", "timestamp"}
_VALUES = {
    "float": "float_value",
    "int": "int_value",
    "string": "string_value",
    "bool": "bool_value",
    "datetime": "datetime_value",
    "string_set": "string_set_value",
    "float_series": "float_value",
    "string_series": "string_value",
    "histogram_series": "histogram_value",
    "file": "file_value",
    "file_series": "file_value",
}


def recognises(source: str) -> bool:
    """Return whether a source is a folder of the exporter's Parquet files, or one of them."""
    files = _files(source)
    if not files:
        return False
    try:
        return set(_parquet().read_schema(files[0]).names) >= _COLUMNS
    except (UsageError, OSError, ValueError):
        return False


def count(source: str) -> int:
    """Return the number of runs that have files."""
    return len(_runs(source))


def runs(asked: ImportRequest) -> Iterator[ImportedRun]:
    """Yield all runs; files that cannot be read are reported in `asked.problems`."""
    parquet = _parquet()
    for files in _runs(asked.source).values():
        rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for path in files:
            try:
                table: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
            except (OSError, ValueError) as wrong:
                asked.problems.append(f"{path}: {wrong}")
                continue
            for row in table:
                rows.setdefault((str(row["project_id"]), str(row["run_id"])), []).append(row)
        for (project, run), mine in rows.items():
            yield _run(project, run, mine, files[0])


def _run(project: str, run: str, rows: list[dict[str, Any]], path: Path) -> ImportedRun:
    said: dict[str, Any] = {}
    metrics: dict[str, list[tuple[float, int | float, float]]] = {}
    texts: list[tuple[float, int | float, str, Any]] = []
    records: list[ImportedRecord] = []
    artifacts: list[Artifact] = []
    for row in rows:
        kind, key = str(row["attribute_type"]), str(row["attribute_path"])
        value = row.get(_VALUES.get(kind, ""))
        when = row["timestamp"].timestamp() if row.get("timestamp") else 0.0
        step = _step(row.get("step"))
        if value is None:
            continue
        match kind:
            case "float_series":
                metrics.setdefault(key, []).append((when, step, float(value)))
            case "string_series":
                texts.append((when, step, key, str(value)))
            case "histogram_series":
                document = {"counts": value["values"], "edges": value["edges"], "not_finite": 0}
                records.append(
                    ImportedRecord(time=when, step=step, key=key, kind="histogram", value=document)
                )
            case "file" | "file_series":
                artifacts += _file(path, key, step, str(value["path"]), kind == "file_series")
            case _:
                said[key] = value
    for points in metrics.values():
        points.sort(key=lambda point: (point[1], point[0]))
    return attributes(
        run=derived_id(NAME, f"{project}\0{run}"),
        name=run,
        project=project,
        said=said,
        metrics=metrics,
        texts=texts,
        records=records,
        artifacts=artifacts,
    )


def _file(path: Path, key: str, step: float, place: str, series: bool) -> list[Artifact]:
    """Return a downloaded file, from the export's `files` and a folder named like that of the Parquet files."""
    name = f"{key}/{step}{Path(place).suffix}" if series else key
    project = path.parent
    for root in (project.parent.parent / "files", project.parent / "files"):
        for file in (root / project.name / place, root / place):
            if file.is_file() and file.resolve().is_relative_to(root.resolve()):
                return [Artifact(path=name, uri=str(file.absolute()), size=file.stat().st_size)]
    return []


def _runs(source: str) -> dict[str, list[Path]]:
    """Return run → its files in order; the export splits a run into parts."""
    parts: dict[str, list[tuple[int, Path]]] = {}
    for path in _files(source):
        stem, _, part = path.stem.rpartition("_part_")
        key = str(path.with_name(stem)) if stem else str(path)
        parts.setdefault(key, []).append((int(part) if stem and part.isdigit() else 0, path))
    return {key: [path for _, path in sorted(files)] for key, files in parts.items()}


def _files(source: str) -> list[Path]:
    if "://" in source:
        return []
    path = path_of(source)
    if path.suffix == ".parquet" and path.is_file():
        return [path]
    if not path.is_dir():
        return []
    patterns = ("*.parquet", "*/*.parquet", "data/*/*.parquet")
    return sorted(file for pattern in patterns for file in path.glob(pattern))


def _step(step: Any) -> int | float:
    if step is None:
        return 0
    return int(step) if step == int(step) else float(step)


def _parquet() -> Any:
    try:
        return cast("Any", import_module("pyarrow.parquet"))
    except ImportError:
        raise UsageError("reading Parquet needs PyArrow: pip install 'runbase[analysis]'") from None
