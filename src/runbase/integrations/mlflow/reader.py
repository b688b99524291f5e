"""Read MLflow runs from an `mlruns` folder or the database of a tracking server. MLflow need not be installed.

Imported are run ids, names, times, all points, tags, notes, parents, artifact locations, logged images and tables,
datasets, and experiments with their tags and times. Parameters, which MLflow stores as text, become numbers if they
are written as numbers. Models, traces and similar objects are not imported, only counted.
"""

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from runbase.errors import UsageError
from runbase.ingest.foreign import (
    Artifact,
    ImportedExperiment,
    ImportedRecord,
    ImportedRun,
    ImportRequest,
    typed,
)
from runbase.ingest.foreign_databases import (
    Ask,
    columns,
    database,
    each,
    is_database,
    path_of,
    tables,
)
from runbase.ingest.untrusted import is_inside, load_yaml
from runbase.status import Status

NAME = "mlflow"
STATUSES = {
    "RUNNING": Status.RUNNING,
    "SCHEDULED": Status.PENDING,
    "FINISHED": Status.COMPLETED,
    "FAILED": Status.FAILED,
    "KILLED": Status.CANCELLED,
}
CODES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
NO_TAGS = (
    "mlflow.loggedArtifacts",
    "mlflow.loggedImages",
    "mlflow.loggedPrompts",
    "mlflow.linkedPrompts",
    "mlflow.log-model.history",
)
"""Tags that MLflow uses for its own web page; they are imported as attributes."""
GIT_TAGS = {
    "commit": "mlflow.source.git.commit",
    "branch": "mlflow.source.git.branch",
    "remote": "mlflow.source.git.repoURL",
}
"""Key of a run's `git` → the tag of MLflow with the same meaning."""
_IMAGE = re.compile(
    r"images/(?P<key>.+)(?P<mark>[%+])step[%+](?P<step>-?\d+)[%+]timestamp[%+](?P<time>\d+)[%+][^/]+\.png"
)
"""The names of files written by `mlflow.log_image`; each has a small WebP of the same image next to it."""
_LARGEST_TABLE = 2**24
"""The maximum size in bytes of a table file that is imported as a record; a larger one remains a file."""
_DATASETS = {"inputs", "input_tags", "datasets"}
_LEFT_OUT = {
    "registered_models": "registered models",
    "model_versions": "versions of registered models",
    "logged_models": "logged models",
    "trace_info": "traces",
}
"""Tables of objects that are not imported, with their description."""
_TABLES = {"experiments", "runs", "params", "tags", "metrics", "latest_metrics"}


def recognises(source: str) -> bool:
    """Return whether a source is MLflow's, by the files in a folder or the tables in a database."""
    path = path_of(source)
    if not source.startswith("postgres") and path.is_dir():
        return any(path.glob("*/meta.yaml")) or any((path / "mlruns").glob("*/meta.yaml"))
    return is_database(source) and tables(source) >= _TABLES


def count(source: str) -> int:
    """Return the number of runs."""
    if _is_folder(source):
        return sum(1 for _ in _root(source).glob("*/*/meta.yaml"))
    with database(source, NAME) as ask:
        return int(ask("select count(*) from runs")[0][0])


def experiments(source: str) -> list[ImportedExperiment]:
    """Return experiments with their tags, descriptions and times."""
    if _is_folder(source):
        return [*_experiments_of_folder(_root(source))]
    with database(source, NAME) as ask:
        tags: dict[Any, dict[str, str]] = {}
        if "experiment_tags" in tables(source):
            for key, value, owner in ask("select key, value, experiment_id from experiment_tags"):
                tags.setdefault(owner, {})[key] = value
        has_times = "creation_time" in columns(source, ask, "experiments")
        times = "creation_time, last_update_time" if has_times else "null, null"
        rows = ask(
            f"select experiment_id, name, lifecycle_stage, {times} from experiments order by experiment_id"  # noqa: S608
        )
        return [
            experiment
            for key, name, stage, created, updated in rows
            if (
                experiment := about_experiment(
                    str(key), name, stage, created, updated, tags.get(key, {})
                )
            )
        ]


