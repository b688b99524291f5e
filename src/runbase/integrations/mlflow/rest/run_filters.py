"""Search for runs: MLflow's filters and sort keys in runbase's filter language, which binds every value."""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from runbase.integrations.mlflow.reader import GIT_TAGS
from runbase.integrations.mlflow.rest import records
from runbase.integrations.mlflow.rest.errors import invalid
from runbase.integrations.mlflow.rest.grammar import Clause, Entity, Key, satisfied
from runbase.integrations.mlflow.rest.numbers import SCOPE, Place
from runbase.model import Run

NOTHING = "id = ''"
"""A condition that no run matches."""
_FAMILIES = {
    **dict.fromkeys(("metric", "metrics"), "metric"),
    **dict.fromkeys(("param", "params", "parameter", "parameters"), "param"),
    **dict.fromkeys(("tag", "tags"), "tag"),
    **dict.fromkeys(("dataset", "datasets"), "dataset"),
}
_ATTRIBUTES = ("attribute", "attributes", "attr", "run", "")
_NAMES = {
    **dict.fromkeys(("run name", "Run name", "Run Name"), "run_name"),
    **dict.fromkeys(("created", "Created"), "start_time"),
}
_COLUMNS = {
    "run_id": "id",
    "run_name": "name",
    "user_id": "user",
    "start_time": "started_at",
    "end_time": "ended_at",
}
_TEXTS = ("run_id", "run_name", "status", "artifact_uri", "user_id")
_TIMES = ("start_time", "end_time")
_TAG_COLUMNS = {
    records.NAME: "name",
    records.USER: "user",
    records.PARENT: "parent_id",
    records.NOTE: "notes",
    records.SOURCE: "args.script",
    **{tag: f"git.{key}" for key, tag in GIT_TAGS.items()},
    **{tag: f'attributes."{SCOPE}"."{key}"' for tag, key in records.INTERNAL.items()},
}
_STORED = {"True": "true", "False": "false"}
"""Text of a parameter → the text of the bool that is stored for it."""


def entity(word: str, key: str) -> Entity:
    """Return what a name in a filter means."""
    family = _FAMILIES.get(word)
    if family == "dataset" and key not in ("name", "digest", "context"):
        raise invalid(
            f"Invalid dataset attribute '{key}'. Valid attributes are name, digest, context."
        )
    if family is not None:
        return Entity(family, key)
    name = _NAMES.get(key, key)
    if word not in _ATTRIBUTES:
        raise invalid(
            f"Invalid entity type '{word}'. Valid values are metric, parameter, tag, attribute, dataset."
        )
    if name not in (*_TEXTS, *_TIMES):
        raise invalid(
            f"Invalid attribute key '{key}' specified. Valid keys are {[*_TEXTS, *_TIMES]}."
        )
    return Entity("text" if name in _TEXTS else "number", name)


def condition(clause: Clause) -> str:
    """Return a clause in the filter language. `artifact_uri` and datasets are not part of it."""
    kind, key = clause.entity.kind, clause.entity.key
    if kind == "metric":
        return f"metrics.{_name(key)} {_operator(clause)} {_number(clause.value)}"
    if kind == "param":
        return _param(clause)
    if kind == "tag":
        column = _TAG_COLUMNS.get(key, f"tags.{_name(key)}")
        if clause.operator in ("IS NULL", "IS NOT NULL") and column == "notes":
            return f"notes {'=' if clause.operator == 'IS NULL' else '<>'} ''"
        return _text(column, clause)
    if key == "status":
        return _status(clause)
    if kind == "number":
        return _time(_COLUMNS[key], clause)
    return _text(_COLUMNS[key], clause)


def _operator(clause: Clause) -> str:
    return {"!=": "<>"}.get(clause.operator, clause.operator.lower())


def _name(key: str) -> str:
    return '"' + key.replace('"', '""') + '"'


def quoted(text: str) -> str:
    """Return a text as the filter language writes it."""
    return "'" + text.replace("'", "''") + "'"


def _number(value: float) -> str:
    return repr(value) if math.isfinite(value) else f"{'-' if value < 0 else ''}1e999"


def _text(column: str, clause: Clause) -> str:
    if clause.operator in ("IS NULL", "IS NOT NULL"):
        return f"{column} {clause.operator.lower()}"
    if clause.operator in ("IN", "NOT IN"):
        values = ", ".join(map(quoted, clause.value))
        if not values:
            return NOTHING if clause.operator == "IN" else "true"
        return f"{'not ' if clause.operator == 'NOT IN' else ''}({column} in ({values}))"
    return f"{column} {_operator(clause)} {quoted(clause.value)}"


