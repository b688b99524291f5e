"""Logged models: documents of the store, with their parameters, tags and latest metrics."""

import re
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from msgspec import Struct

from runbase.errors import Conflict
from runbase.integrations.mlflow.rest import experiments, records
from runbase.integrations.mlflow.rest.calls import Call, Fields, Json, page
from runbase.integrations.mlflow.rest.errors import MlflowError, bad_value, invalid, not_found
from runbase.integrations.mlflow.rest.grammar import (
    Clause,
    Entity,
    Key,
    parse_filter,
    satisfied,
    sort,
)
from runbase.storage.server_protocol import Document

KIND = "mlflow model"
_ID = re.compile(r"m-[0-9a-f]{32}")
_STATUSES = ("LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED")
_CODES = {
    "0": "LOGGED_MODEL_STATUS_UNSPECIFIED",
    "1": _STATUSES[0],
    "2": _STATUSES[1],
    "3": _STATUSES[2],
}
_TEXTS = ("name", "model_id", "model_type", "status", "source_run_id")
_TIMES = ("creation_timestamp", "last_updated_timestamp")
_ALIASES = {
    "creation_timestamp_ms": "creation_timestamp",
    "creation_time": "creation_timestamp",
    "last_updated_timestamp_ms": "last_updated_timestamp",
    "last_updated_time": "last_updated_timestamp",
}
_TRIES = 100


class Model(Struct, frozen=True):
    """A logged model: its document, and the number of its experiment."""

    document: Document
    number: str

    @property
    def model_id(self) -> str:
        """Its id for MLflow's clients."""
        return f"m-{self.document.id}"

    @property
    def body(self) -> Json:
        """Its fields."""
        return cast("Json", self.document.body)


def run_of_model(model: Model) -> str:
    """Return the id of the run that made a model; empty if there is none."""
    return str(model.body.get("source_run_id") or "")


def create(call: Call) -> Json:
    """Create a model whose files are not there yet."""
    experiment = experiments.one(call, "log", active=True)
    place = call.numbers.of([experiment.id])[experiment.id]
    name = call.fields.text("name")
    if name and re.search(r"[/:.%\"']", name):
        raise bad_value(name, "name", ". A model's name must not contain / : . % \" or '.")
    run = call.fields.text("source_run_id")
    body: Json = {
        "name": name or f"model-{int(time.time())}",
        "model_type": call.fields.text("model_type"),
        "source_run_id": run,
        "status": _STATUSES[0],
        "params": call.fields.pairs("params", records.LONGEST_PARAM),
        "tags": call.fields.pairs("tags", records.LONGEST_TAG),
        "metrics": [],
        "artifact_uri": "",
    }
    storage = call.store.storage
    document = storage.put_document(KIND, body["name"], "mlflow", body, experiment.id)
    body["artifact_uri"] = f"{place.location.rstrip('/')}/models/m-{document.id}/artifacts"
    document = storage.put_document(
        KIND, body["name"], "mlflow", body, experiment.id, document.id, document.version
    )
    return {"model": shown(Model(document, place.number))}


def model_of(call: Call, model: str, permission: str = "read") -> Model:
    """Return a model by its id, if the caller may use it."""
    document = call.store.storage.document(model[2:]) if _ID.fullmatch(model) else None
    if document is None or document.kind != KIND or document.experiment is None:
        raise not_found(f"Logged model with ID '{model}' not found.")
    if permission == "read" and not call.caller.may("read", document.experiment):
        raise not_found(f"Logged model with ID '{model}' not found.")
    call.caller.require(permission, document.experiment)
    return Model(document, call.numbers.of([document.experiment])[document.experiment].number)


def get(call: Call) -> Json:
    """Return a model."""
    return {"model": shown(model_of(call, call.parts["model_id"]))}


def finalize(call: Call) -> Json:
    """Record whether the files of a model are there."""
    status = _CODES.get(str(call.fields.values.get("status")), call.fields.values.get("status"))
    if status not in _STATUSES:
        raise bad_value(call.fields.values.get("status"), "status")
    return {"model": shown(_change(call, lambda body: body.update(status=status)))}


def set_tags(call: Call) -> Json:
    """Set tags of a model."""
    tags = call.fields.pairs("tags", records.LONGEST_TAG)
    return {"model": shown(_change(call, lambda body: body["tags"].update(tags)))}


def delete_tag(call: Call) -> Json:
    """Remove a tag of a model."""
    key = call.parts["tag_key"]
    if key not in model_of(call, call.parts["model_id"]).body["tags"]:
        raise not_found(
            f"No tag with key {key!r} found for model with ID {call.parts['model_id']!r}."
        )
    _change(call, lambda body: body["tags"].pop(key, None))
    return {}


def log_params(call: Call) -> Json:
    """Add parameters to a model."""
    params = call.fields.pairs("params", records.LONGEST_PARAM)
    _change(call, lambda body: body["params"].update(params))
    return {}


def delete(call: Call) -> Json:
    """Remove a model. Its files stay artifacts of its run."""
    model = model_of(call, call.parts["model_id"], "write")
    call.store.storage.remove_document(model.document.id)
    return {}


def _change(call: Call, change: Callable[[Json], object], model: str | None = None) -> Model:
    """Change the document of a model; of concurrent changes, each is stored."""
    for _ in range(_TRIES):
        found = model_of(call, model or call.parts["model_id"], "log")
        change(found.body)
        try:
            document = call.store.storage.put_document(
                KIND,
                found.body["name"],
                found.document.owner,
                found.body,
                found.document.experiment,
                found.document.id,
                found.document.version,
            )
        except Conflict:
            continue
        return Model(document, found.number)
    raise MlflowError("TEMPORARILY_UNAVAILABLE", "the model is changed too often; try again")


