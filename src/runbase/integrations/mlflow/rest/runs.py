"""Runs: create, read, change, delete; tags, datasets and models of runs."""

import json
import time
from collections.abc import Sequence
from typing import Any

from runbase.events import Ended, JournalEvent, Noted, Started, StatusChanged, Tags
from runbase.ids import derived_id, name_for, new_id
from runbase.integrations.mlflow.reader import CODES, GIT_TAGS, STATUSES
from runbase.integrations.mlflow.rest import experiments, records
from runbase.integrations.mlflow.rest.calls import Call, Fields, Json
from runbase.integrations.mlflow.rest.deliveries import (
    FILE,
    deliver,
    journal_of,
    log,
    opened,
    run_of,
)
from runbase.integrations.mlflow.rest.errors import absent, bad_value, invalid, not_found
from runbase.integrations.mlflow.rest.numbers import DEFAULT, SCOPE
from runbase.model import Run
from runbase.status import Phase, Status
from runbase.storage.types import Delivery

LONGEST = {"name": 500, "digest": 36, "source": 65_535, "schema": 1_048_575, "profile": 16_777_215}
"""Field of a dataset → the maximum number of characters."""
HISTORY = "log-model.history"


def create(call: Call) -> Json:
    """Create a run that is running."""
    number = call.fields.text("experiment_id") or DEFAULT
    experiment = experiments.by_number(call, number, "log", active=True)
    tags = {
        item.key("key", what="Tag key"): item.values_text("value")[: records.LONGEST_TAG]
        for item in call.fields.objects("tags")
    }
    name = call.fields.text("run_name")
    tagged = tags.pop(records.NAME, "")
    if name and tagged and name != tagged:
        raise invalid(
            f"Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
            f"(run_name='{name}', mlflow.runName='{tagged}')."
        )
    key = new_id()
    at = call.fields.integer("start_time", 0) / 1000 or time.time()
    name = name or tagged or name_for(key)
    changes = records.TagChanges(tags, at)
    user = changes.fields.get("user") or call.fields.text("user_id") or None
    head: list[JournalEvent] = [
        opened(key, experiment.name, name, at, call.host),
        Started(time=at, parent=changes.fields.get("parent_id"), user=user),
    ]
    call.store.storage.apply(
        [
            Delivery(
                run=key,
                events=[*head, *changes.events],
                journal=journal_of(key),
                start=0,
                offset=1,
                file=FILE,
                experiment=experiment.id,
                lines=1,
            )
        ]
    )
    if changes.attributes:
        call.store.storage.put_attributes("run", key, SCOPE, changes.attributes)
    return {"run": shown(call, call.store.storage.get_runs([key]))[0]}


def get(call: Call) -> Json:
    """Return a run, deleted ones included."""
    return {"run": shown(call, [run_of(call, call.fields.either("run_id", "run_uuid"))])[0]}


def shown(call: Call, runs: Sequence[Run]) -> list[Json]:
    """Return runs as MLflow's clients see them."""
    places = call.numbers.of(run.experiment_id for run in runs)
    attributes = call.store.storage.attributes("run", [run.id for run in runs], SCOPE)
    return [
        records.shown(run, places[run.experiment_id], attributes.get(run.id, {})) for run in runs
    ]


def update(call: Call) -> Json:
    """Change status, end time and name of a run."""
    key = call.fields.either("run_id", "run_uuid")
    word = _word(call.fields.values.get("status"))
    end = call.fields.integer("end_time", 0) / 1000

    def events_of(run: Run) -> list[JournalEvent]:
        status = run.status if word is None else STATUSES[word]
        if word is not None and status.phase is Phase.ENDED:
            return [Ended(time=end or time.time(), status=status)]
        if word is not None and status is not run.status:
            if status is Status.RUNNING:
                return [Started(time=time.time(), resumed=run.ended)]
            return [StatusChanged(time=time.time(), status=status)]
        return []

    deliver(call, key, events_of)
    changes: Json = {}
    if name := call.fields.text("run_name"):
        changes["name"] = name
    run = run_of(call, key)
    if (
        end
        and run.ended
        and run.ended_at is not None
        and abs(run.ended_at.timestamp() - end) > 5e-4
    ):
        changes["ended_at"] = end  # the client's clock shows an earlier time than at the start
    if changes:
        call.store.storage.update("run", key, changes)
        run = run_of(call, key)
    place = call.numbers.of([run.experiment_id])[run.experiment_id]
    return {"run_info": records.info(run, place)}


def _word(value: Any) -> str | None:
    """Return the status in a request, by its name or number."""
    if value in (None, ""):
        return None
    words = {str(code): word for code, word in CODES.items()}
    word = words.get(str(value), str(value))
    if word not in STATUSES:
        raise bad_value(value, "status")
    return word