def _param(clause: Clause) -> str:
    """Return a comparison of a parameter, which clients know as text, and which may be stored as a bool or null."""
    name = f"params.{_name(clause.entity.key)}"
    there = f"{quoted(clause.entity.key)} in params"
    value = str(clause.value)
    stored = _STORED.get(value, value)
    match clause.operator:
        case "IS NULL":
            return f"not ({there})"
        case "IS NOT NULL":
            return there
        case "=" if value == "None":
            return f"({name} = 'None' or ({there} and {name} is null))"
        case "!=" if value == "None":
            return f"({name} <> 'None')"
        case "=":
            return f"({name} = {quoted(value)} or {name} = {quoted(stored)})"
        case "!=":
            same = f"{name} <> {quoted(value)} and {name} <> {quoted(stored)}"
            return f"(({same}) or ({there} and {name} is null))"
        case _:
            return _text(name, clause)


def _status(clause: Clause) -> str:
    words = [word for word in records.STATUSES if satisfied(clause, word)]
    statuses = records.statuses_of(words)
    return f"status in ({', '.join(quoted(s.value) for s in statuses)})" if statuses else NOTHING


def _time(column: str, clause: Clause) -> str:
    """Return a comparison in whole milliseconds; times of runs of other tools have microseconds."""
    begin = math.floor(clause.value)
    moment, after = _moment(begin), _moment(begin + 1)
    match clause.operator:
        case "=":
            return f"({column} >= {moment} and {column} < {after})"
        case "!=":
            return f"({column} < {moment} or {column} >= {after})"
        case "<=":
            return f"{column} < {after}"
        case ">":
            return f"{column} >= {after}"
        case operator:
            return f"{column} {operator} {moment}"


def _moment(value: int) -> str:
    try:
        time = datetime.fromtimestamp(value / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        time = datetime(9999 if value > 0 else 1, 1, 1, tzinfo=UTC)
    return quoted(time.isoformat())


def order(keys: Sequence[Key]) -> str:
    """Return sort keys in the filter language: NaN after numbers, missing values last, then newest first, then by id."""
    parts: list[str] = []
    for key in keys:
        kind, name = key.entity.kind, key.entity.key
        way = "desc" if key.descending else "asc"
        if kind == "metric":
            # A NaN is null in summaries: the second key is 0 if there is a value, and null if there is none.
            parts += [f"metrics.{_name(name)} {way}", f"metrics.{_name(name)}.count * 0"]
        elif kind == "param":
            parts.append(f"params.{_name(name)} {way}")
        elif kind == "tag":
            parts.append(f"{_TAG_COLUMNS.get(name, f'tags.{_name(name)}')} {way}")
        else:
            parts.append(f"{_COLUMNS.get(name, name)} {way}")
    names = [key.entity.key for key in keys if key.entity.kind in ("text", "number")]
    parts += [] if "start_time" in names else ["started_at desc"]
    parts += [] if "run_id" in names else ["id asc"]
    return ", ".join(parts)


def value_of(
    places: Mapping[str, Place], attributes: Mapping[str, Mapping[str, Any]]
) -> Callable[[Run, Entity], Any]:
    """Return a function that returns a value of a run as MLflow's clients know it; None if it is missing."""

    def value(run: Run, entity: Entity) -> Any:
        key = entity.key
        if entity.kind == "metric":
            metric = run.metrics.get(key)
            if metric is None:
                return None
            return math.nan if metric.last is None else metric.last
        if entity.kind == "param":
            return records.param_text(run.params[key]) if key in run.params else None
        if entity.kind == "tag":
            return records.tags_of(run, attributes.get(run.id, {})).get(key)
        return records.info(run, places[run.experiment_id]).get(key)

    return value


def has_dataset(clauses: Sequence[Clause], uses: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether a run that used some datasets matches clauses about datasets."""
    fields = [
        {
            "name": use["dataset"].get("name"),
            "digest": use["dataset"].get("digest"),
            "context": use["tags"].get("mlflow.data.context"),
        }
        for use in uses
    ]
    return all(any(satisfied(clause, f[clause.entity.key]) for f in fields) for clause in clauses)