def about_experiment(
    key: str, name: Any, stage: Any, created: Any, updated: Any, tags: Mapping[str, Any]
) -> ImportedExperiment | None:
    """Convert an experiment; return None for a deleted one, and for MLflow's empty default experiment.

    Args:
        key: MLflow's id.
        name: the name.
        stage: active or deleted.
        created: milliseconds since the epoch, or None.
        updated: the time of the last change, in milliseconds since the epoch, or None.
        tags: tag → value.
    """
    if stage == "deleted" or (key == "0" and not tags):
        return None
    own_tags = {str(tag): str(value) for tag, value in tags.items()}
    note = own_tags.pop("mlflow.note.content", "")
    return ImportedExperiment(
        name=str(name or key),
        created=int(created) / 1000 if created else None,
        updated=int(updated) / 1000 if updated else None,
        description=note,
        fields={"tags": own_tags},
        attributes={NAME: {"experiment_id": key}},
    )


def _experiments_of_folder(root: Path) -> Iterator[ImportedExperiment]:
    for place in sorted(root.glob("*/meta.yaml")):
        info = _yaml(place, [])
        if info is None:
            continue
        tags = {key: path.read_text() for path, key in _files(place.parent / "tags")}
        experiment = about_experiment(
            place.parent.name,
            info.get("name"),
            info.get("lifecycle_stage"),
            info.get("creation_time"),
            info.get("last_update_time"),
            tags,
        )
        if experiment is not None:
            yield experiment


def runs(asked: ImportRequest) -> Iterator[ImportedRun]:
    """Yield all runs; what cannot be read is reported in `asked.problems`."""
    source = asked.source
    return (
        _of_folder(_root(source), asked.problems)
        if _is_folder(source)
        else _of_database(source, asked)
    )


# Folders


def _of_folder(root: Path, problems: list[str]) -> Iterator[ImportedRun]:
    for place in sorted(root.glob("*/meta.yaml")) + sorted(root.glob(".trash/*/meta.yaml")):
        experiment = _yaml(place, problems)
        if experiment is None:
            continue
        name = str(experiment.get("name") or place.parent.name)
        trashed = experiment.get("lifecycle_stage") == "deleted"
        for meta in sorted(place.parent.glob("*/meta.yaml")):
            info = _yaml(meta, problems)
            if info is None or ("run_id" not in info and "run_uuid" not in info):
                continue
            if not is_inside(meta, root):
                problems.append(f"{meta.parent}: a link points outside of {root}")
                continue
            try:
                run = _of_files(meta.parent, info, name)
            except (OSError, ValueError, LookupError, TypeError, ArithmeticError) as wrong:
                problems.append(f"{meta.parent}: {wrong!r}")
                continue
            run.deleted = run.deleted or trashed
            yield run


def _of_files(folder: Path, info: Mapping[str, Any], experiment: str) -> ImportedRun:
    metrics: dict[str, list[tuple[float, int | float, float]]] = {}
    for path, key in _files(folder / "metrics"):
        rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
        metrics[key] = [
            (int(row[0]) / 1000, int(row[2]) if len(row) > 2 else 0, float(row[1])) for row in rows
        ]
    return foreign(
        info,
        experiment,
        word=CODES.get(info.get("status", 1), "RUNNING"),
        params={key: path.read_text() for path, key in _files(folder / "params")},
        tags={key: path.read_text() for path, key in _files(folder / "tags")},
        metrics=metrics,
        artifacts=artifacts_at(
            str(info.get("artifact_uri") or ""),
            folder / "artifacts",
            str(info.get("run_id") or info["run_uuid"]),
        ),
        datasets=[*_datasets_of_files(folder)],
    )


