"""Experiments: create, read, search, change, delete."""

from typing import Any

from runbase.ids import new_id
from runbase.integrations.mlflow.rest.calls import Call, Json, page
from runbase.integrations.mlflow.rest.errors import MlflowError, bad_value, invalid, not_found
from runbase.integrations.mlflow.rest.grammar import (
    Entity,
    parse_filter,
    parse_order,
    satisfied,
    sort,
)
from runbase.integrations.mlflow.rest.numbers import LOCATION, SCOPE, Place
from runbase.model import Experiment
from runbase.typing import JsonObject

LONGEST_NAME = 500
LONGEST_TAG = 20_000
NOTE = "mlflow.note.content"
_COLUMNS = ("name", "experiment_id", "creation_time", "last_update_time")


def milliseconds(moment: Any) -> int:
    """Return a time in milliseconds since the epoch."""
    return round(moment.timestamp() * 1000)


def create(call: Call) -> Json:
    """Create an experiment. Names are unique, deleted experiments included."""
    name = _name(call, "name")
    location = call.fields.text("artifact_location")
    if "#" in location or "?" in location:
        raise bad_value(location, "artifact_location", ": a query or a fragment is not allowed.")
    tags = call.fields.pairs("tags", LONGEST_TAG)
    call.caller.require("log")
    if call.numbers.named(name):
        raise _taken(name)
    fields: JsonObject = {"description": tags.pop(NOTE, "")}
    if tags:
        fields["tags"] = tags
    wanted = new_id()
    key = call.store.storage.get_or_create_experiment(name, fields, wanted)
    if key != wanted:  # another client was quicker
        raise _taken(name)
    if location:
        call.store.storage.put_attributes("experiment", key, SCOPE, {LOCATION: location})
    return {"experiment_id": call.numbers.of([key])[key].number}


def _name(call: Call, field: str) -> str:
    """Return the name in a request."""
    value = call.fields.values.get(field)
    if value is not None and not isinstance(value, str):
        raise bad_value(value, field)
    name = call.fields.text(field, required=True)
    if len(name) > LONGEST_NAME:
        raise invalid(f"'{field}' exceeds the maximum length of {LONGEST_NAME} characters")
    if not name.strip():
        raise bad_value(name, field)
    return name


def _taken(name: str) -> MlflowError:
    return MlflowError(
        "RESOURCE_ALREADY_EXISTS",
        f"Experiment '{name}' already exists; it may be in the deleted state, and can be restored then.",
    )


def one(call: Call, permission: str = "read", *, active: bool = False) -> Experiment:
    """Return the experiment that a request names by its id, if the caller may use it."""
    return by_number(
        call, call.fields.text("experiment_id", required=True), permission, active=active
    )


def by_number(
    call: Call, number: str, permission: str = "read", *, active: bool = False
) -> Experiment:
    """Return an experiment by the id that MLflow's clients know.

    Args:
        call: the request.
        number: the id.
        permission: what the caller must be allowed to do with it.
        active: whether it must not be deleted.
    """
    key = call.numbers.find(number)
    found = call.store.storage.get_experiments([key]) if key is not None else []
    if not found or (permission == "read" and not call.caller.may("read", found[0].id)):
        raise not_found(f"No Experiment with id={number} exists")
    call.caller.require(permission, found[0].id)
    if active and found[0].deleted_at is not None:
        raise invalid(
            f"The experiment {number} must be in the 'active' state. Current state is deleted."
        )
    return found[0]


def get(call: Call) -> Json:
    """Return an experiment by id, deleted ones included."""
    record = one(call)
    return {"experiment": shown(record, call.numbers.of([record.id])[record.id])}


def get_by_name(call: Call) -> Json:
    """Return an experiment by name; a deleted one if there is no other."""
    name = call.fields.text("experiment_name", required=True)
    named = [r for r in call.numbers.named(name) if call.caller.may("read", r.id)]
    if not named:
        raise not_found(f"Could not find experiment with name '{name}'")
    record = min(named, key=lambda each: each.deleted_at is not None)
    return {"experiment": shown(record, call.numbers.of([record.id])[record.id])}


