"""The async experiment store's SQLite file: experiments with lineage, runs, and every logged step."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

from runbase.ids import derived_id
from runbase.importers.base import Artifact, Asked, Foreign, Told
from runbase.importers.databases import Ask, database, each, is_database, tables
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
    """Whether it is a database with its three tables."""
    return is_database(source) and tables(source) >= {"experiments", "runs", "metrics_log"}


def count(source: str) -> int:
    """How many runs there are."""
    with database(source, NAME) as ask:
        return int(ask("select count(*) from runs")[0][0])


def experiments(source: str) -> list[Told]:
    """Everything that it says of experiments. Two of one name are told apart by their ids."""
    with database(source, NAME) as ask:
        names = _names(ask)
        return [
            Told(
                name=names[key],
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
                parent=names.get(parent),
                attributes={NAME: {"id": key, "created_at": created, "updated_at": updated}},
            )
            for key, model, method, status, description, tags, config, metrics, checkpoint, parent, created, updated in ask(
                "select id, base_model, method, status, description, tags, config, metrics, best_checkpoint, "
                "parent_experiment_id, created_at, updated_at from experiments order by created_at"
            )
        ]


def runs(asked: Asked) -> Iterator[Foreign]:
    """Every run with its steps; a step whose values are no document is named in `asked.problems`."""
    with database(asked.source, NAME) as ask:
        names = _names(ask)

        def run_of(key: str, experiment: str, *told: Any) -> Foreign:
            name = names.get(experiment, str(experiment))
            return _run(ask, asked.problems, key, name, *told)

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
) -> Foreign:
    points: dict[str, list[tuple[float, int | float, float]]] = {}
    for number, step, stamp, values in ask(
        "select id, step, timestamp, metrics from metrics_log where run_id = ? order by step, id",
        key,
    ):
        told = _json(values)
        if not isinstance(told, dict):
            problems.append(f"metrics_log {number} of run {key}: {values!r} is no document")
            continue
        for name, value in flatten(told):  # pyright: ignore[reportUnknownArgumentType]
            if isinstance(value, int | float):
                points.setdefault(name, []).append((_seconds(stamp) or 0.0, step, float(value)))
    first = min((rows[0][0] for rows in points.values()), default=0.0)
    return Foreign(
        id=derived_id(NAME, str(key)),
        name=str(key),
        experiment=experiment,
        status=_WORDS.get(str(word).lower(), Status.PENDING),
        source_status=str(word),
        started=_seconds(began) or first,
        ended=_seconds(ended),
        notes=error or "",
        params=dict(flatten(_json(config) or {})),
        metrics=points,
        artifacts=[Artifact(path=str(a).lstrip("/"), uri=str(a), size=0) for a in _list(artifacts)],
        attributes={"summary": dict(flatten(_json(metrics) or {}))},
    )


def _names(ask: Any) -> dict[str, str]:
    """Id → name; a name that an older experiment has gets the id behind it, for there can be but one."""
    found: dict[str, str] = {}
    for key, name in ask("select id, name from experiments order by created_at, id"):
        found[key] = f"{name} ({key})" if name in found.values() else name
    return found


def _json(text: Any) -> Any:
    try:
        return json.loads(text) if text else None
    except (TypeError, ValueError):
        return None


def _list(text: Any) -> list[Any]:
    found = _json(text)
    return cast("list[Any]", found) if isinstance(found, list) else []


def _seconds(stamp: str | None) -> float | None:
    """Its times are naive, and UTC."""
    if not stamp:
        return None
    moment = datetime.fromisoformat(stamp)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


__all__ = ["NAME", "count", "experiments", "recognises", "runs"]