def _datasets_of_files(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the datasets that a run used: `inputs` of the run refer to `datasets` of its experiment."""
    for place in sorted((folder / "inputs").glob("*/meta.yaml")):
        use = _yaml(place, []) or {}
        described = folder.parent / "datasets" / Path(str(use.get("source_id"))).name / "meta.yaml"
        dataset = _yaml(described, []) if described.is_file() else None
        if dataset is not None:
            tags: Any = use.get("tags")
            context = tags.get("mlflow.data.context") if isinstance(tags, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
            names = ("name", "digest", "source_type", "source", "schema", "profile")
            yield {**{name: dataset.get(name) for name in names}, "context": context}


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and is_inside(path, folder):
            yield path, path.relative_to(folder).as_posix()


def _yaml(path: Path, problems: list[str]) -> dict[str, Any] | None:
    try:
        info: Any = load_yaml(path)
    except ImportError:
        raise UsageError("reading an mlruns folder needs PyYAML: pip install pyyaml") from None
    except (OSError, ValueError) as wrong:
        problems.append(f"{path}: {wrong}")
        return None
    if not isinstance(info, dict):
        problems.append(f"{path}: not a YAML document with fields")
        return None
    return info  # pyright: ignore[reportUnknownVariableType]


# Databases


def _of_database(source: str, asked: ImportRequest) -> Iterator[ImportedRun]:
    there = tables(source)
    with database(source, NAME) as ask:
        names = dict(ask("select experiment_id, name from experiments"))
        datasets = _datasets(ask) if there >= _DATASETS else {}
        for table, what in _LEFT_OUT.items():
            if table in there:
                asked.leave_out(what, int(ask(f"select count(*) from {table}")[0][0]))  # noqa: S608

        def run_of(
            run: str, name: Any, user: Any, word: str, start: Any, end: Any, *rest: Any
        ) -> ImportedRun:
            lifecycle, uri, experiment = rest
            info = {
                "run_id": run,
                "run_name": name,
                "user_id": user,
                "start_time": start,
                "end_time": end,
                "lifecycle_stage": lifecycle,
            }
            points: dict[str, list[tuple[float, int | float, float]]] = {}
            for key, value, stamp, step, nan in ask(
                "select key, value, timestamp, step, is_nan from metrics where run_uuid = ? "
                "order by timestamp, step",
                run,
            ):
                figure = math.nan if nan else _finite(value)
                points.setdefault(key, []).append((stamp / 1000, step, figure))
            return foreign(
                info,
                str(names.get(experiment, experiment)),
                word=word,
                params=dict(ask("select key, value from params where run_uuid = ?", run)),
                tags=dict(ask("select key, value from tags where run_uuid = ?", run)),
                metrics=points,
                artifacts=artifacts_at(str(uri or ""), None, run),
                datasets=datasets.get(run, []),
            )

        rows = ask(
            "select run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri, "
            "experiment_id from runs order by start_time, run_uuid"
        )
        yield from each(rows, run_of, asked.problems)


def _datasets(ask: Ask) -> dict[str, list[dict[str, Any]]]:
    """Return run → the datasets that it used, each with its context (such as training)."""
    contexts: dict[str, dict[str, str]] = {}
    for use, name, value in ask("select input_uuid, name, value from input_tags"):
        contexts.setdefault(use, {})[name] = value
    datasets: dict[str, list[dict[str, Any]]] = {}
    for use, run, name, digest, kind, place, schema, profile in ask(
        "select i.input_uuid, i.destination_id, d.name, d.digest, d.dataset_source_type, d.dataset_source, "
        "d.dataset_schema, d.dataset_profile from inputs i join datasets d on d.dataset_uuid = i.source_id "
        "where i.source_type = 'DATASET' and i.destination_type = 'RUN' order by d.name, d.digest"
    ):
        datasets.setdefault(run, []).append(
            {
                "name": name,
                "digest": digest,
                "context": contexts.get(use, {}).get("mlflow.data.context"),
                "source_type": kind,
                "source": place,
                "schema": schema,
                "profile": profile,
            }
        )
    return datasets


def _finite(value: float) -> float:
    """Return an infinity for the greatest double, which MLflow's databases store instead."""
    return math.copysign(math.inf, value) if abs(value) >= 1.7976931348623157e308 else value


# Both


def foreign(
    info: Mapping[str, Any],
    experiment: str,
    *,
    word: str,
    params: Mapping[str, str],
    tags: Mapping[str, str | None],
    metrics: dict[str, list[tuple[float, int | float, float]]],
    artifacts: Sequence[Artifact],
    datasets: Sequence[Mapping[str, Any]] = (),
) -> ImportedRun:
    """Convert a run of MLflow.

    Args:
        info: the fields of its RunInfo.
        experiment: the name of the experiment.
        word: its status.
        params: name → text.
        tags: tag → text, including MLflow's own tags.
        metrics: metric → (time in seconds, step, value) of each point.
        artifacts: its files.
        datasets: the datasets that it used.
    """
    key = str(info.get("run_id") or info["run_uuid"])
    own_tags = dict(tags)
    git = {
        ours: value for ours, theirs in GIT_TAGS.items() if (value := own_tags.pop(theirs, None))
    }
    script = own_tags.pop("mlflow.source.name", None)
    label = own_tags.pop("mlflow.runName", None)
    end = info.get("end_time")
    attributes: dict[str, Any] = {
        tag.removeprefix("mlflow."): own_tags.pop(tag) for tag in NO_TAGS if tag in own_tags
    }
    if datasets:
        attributes["datasets"] = [*map(dict, datasets)]
    return ImportedRun(
        id=key,
        name=str(info.get("run_name") or label or key[:8]),
        experiment=experiment,
        status=STATUSES.get(word, Status.RUNNING),
        source_status=word,
        started=(info.get("start_time") or 0) / 1000,
        ended=None if end is None else end / 1000,
        user=own_tags.pop("mlflow.user", None) or info.get("user_id") or None,
        parent=own_tags.pop("mlflow.parentRunId", None),
        notes=own_tags.pop("mlflow.note.content", None) or "",
        params={name: typed(text) for name, text in params.items()},
        tags=own_tags,
        git=git,
        args={"script": script} if script else {},
        metrics=metrics,
        artifacts=list(artifacts),
        records=[*_records(artifacts, attributes.get("loggedArtifacts"))],
        attributes={NAME: attributes} if attributes else {},
        deleted=info.get("lifecycle_stage") == "deleted",
    )


def _records(artifacts: Sequence[Artifact], listed: Any) -> Iterator[ImportedRecord]:
    """Yield images of `log_image`, whose file names contain key and step, and tables of `log_table`."""
    for artifact in artifacts:
        named = _IMAGE.fullmatch(artifact.path)
        if named is not None:
            yield ImportedRecord(
                time=int(named["time"]) / 1000,
                step=int(named["step"]),
                key=named["key"].replace("~" if named["mark"] == "+" else "#", "/"),
                kind="image",
                path=artifact.path,
            )
    try:
        logged: Any = json.loads(listed or "[]")
        names = {str(entry["path"]) for entry in logged if entry.get("type") == "table"}
    except (ValueError, TypeError, KeyError, AttributeError):
        return
    for artifact in artifacts:
        if artifact.path in names and artifact.size <= _LARGEST_TABLE:
            try:
                table = json.loads(Path(artifact.uri).read_bytes())
                value = {"columns": table["columns"], "rows": table["data"]}
            except (OSError, ValueError, KeyError, TypeError):
                continue  # a Parquet or damaged table: it is imported as a file only
            changed = Path(artifact.uri).stat().st_mtime
            yield ImportedRecord(time=changed, step=0, key=artifact.path, kind="table", value=value)


def artifacts_at(uri: str, beside: Path | None, run: str) -> list[Artifact]:
    """Return the files at MLflow's artifact location or in the run's folder; none if on another machine."""
    places: list[Path] = [] if beside is None else [beside]
    parsed = urlparse(uri)
    if parsed.scheme in ("", "file") and uri and run in Path(unquote(parsed.path)).parts:
        places.append(Path(unquote(parsed.path)))  # …/EXPERIMENT/RUN/artifacts is MLflow's layout
    for place in places:
        artifacts = [
            Artifact(path=name, uri=str(path.absolute()), size=path.stat().st_size)
            for path, name in (_files(place) if place.is_dir() else ())
        ]
        if artifacts:
            return artifacts
    return []


def _is_folder(source: str) -> bool:
    return not source.startswith("postgres") and path_of(source).is_dir()


def _root(source: str) -> Path:
    path = path_of(source)
    return path / "mlruns" if (path / "mlruns").is_dir() else path


__all__: Iterable[str] = ["NAME", "count", "recognises", "runs"]