def search(call: Call) -> Json:
    """Return experiments that match a filter, newest first unless ordered."""
    most = call.fields.most(1000, 50_000)
    view = view_type(call, "view_type")
    clauses = parse_filter(call.fields.text("filter"), _entity)
    keys = parse_order(call.fields.texts("order_by"), _entity)
    call.numbers.default()
    everything = [
        record
        for record in call.numbers.everything()
        if _in_view(record, view) and call.caller.may("read", record.id)
    ]
    places = call.numbers.of(record.id for record in everything)

    def value(record: Experiment, entity: Entity) -> Any:
        if entity.kind == "tag":
            return tags_of(record).get(entity.key)
        return {
            "name": record.name,
            "experiment_id": places[record.id].number,
            "creation_time": milliseconds(record.created_at),
            "last_update_time": milliseconds(record.updated_at),
        }[entity.key]

    found = [r for r in everything if all(satisfied(c, value(r, c.entity)) for c in clauses)]
    found.sort(key=lambda r: (-milliseconds(r.created_at), int(places[r.id].number)))
    found = sort(found, keys, value)
    listed, more = page(found, call.fields.begin(), most)
    return {"experiments": [shown(record, places[record.id]) for record in listed], **more}


def _entity(word: str, key: str) -> Entity:
    """Return what a name in a filter means."""
    if word in ("tag", "tags"):
        return Entity("tag", key)
    if word in ("", "attribute", "attributes", "attr", "experiment") and key in _COLUMNS:
        return Entity("number" if key.endswith("_time") else "text", key)
    raise invalid(f"Invalid attribute key '{key}' specified. Valid keys are {list(_COLUMNS)}.")


def view_type(call: Call, name: str) -> str:
    """Return which of active and deleted ones are asked for."""
    view: Any = call.fields.values.get(name) or "ACTIVE_ONLY"
    view = {"1": "ACTIVE_ONLY", "2": "DELETED_ONLY", "3": "ALL"}.get(str(view), view)
    if view not in ("ACTIVE_ONLY", "DELETED_ONLY", "ALL"):
        raise bad_value(view, name)
    return str(view)


def _in_view(record: Experiment, view: str) -> bool:
    return view == "ALL" or (record.deleted_at is not None) == (view == "DELETED_ONLY")


def update(call: Call) -> Json:
    """Rename an experiment."""
    record = one(call, "write", active=True)
    if call.fields.has("new_name"):
        name = _name(call, "new_name")
        if any(each.id != record.id for each in call.numbers.named(name)):
            raise _taken(name)
        call.store.storage.update("experiment", record.id, {"name": name})
    return {}


def delete(call: Call) -> Json:
    """Move an experiment and its runs to the trash."""
    record = one(call, "write")
    if record.deleted_at is not None:
        raise not_found(f"No active experiment with id={call.fields.text('experiment_id')} exists")
    call.store.storage.delete("experiment", [record.id])
    return {}


def restore(call: Call) -> Json:
    """Restore an experiment and the runs that were deleted with it."""
    record = one(call, "write")
    if record.deleted_at is None:
        raise not_found(f"No deleted experiment with id={call.fields.text('experiment_id')} exists")
    call.store.storage.delete("experiment", [record.id], back=True)
    return {}


def set_tag(call: Call) -> Json:
    """Set a tag of an experiment; the note is its description."""
    record = one(call, "log", active=True)
    key, value = call.fields.key("key"), call.fields.values_text("value")
    if len(value) > LONGEST_TAG:
        raise invalid(f"'value' exceeds the maximum length of {LONGEST_TAG} characters")
    if key == NOTE:
        call.store.storage.update("experiment", record.id, {"description": value})
    else:
        call.store.storage.add("experiment", record.id, {"tags": {key: value}})
    return {}


def delete_tag(call: Call) -> Json:
    """Remove a tag of an experiment."""
    record = one(call, "log", active=True)
    key = call.fields.key("key")
    if key not in tags_of(record):
        raise not_found(
            f"No tag with name: {key} in experiment with id {call.fields.text('experiment_id')}"
        )
    if key == NOTE:
        call.store.storage.update("experiment", record.id, {"description": ""})
    else:
        call.store.storage.remove("experiment", record.id, {"tags": [key]})
    return {}


def tags_of(record: Experiment) -> dict[str, str]:
    """Return the tags of an experiment as MLflow's clients see them."""
    tags = {key: value or "" for key, value in record.tags.items()}
    if record.description:
        tags[NOTE] = record.description
    return tags


def shown(record: Experiment, place: Place) -> Json:
    """Return an experiment as MLflow's clients see it."""
    return {
        "experiment_id": place.number,
        "name": record.name,
        "artifact_location": place.location,
        "lifecycle_stage": "active" if record.deleted_at is None else "deleted",
        "creation_time": milliseconds(record.created_at),
        "last_update_time": milliseconds(record.updated_at),
        "tags": [{"key": key, "value": value} for key, value in tags_of(record).items()],
    }