def delete(call: Call) -> Json:
    """Move a run to the trash."""
    run = run_of(call, call.fields.text("run_id", required=True), "write")
    call.store.storage.delete("run", [run.id])
    return {}


def restore(call: Call) -> Json:
    """Restore a run from the trash."""
    run = run_of(call, call.fields.text("run_id", required=True), "write")
    call.store.storage.delete("run", [run.id], back=True)
    return {}


def set_tag(call: Call) -> Json:
    """Set a tag of a run."""
    key = call.fields.either("run_id", "run_uuid")
    name = call.fields.key("key", what="Tag key")
    log(call, key, tags={name: call.fields.values_text("value")})
    return {}


def delete_tag(call: Call) -> Json:
    """Remove a tag of a run."""
    name = call.fields.key("key")
    run = run_of(call, call.fields.either("run_id", "run_uuid"), "log", active=True)
    storage = call.store.storage
    attributes = storage.attributes("run", [run.id], SCOPE)[run.id]
    if name not in records.tags_of(run, attributes):
        raise not_found(f"No tag with name: {name} in run with id {run.id}")
    if name in records.INTERNAL:
        storage.put_attributes("run", run.id, SCOPE, {records.INTERNAL[name]: None})
    elif name in (records.PARENT, records.USER):
        field = "parent_id" if name == records.PARENT else "user"
        storage.update("run", run.id, {field: None})
    elif name == records.SOURCE:
        storage.remove("run", run.id, {"args": ["script"]})
    elif name in GIT_TAGS.values():
        storage.remove("run", run.id, {"git": [k for k, tag in GIT_TAGS.items() if tag == name]})
    elif name == records.NOTE:
        deliver(call, run.id, lambda _: [Noted(time=time.time(), text="")])
    elif name in run.tags:
        deliver(call, run.id, lambda _: [Tags(time=time.time(), remove=(name,))])
    return {}


def log_inputs(call: Call) -> Json:
    """Record datasets and models that a run used."""
    run = run_of(call, call.fields.either("run_id", "run_uuid"), "log", active=True)
    known = call.store.storage.attributes("run", [run.id], SCOPE)[run.id]
    values: Json = {}
    for place, item in enumerate(call.fields.objects("datasets")):
        described = item.values.get("dataset")
        if not isinstance(described, dict):
            raise absent(f"datasets[{place}].dataset")
        dataset = _dataset(Fields(described, f"datasets[{place}].dataset"))  # pyright: ignore[reportUnknownArgumentType]
        tags = {tag.text("key", required=True, longest=255): tag.text("value", longest=500)
                for tag in item.objects("tags")}  # fmt: skip
        key = f"{records.DATASET}{derived_id(dataset['name'], dataset['digest'])}"
        before: Json = known.get(key) or {}
        values[key] = {
            "dataset": dataset,
            "tags": {**before.get("tags", {}), **tags},
            "at": before.get("at", time.time() + place * 1e-6),
        }
    for item in call.fields.objects("models"):
        values[f"{records.MODEL_INPUT}{item.text('model_id', required=True)}"] = True
    if values:
        call.store.storage.put_attributes("run", run.id, SCOPE, values)
    return {}


def _dataset(fields: Fields) -> Json:
    required = ("name", "digest", "source_type", "source")
    names = (*required, "schema", "profile")
    texts = {n: fields.text(n, required=n in required, longest=LONGEST.get(n)) for n in names}
    return {name: text for name, text in texts.items() if text}


def outputs(call: Call) -> Json:
    """Record models that a run made."""
    run = run_of(call, call.fields.either("run_id", "run_uuid"), "log", active=True)
    values = {
        f"{records.MODEL_OUTPUT}{item.text('model_id', required=True)}": item.integer("step", 0)
        for item in call.fields.objects("models")
    }
    if values:
        call.store.storage.put_attributes("run", run.id, SCOPE, values)
    return {}


def log_model(call: Call) -> Json:
    """Add a model to the tag that lists the models of a run, as clients of MLflow 2 do."""
    run = run_of(call, call.fields.either("run_id", "run_uuid"), "log", active=True)
    text = call.fields.text("model_json", required=True)
    try:
        model: Any = json.loads(text)
    except ValueError as error:
        raise invalid(f"Malformed model info. The value is not JSON: {error}") from error
    if not isinstance(model, dict):
        raise invalid("Malformed model info. The value is not a JSON object.")
    known = call.store.storage.attributes("run", [run.id], SCOPE)[run.id].get(HISTORY) or "[]"
    history: list[Any] = json.loads(known) if isinstance(known, str) else known
    value = json.dumps([*history, model])
    call.store.storage.put_attributes("run", run.id, SCOPE, {HISTORY: value})
    return {}
