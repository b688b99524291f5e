"""Read the SQLite file of the async experiment store: experiments with lineage, runs, and all logged steps."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

from runbase.ids import derived_id
from runbase.ingest.foreign import (
    Artifact,
    ImportedExperiment,
    ImportedRecord,
    ImportedRun,
    ImportRequest,
)
from runbase.ingest.foreign_databases import Ask, database, each, is_database, tables
from runbase.status import Status
from runbase.values import flatten

NAME = "experiment-store"
_WORDS = {
    "pending": Status.PENDING,
    "created": Status.PENDING,
    "running": Status.RUNNING,
    "completed": Status.COMPLETED,
    "failed": Status.FAILED,
    "cancelled": Status.CANCELLED,
    "canceled": Status.CANCELLED,
}


def recognises(source: str) -> bool:
    """Return whether a source is a database with its three tables."""
    return is_database(source) and tables(source) >= {"experiments", "runs", "metrics_log"}


def count(source: str) -> int:
    """Return the number of runs."""
    with database(source, NAME) as ask:
        return int(ask("select count(*) from runs")[0][0])


def experiments(source: str) -> list[ImportedExperiment]:
    """Return the experiments with all their fields. Names need not be unique."""
    with database(source, NAME) as ask:
        rows = ask(
            "select id, name, base_model, method, status, description, tags, config, metrics, best_checkpoint, "
            "parent_experiment_id, created_at, updated_at from experiments order by created_at, rowid"
        )
        known = {row[0] for row in rows}
        return [
            ImportedExperiment(
                id=_experiment_id(key),
                name=name,
                created=_seconds(created),
                updated=_seconds(updated),
                description=description or "",
                fields={
                    "base_model": model or None,
                    "method": method or None,
                    "status": status or "created",
                    "tags": {str(tag): None for tag in _list(tags)},
                    "config": _json(config) or {},
                    "metrics": _json(metrics) or {},
                    "checkpoint": checkpoint or None,
                },
                # If the parent was deleted, only its id is known.
                parent=(_experiment_id(parent) if parent in known else parent) or None,
                attributes={NAME: {"id": key, **({"parent_id": parent} if parent else {})}},
            )
            for key, name, model, method, status, description, tags, config, metrics, checkpoint, parent, created, updated in rows
        ]


def runs(asked: ImportRequest) -> Iterator[ImportedRun]:
    """Yield all runs with their steps; steps that cannot be read are reported in `asked.problems`."""
    with database(asked.source, NAME) as ask:
        names = dict(ask("select id, name from experiments"))

        def run_of(key: str, experiment: str, *values: Any) -> ImportedRun:
            run = _run(ask, asked.problems, key, str(names.get(experiment, experiment)), *values)
            if experiment in names:
                run.experiment_id = _experiment_id(experiment)
            return run

        orphans = ask(
            "select count(*) from metrics_log where run_id is null or run_id not in (select id from runs)"
        )
        asked.leave_out("steps of runs that were deleted", int(orphans[0][0]))
        rows = ask(
            "select id, experiment_id, status, config, metrics, artifacts, error_message, started_at, ended_at "
            "from runs order by started_at, id"
        )
        yield from each(rows, run_of, asked.problems)


def _run(
    ask: Ask,
    problems: list[str],
    key: str,
    experiment: str,
    word: str,
    config: Any,
    metrics: Any,
    artifacts: Any,
    error: str | None,
    began: Any,
    ended: Any,
) -> ImportedRun:
    points: dict[str, list[tuple[float, int | float, float]]] = {}
    records: list[ImportedRecord] = []
    types: dict[str, str] = {}
    for number, step, stamp, values in ask(
        "select id, step, timestamp, metrics from metrics_log where run_id = ? order by step, id",
        key,
    ):
        logged, when = _json(values), _seconds(stamp) or 0.0
        if not isinstance(logged, dict):
            problems.append(f"metrics_log {number} of run {key}: {values!r} is not a JSON object")
            continue
        for name, value in flatten(logged):  # pyright: ignore[reportUnknownArgumentType]
            if isinstance(value, bool):
                types[name] = "bool"
            if isinstance(value, int | float):
                points.setdefault(name, []).append((when, step, float(value)))
            elif value is not None:
                kind = "text" if isinstance(value, str) else "json"
                records.append(
                    ImportedRecord(time=when, step=step, key=name, kind=kind, value=value)
                )
    times = [rows[0][0] for rows in points.values()] + [record.time for record in records]
    started = _seconds(began)
    return ImportedRun(
        id=derived_id(NAME, str(key)),
        name=str(key),
        experiment=experiment,
        status=_WORDS.get(str(word).lower(), Status.PENDING),
        source_status=str(word),
        started=min(times, default=0.0) if started is None else started,
        has_started=bool(times),  # the source leaves runs pending, also those with metrics
        ended=_seconds(ended),
        error={"type": "error", "message": error} if error else None,
        notes=error or "",
        params=dict(flatten(_json(config) or {})),
        metrics=points,
        types=types,
        records=records,
        artifacts=[Artifact(path=str(a).lstrip("/"), uri=str(a), size=0) for a in _list(artifacts)],
        attributes={
            NAME: {"id": key},
            "summary": dict(flatten(_json(metrics) or {})),
        },
    )


def _experiment_id(key: Any) -> str:
    return derived_id(NAME, "experiment", str(key))


def _json(text: Any) -> Any:
    try:
        return json.loads(text) if text else None
    except (TypeError, ValueError):
        return None


def _list(text: Any) -> list[Any]:
    items = _json(text)
    return cast("list[Any]", items) if isinstance(items, list) else []


def _seconds(stamp: str | None) -> float | None:
    """Return seconds since the epoch; times in the source are naive and in UTC."""
    if not stamp:
        return None
    moment = datetime.fromisoformat(stamp)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


__all__ = ["NAME", "count", "experiments", "recognises", "runs"]