def log_metrics(call: Call, run: str, items: Sequence[Fields]) -> None:
    """Add the metrics of a request that name a model to the model: the latest of each run and dataset."""
    by_model: dict[str, list[Json]] = {}
    for item in items:
        if model := item.text("model_id"):
            metric: Json = {
                "key": item.text("key"),
                "value": records.figure(item.figure("value")),
                "timestamp": item.integer("timestamp"),
                "step": item.integer("step", 0),
                "model_id": model,
                "run_id": run,
            }
            names = ("dataset_name", "dataset_digest")
            by_model.setdefault(model, []).append(
                {**metric, **{name: item.text(name) for name in names if item.has(name)}}
            )
    for model, metrics in by_model.items():

        def add(body: Json, metrics: Sequence[Json] = metrics) -> None:
            latest: dict[Any, Json] = {}
            for metric in [*body["metrics"], *metrics]:
                names = ("key", "run_id", "dataset_name", "dataset_digest")
                mark = tuple(metric.get(name) for name in names)
                before = latest.get(mark)
                if before is None or _when(metric) >= _when(before):
                    latest[mark] = metric
            body["metrics"] = list(latest.values())

        _change(call, add, model)


def _when(metric: Json) -> tuple[int, int]:
    return metric["step"], metric["timestamp"]


def shown(model: Model) -> Json:
    """Return a model as MLflow's clients see it."""
    body = model.body
    return {
        "info": {
            "model_id": model.model_id,
            "experiment_id": model.number,
            "name": body["name"],
            "creation_timestamp_ms": experiments.milliseconds(model.document.created_at),
            "last_updated_timestamp_ms": experiments.milliseconds(model.document.updated_at),
            "artifact_uri": body["artifact_uri"],
            "status": body["status"],
            "model_type": body["model_type"],
            "source_run_id": body["source_run_id"],
            "tags": records.pairs(body["tags"]),
        },
        "data": {"params": records.pairs(body["params"]), "metrics": body["metrics"]},
    }


# Search


def search(call: Call) -> Json:
    """Return the models of experiments that match a filter, newest first unless ordered."""
    most = call.fields.most(50, 50_000)
    clauses = parse_filter(call.fields.text("filter"), _entity)
    wanted = [
        (d.text("dataset_name"), d.text("dataset_digest")) for d in call.fields.objects("datasets")
    ]
    keys = [(_key(item), _dataset(item)) for item in call.fields.objects("order_by")]
    found: list[Model] = []
    for number in call.fields.texts("experiment_ids"):
        key = call.numbers.find(number)
        if key is not None and call.caller.may("read", key):
            shown_as = call.numbers.of([key])[key].number
            found += [Model(d, shown_as) for d in call.store.storage.documents(KIND, key)]
    found = [model for model in found if all(_matches(c, model, wanted) for c in clauses)]
    found.sort(key=lambda model: model.model_id)
    found.sort(key=lambda model: model.document.created_at, reverse=True)
    for key, dataset in reversed(keys):
        datasets = [dataset] if dataset != ("", "") else []
        found = sort(
            found, [key], lambda model, entity, datasets=datasets: _value(model, entity, datasets)
        )
    listed, more = page(found, call.fields.begin(), most)
    return {"models": [shown(model) for model in listed], **more} if listed else {}


def _entity(word: str, key: str) -> Entity:
    """Return what a name in a filter means."""
    kinds = {"metric": "metric", "metrics": "metric", "param": "param", "params": "param", "tag": "tag", "tags": "tag"}  # fmt: skip
    if word in kinds:
        return Entity(kinds[word], key)
    name = _ALIASES.get(key, key)
    if word in ("", "attribute", "attributes") and name in (*_TEXTS, *_TIMES):
        return Entity("text" if name in _TEXTS else "number", name)
    raise invalid(f"Invalid attribute key '{key}' specified. Valid keys are {[*_TEXTS, *_TIMES]}.")


def _key(item: Fields) -> Key:
    word, dot, key = item.text("field_name", required=True).partition(".")
    entity = _entity(word, key) if dot else _entity("", word)
    return Key(entity, item.values.get("ascending") is False)


def _dataset(item: Fields) -> tuple[str, str]:
    return item.text("dataset_name"), item.text("dataset_digest")


def _matches(clause: Clause, model: Model, datasets: Sequence[tuple[str, str]]) -> bool:
    return satisfied(clause, _value(model, clause.entity, datasets))


def _value(model: Model, entity: Entity, datasets: Sequence[tuple[str, str]]) -> Any:
    """Return a value of a model; of a metric the latest, of some datasets if there are any."""
    body = model.body
    if entity.kind in ("param", "tag"):
        return body[f"{entity.kind}s"].get(entity.key)
    if entity.kind == "metric":
        metrics = [m for m in body["metrics"] if m["key"] == entity.key and _is_of(m, datasets)]
        return float(max(metrics, key=_when)["value"]) if metrics else None
    if entity.key in _TIMES:
        field = "created_at" if entity.key == _TIMES[0] else "updated_at"
        return experiments.milliseconds(getattr(model.document, field))
    if entity.key == "model_id":
        return model.model_id
    value = body[entity.key]
    return value.removeprefix("LOGGED_MODEL_") if entity.key == "status" else value or None


def _is_of(metric: Json, datasets: Sequence[tuple[str, str]]) -> bool:
    """Return whether a metric belongs to one of some datasets; an empty digest means any."""
    if not datasets:
        return True
    return any(
        metric.get("dataset_name") == name and digest in ("", metric.get("dataset_digest"))
        for name, digest in datasets
    )
