"""MLflow's record: an `mlruns` folder, or the database of a tracking server. MLflow need not be installed.

Run ids, names, times, every point, tags, notes, parent and artifacts' places are kept. Parameters, which MLflow keeps
as text, become numbers where they are such.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from runbase.errors import UsageError
from runbase.importers.base import Artifact, Asked, Foreign, typed
from runbase.importers.databases import database, each, is_database, path_of, tables
from runbase.status import Status
from runbase.untrusted import is_inside, load_yaml

NAME = "mlflow"
_STATUSES = {
    "RUNNING": Status.RUNNING,
    "SCHEDULED": Status.PENDING,
    "FINISHED": Status.COMPLETED,
    "FAILED": Status.FAILED,
    "KILLED": Status.CANCELLED,
}
_CODES = {1: "RUNNING", 2: "SCHEDULED", 3: "FINISHED", 4: "FAILED", 5: "KILLED"}
_TABLES = {"experiments", "runs", "params", "tags", "metrics", "latest_metrics"}


def recognises(source: str) -> bool:
    """Whether it is one of MLflow's: by the files in a folder, by the tables in a database."""
    path = path_of(source)
    if not source.startswith("postgres") and path.is_dir():
        return any(path.glob("*/meta.yaml")) or any((path / "mlruns").glob("*/meta.yaml"))
    return is_database(source) and tables(source) >= _TABLES


def count(source: str) -> int:
    """How many runs there are."""
    if _is_folder(source):
        return sum(1 for _ in _root(source).glob("*/*/meta.yaml"))
    with database(source, NAME) as ask:
        return int(ask("select count(*) from runs")[0][0])


def runs(asked: Asked) -> Iterator[Foreign]:
    """Every run, with all that is known of it; what cannot be read is named in `asked.problems`."""
    source = asked.source
    return (
        _of_folder(_root(source), asked.problems)
        if _is_folder(source)
        else _of_database(source, asked.problems)
    )


# A folder


def _of_folder(root: Path, problems: list[str]) -> Iterator[Foreign]:
    for place in sorted(root.glob("*/meta.yaml")) + sorted(root.glob(".trash/*/meta.yaml")):
        experiment = _yaml(place, problems)
        if experiment is None:
            continue
        name = str(experiment.get("name") or place.parent.name)
        trashed = experiment.get("lifecycle_stage") == "deleted"
        for meta in sorted(place.parent.glob("*/meta.yaml")):
            told = _yaml(meta, problems)
            if told is None or ("run_id" not in told and "run_uuid" not in told):
                continue
            if not is_inside(meta, root):
                problems.append(f"{meta.parent}: a link leads out of {root}")
                continue
            try:
                run = _of_files(meta.parent, told, name)
            except (OSError, ValueError, LookupError, TypeError, ArithmeticError) as wrong:
                problems.append(f"{meta.parent}: {wrong!r}")
                continue
            run.deleted = run.deleted or trashed
            yield run


def _of_files(folder: Path, told: Mapping[str, Any], experiment: str) -> Foreign:
    metrics: dict[str, list[tuple[float, int | float, float]]] = {}
    for path, key in _files(folder / "metrics"):
        rows = [line.split() for line in path.read_text().splitlines() if line.strip()]
        metrics[key] = [
            (int(row[0]) / 1000, int(row[2]) if len(row) > 2 else 0, float(row[1])) for row in rows
        ]
    return foreign(
        told,
        experiment,
        word=_CODES.get(told.get("status", 1), "RUNNING"),
        params={key: path.read_text() for path, key in _files(folder / "params")},
        tags={key: path.read_text() for path, key in _files(folder / "tags")},
        metrics=metrics,
        artifacts=artifacts_at(
            str(told.get("artifact_uri") or ""),
            folder / "artifacts",
            str(told.get("run_id") or told["run_uuid"]),
        ),
    )


