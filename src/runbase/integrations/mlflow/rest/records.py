"""Runs as MLflow's clients see them, and what their reserved tags mean in runbase."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from runbase.events import Captured, JournalEvent, Noted, Tags
from runbase.ingest.foreign import typed
from runbase.integrations.mlflow.reader import GIT_TAGS, NO_TAGS, STATUSES
from runbase.integrations.mlflow.rest.calls import Json
from runbase.integrations.mlflow.rest.experiments import milliseconds
from runbase.integrations.mlflow.rest.numbers import Place
from runbase.model import Run
from runbase.status import Phase, Status

NAME, USER, PARENT, NOTE, SOURCE = (
    "mlflow.runName",
    "mlflow.user",
    "mlflow.parentRunId",
    "mlflow.note.content",
    "mlflow.source.name",
)
INTERNAL = {tag: tag.removeprefix("mlflow.") for tag in NO_TAGS}
"""Tags that are stored as attributes, as the importer does it."""
_WORDS = {status: word for word, status in STATUSES.items()}
LONGEST_PARAM, LONGEST_TAG = 6000, 8000
MODEL_INPUT, MODEL_OUTPUT, DATASET = "model_input.", "model_output.", "dataset."


def word_of(status: Status) -> str:
    """Return MLflow's word for a status."""
    if status in _WORDS:
        return _WORDS[status]
    return {Phase.WAITING: "SCHEDULED", Phase.ACTIVE: "RUNNING"}.get(status.phase, "FAILED")


def statuses_of(words: Sequence[str]) -> list[Status]:
    """Return the statuses that MLflow's words stand for."""
    return [status for status in Status if word_of(status) in words]


def param(text: str) -> Any:
    """Return a parameter as it is stored: a number or a bool if its text comes back exactly."""
    value = typed(text)
    return value if param_text(value) == text else text


def param_text(value: Any) -> str:
    """Return a stored parameter as MLflow's clients see it."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def figure(value: float | None) -> float | str:
    """Return a number as JSON has it; NaN and the infinities are texts."""
    if value is None or math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value


def tags_of(run: Run, attributes: Mapping[str, Any]) -> dict[str, str]:
    """Return all tags of a run, with those that runbase stores as other fields."""
    tags = {key: value or "" for key, value in run.tags.items()}
    for tag, key in INTERNAL.items():
        value = attributes.get(key)
        if value is not None:
            tags[tag] = value if isinstance(value, str) else json.dumps(value)
    tags[NAME] = run.name
    fields: dict[str, Any] = {
        USER: run.user,
        PARENT: run.parent_id,
        NOTE: run.notes,
        SOURCE: run.args.get("script"),
        **{tag: run.git.get(key) for key, tag in GIT_TAGS.items()},
    }
    tags |= {tag: str(value) for tag, value in fields.items() if value}
    return tags


class TagChanges:
    """What setting some tags changes.

    Attributes:
        events: what is stored with a delivery.
        fields: fields of the run that are set.
        attributes: attributes that are set.
    """

    def __init__(self, tags: Mapping[str, str], time: float) -> None:
        rest = dict(tags)
        self.fields: Json = {}
        self.attributes: Json = {}
        self.events: list[JournalEvent] = []
        if name := rest.pop(NAME, ""):
            self.fields["name"] = name
        if USER in rest:
            self.fields["user"] = rest.pop(USER) or None
        if PARENT in rest:
            self.fields["parent_id"] = rest.pop(PARENT) or None
        for tag, key in INTERNAL.items():
            if tag in rest:
                self.attributes[key] = rest.pop(tag)
        if NOTE in rest:
            self.events.append(Noted(time=time, text=rest.pop(NOTE)))
        git = {key: rest.pop(tag) for key, tag in GIT_TAGS.items() if tag in rest}
        script = rest.pop(SOURCE, "")
        if git or script:
            args = {"script": script} if script else None
            self.events.append(Captured(time=time, git=git or None, args=args))
        if rest:
            self.events.append(Tags(time=time, set=dict(rest)))


def info(run: Run, place: Place) -> Json:
    """Return the RunInfo of a run."""
    began = run.started_at or run.created_at
    return {
        "run_id": run.id,
        "run_uuid": run.id,
        "run_name": run.name,
        "experiment_id": place.number,
        "user_id": run.user or "",
        "status": word_of(run.status),
        "start_time": milliseconds(began),
        **({"end_time": milliseconds(run.ended_at)} if run.ended_at is not None else {}),
        "artifact_uri": place.artifacts_of(run.id),
        "lifecycle_stage": "active" if run.deleted_at is None else "deleted",
    }


def shown(run: Run, place: Place, attributes: Mapping[str, Any]) -> Json:
    """Return a run as MLflow's clients see it."""
    return {
        "info": info(run, place),
        "data": {
            "metrics": [
                {
                    "key": key,
                    "value": figure(metric.last),
                    "timestamp": 0 if metric.last_time is None else milliseconds(metric.last_time),
                    "step": int(metric.last_step or 0),
                }
                for key, metric in run.metrics.items()
            ],
            "params": [
                {"key": key, "value": param_text(value)} for key, value in run.params.items()
            ],
            "tags": pairs(tags_of(run, attributes)),
        },
        "inputs": {
            "dataset_inputs": [
                {"tags": pairs(use["tags"]), "dataset": use["dataset"]}
                for use in datasets(attributes)
            ],
            "model_inputs": [
                {"model_id": key.removeprefix(MODEL_INPUT)}
                for key, value in attributes.items()
                if key.startswith(MODEL_INPUT) and value is not None
            ],
        },
        "outputs": {
            "model_outputs": [
                {"model_id": key.removeprefix(MODEL_OUTPUT), "step": int(value)}
                for key, value in attributes.items()
                if key.startswith(MODEL_OUTPUT) and value is not None
            ]
        },
    }


def pairs(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Return a mapping as MLflow's clients send it."""
    return [{"key": key, "value": value} for key, value in values.items()]


def datasets(attributes: Mapping[str, Any]) -> list[Json]:
    """Return the datasets that a run used: tags, and the description of each."""
    found: list[Json] = []
    imported: list[Json] = attributes.get("datasets") or []
    for described in imported:
        context = described.get("context")
        fields = {k: v for k, v in described.items() if k != "context" and v is not None}
        tags = {"mlflow.data.context": str(context)} if context else {}
        found.append({"tags": tags, "dataset": fields})
    logged = [v for k, v in attributes.items() if k.startswith(DATASET) and v is not None]
    return [*found, *sorted(logged, key=lambda use: use.get("at", 0.0))]