def _files(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and is_inside(path, folder):
            yield path, path.relative_to(folder).as_posix()


def _yaml(path: Path, problems: list[str]) -> dict[str, Any] | None:
    try:
        told: Any = load_yaml(path)
    except ImportError:
        raise UsageError("reading an mlruns folder needs PyYAML: pip install pyyaml") from None
    except (OSError, ValueError) as wrong:
        problems.append(f"{path}: {wrong}")
        return None
    if not isinstance(told, dict):
        problems.append(f"{path}: it is empty, or no document of fields")
        return None
    return told  # pyright: ignore[reportUnknownVariableType]


# A database


def _of_database(source: str, problems: list[str]) -> Iterator[Foreign]:
    with database(source, NAME) as ask:
        names = dict(ask("select experiment_id, name from experiments"))

        def run_of(
            run: str, name: Any, user: Any, word: str, start: Any, end: Any, *rest: Any
        ) -> Foreign:
            lifecycle, uri, experiment = rest
            told = {
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
                told,
                str(names.get(experiment, experiment)),
                word=word,
                params=dict(ask("select key, value from params where run_uuid = ?", run)),
                tags=dict(ask("select key, value from tags where run_uuid = ?", run)),
                metrics=points,
                artifacts=artifacts_at(str(uri or ""), None, run),
            )

        rows = ask(
            "select run_uuid, name, user_id, status, start_time, end_time, lifecycle_stage, artifact_uri, "
            "experiment_id from runs order by start_time, run_uuid"
        )
        yield from each(rows, run_of, problems)


def _finite(value: float) -> float:
    """MLflow's databases hold infinities as the greatest number there is."""
    return math.copysign(math.inf, value) if abs(value) >= 1.7976931348623157e308 else value


# Both


def foreign(
    told: Mapping[str, Any],
    experiment: str,
    *,
    word: str,
    params: Mapping[str, str],
    tags: Mapping[str, str | None],
    metrics: dict[str, list[tuple[float, int | float, float]]],
    artifacts: Sequence[Artifact],
) -> Foreign:
    """A run of MLflow's, from what is told of it in its own terms."""
    key = str(told.get("run_id") or told["run_uuid"])
    said = dict(tags)
    git = {
        ours: value
        for ours, theirs in (
            ("commit", "mlflow.source.git.commit"),
            ("branch", "mlflow.source.git.branch"),
            ("remote", "mlflow.source.git.repoURL"),
        )
        if (value := said.pop(theirs, None))
    }
    script = said.pop("mlflow.source.name", None)
    label = said.pop("mlflow.runName", None)
    end = told.get("end_time")
    return Foreign(
        id=key,
        name=str(told.get("run_name") or label or key[:8]),
        experiment=experiment,
        status=_STATUSES.get(word, Status.RUNNING),
        source_status=word,
        started=(told.get("start_time") or 0) / 1000,
        ended=None if end is None else end / 1000,
        user=said.pop("mlflow.user", None) or told.get("user_id") or None,
        parent=said.pop("mlflow.parentRunId", None),
        notes=said.pop("mlflow.note.content", None) or "",
        params={name: typed(text) for name, text in params.items()},
        tags=said,
        git=git,
        args={"script": script} if script else {},
        metrics=metrics,
        artifacts=list(artifacts),
        deleted=told.get("lifecycle_stage") == "deleted",
    )


def artifacts_at(uri: str, beside: Path | None, run: str) -> list[Artifact]:
    """Files where MLflow says they are, or beside the run's own; none where that is on another machine."""
    places: list[Path] = [] if beside is None else [beside]
    parsed = urlparse(uri)
    if parsed.scheme in ("", "file") and uri and run in Path(unquote(parsed.path)).parts:
        places.append(
            Path(unquote(parsed.path))
        )  # …/EXPERIMENT/RUN/artifacts, as MLflow lays them out
    for place in places:
        if place.is_dir():
            return [
                Artifact(path=name, uri=str(path.absolute()), size=path.stat().st_size)
                for path, name in _files(place)
            ]
    return []


def _is_folder(source: str) -> bool:
    return not source.startswith("postgres") and path_of(source).is_dir()


def _root(source: str) -> Path:
    path = path_of(source)
    return path / "mlruns" if (path / "mlruns").is_dir() else path


__all__: Iterable[str] = ["NAME", "count", "recognises", "runs"]
