"""Registered models with versions and aliases: one document of the store for each name.

They belong to the whole store: a caller that may use some experiments only has no access.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from runbase.errors import Conflict
from runbase.integrations.mlflow.rest import records
from runbase.integrations.mlflow.rest.calls import Call, Json, page
from runbase.integrations.mlflow.rest.errors import (
    MlflowError,
    absent,
    bad_value,
    invalid,
    not_found,
)
from runbase.integrations.mlflow.rest.grammar import (
    Entity,
    parse_filter,
    parse_order,
    satisfied,
    sort,
)
from runbase.storage.server_protocol import Document

KIND = "mlflow registered model"
_PROMPT = "mlflow.prompt.is_prompt"
_STAGES = ("None", "Staging", "Production", "Archived")
_TIMES = ("creation_timestamp", "last_updated_timestamp")
_TRIES = 100
_LATEST = "latest"


def _now() -> int:
    return int(time.time() * 1000)


def _name(call: Call, field: str = "name") -> str:
    name = call.fields.values.get(field)
    if not isinstance(name, str) or not name.strip():
        raise absent(field) if name in (None, "") else bad_value(name, field)
    if "/" in name or ":" in name:
        raise bad_value(name, field, ". A model's name must not contain / or :.")
    return name


def _documents(call: Call, permission: str = "read") -> list[Document]:
    call.caller.require(permission)
    return call.store.storage.documents(KIND)


def _find(call: Call, name: str, permission: str = "read") -> Document:
    named = [document for document in _documents(call, permission) if document.name == name]
    if not named:
        raise not_found(f"Registered Model with name={name} not found")
    return min(named, key=lambda document: (document.created_at, document.id))


def _body(document: Document) -> Json:
    return cast("Json", document.body)


def _change(call: Call, change: Callable[[Json], object], permission: str = "log") -> Json:
    """Change the model that a request names; of concurrent changes, each is stored. Returns its fields."""
    for _ in range(_TRIES):
        document = _find(call, _name(call), permission)
        body = _body(document)
        change(body)
        body["last_updated_timestamp"] = _now()
        try:
            call.store.storage.put_document(
                KIND, body["name"], document.owner, body, None, document.id, document.version
            )
        except Conflict:
            continue
        return body
    raise MlflowError("TEMPORARILY_UNAVAILABLE", "the model is changed too often; try again")


# Models


def create(call: Call) -> Json:
    """Create a registered model without versions."""
    name = _name(call)
    if any(document.name == name for document in _documents(call, "log")):
        raise MlflowError(
            "RESOURCE_ALREADY_EXISTS", f"Registered Model (name={name}) already exists."
        )
    now = _now()
    body: Json = {
        "name": name,
        "creation_timestamp": now,
        "last_updated_timestamp": now,
        "description": call.fields.text("description"),
        "tags": call.fields.pairs("tags", records.LONGEST_TAG),
        "aliases": {},
        "versions": {},
        "next": 1,
    }
    call.store.storage.put_document(KIND, name, "mlflow", body)
    return {"registered_model": shown(body)}


def get(call: Call) -> Json:
    """Return a registered model."""
    return {"registered_model": shown(_body(_find(call, _name(call))))}


def rename(call: Call) -> Json:
    """Give a registered model another name."""
    new = _name(call, "new_name")
    if any(document.name == new for document in _documents(call, "write")):
        raise MlflowError(
            "RESOURCE_ALREADY_EXISTS", f"Registered Model (name={new}) already exists."
        )

    def change(body: Json) -> None:
        body["name"] = new
        for version in body["versions"].values():
            version["name"] = new

    return {"registered_model": shown(_change(call, change, "write"))}


def update(call: Call) -> Json:
    """Change the description of a registered model."""
    text = call.fields.text("description")
    return {"registered_model": shown(_change(call, lambda body: body.update(description=text)))}


def delete(call: Call) -> Json:
    """Remove a registered model with its versions. Files stay where they are."""
    call.store.storage.remove_document(_find(call, _name(call), "write").id)
    return {}


def set_tag(call: Call) -> Json:
    """Set a tag of a registered model."""
    key, value = call.fields.key("key"), call.fields.values_text("value")
    _change(call, lambda body: body["tags"].update({key: value}))
    return {}


def delete_tag(call: Call) -> Json:
    """Remove a tag of a registered model."""
    key = call.fields.key("key")
    _change(call, lambda body: body["tags"].pop(key, None))
    return {}


def search(call: Call) -> Json:
    """Return registered models, by name; prompts only if the filter asks for them."""
    most = call.fields.most(100, 1000)
    clauses = parse_filter(call.fields.text("filter"), _entity)
    keys = parse_order(call.fields.texts("order_by"), _entity)
    if not any(clause.entity == Entity("tag", _PROMPT) for clause in clauses):
        clauses += parse_filter(f"tags.`{_PROMPT}` != 'true'", _entity)

    def value(body: Json, entity: Entity) -> Any:
        return _value(body, body["tags"], entity)

    found = [_body(document) for document in _documents(call)]
    found = [body for body in found if all(satisfied(c, value(body, c.entity)) for c in clauses)]
    found = sort(sorted(found, key=lambda body: body["name"]), keys, value)
    listed, more = page(found, call.fields.begin(), most)
    return {"registered_models": [shown(body) for body in listed], **more}


def _entity(word: str, key: str) -> Entity:
    if word in ("tag", "tags"):
        return Entity("tag", key)
    key = {"timestamp": _TIMES[1], "source_path": "source"}.get(key, key)
    if word in ("", "attribute", "attributes"):
        if key in ("name", "run_id", "source"):
            return Entity("text", key)
        if key in (*_TIMES, "version_number"):
            return Entity("number", key)
    raise invalid(f"Invalid attribute key '{key}' specified.")


def _value(fields: Json, tags: Json, entity: Entity) -> Any:
    if entity.kind == "tag":
        return tags.get(entity.key, "false" if entity.key == _PROMPT else None)
    if entity.key == "version_number":
        return int(fields["version"])
    return fields.get(entity.key)


def shown(body: Json) -> Json:
    """Return a registered model as MLflow's clients see it."""
    return {
        "name": body["name"],
        "creation_timestamp": body["creation_timestamp"],
        "last_updated_timestamp": body["last_updated_timestamp"],
        "description": body["description"],
        "tags": records.pairs(body["tags"]),
        "aliases": [{"alias": a, "version": v} for a, v in body["aliases"].items()],
        "latest_versions": _latest(body, ()),
    }


# Versions


def create_version(call: Call) -> Json:
    """Add a version to a registered model."""
    source = call.fields.text("source", required=True)
    made: list[str] = []

    def add(body: Json) -> None:
        number, now = str(body["next"]), _now()
        body["next"] += 1
        body["versions"][number] = {
            "name": body["name"],
            "version": number,
            "creation_timestamp": now,
            "last_updated_timestamp": now,
            "current_stage": "None",
            "description": call.fields.text("description"),
            "source": source,
            "run_id": call.fields.text("run_id"),
            "run_link": call.fields.text("run_link"),
            "model_id": call.fields.text("model_id"),
            "status": "READY",
            "tags": call.fields.pairs("tags", records.LONGEST_TAG),
        }
        made[:] = [number]

    body = _change(call, add)
    return {"model_version": shown_version(body, made[0])}


def _number(call: Call, body: Json) -> str:
    """Return the version in a request. Raises MlflowError if it does not exist."""
    number = call.fields.values_text("version")
    if not number:
        raise absent("version")
    if number not in body["versions"]:
        raise not_found(f"Model Version (name={body['name']}, version={number}) not found")
    return number


def get_version(call: Call) -> Json:
    """Return a version."""
    body = _body(_find(call, _name(call)))
    return {"model_version": shown_version(body, _number(call, body))}


def _change_version(call: Call, change: Callable[[Json], object], permission: str = "log") -> Json:
    numbers: list[str] = []

    def inside(body: Json) -> None:
        number = _number(call, body)
        change(body["versions"][number])
        body["versions"][number]["last_updated_timestamp"] = _now()
        numbers[:] = [number]

    body = _change(call, inside, permission)
    return {"model_version": shown_version(body, numbers[0])}


def update_version(call: Call) -> Json:
    """Change the description of a version."""
    text = call.fields.text("description")
    return _change_version(call, lambda version: version.update(description=text))


def transition(call: Call) -> Json:
    """Move a version to another stage."""
    stages = {stage.lower(): stage for stage in _STAGES}
    stage = stages.get(call.fields.text("stage", required=True).lower())
    if stage is None:
        raise invalid(f"Invalid Model Version stage; use one of {', '.join(_STAGES)}.")
    archive = call.fields.values.get("archive_existing_versions") in (True, "true")

    def change(body: Json) -> None:
        number = _number(call, body)
        for version in body["versions"].values():
            if archive and version["current_stage"] == stage:
                version["current_stage"] = "Archived"
        body["versions"][number]["current_stage"] = stage

    body = _change(call, change)
    return {"model_version": shown_version(body, _number(call, body))}


def delete_version(call: Call) -> Json:
    """Remove a version, and the aliases that point to it."""

    def change(body: Json) -> None:
        number = _number(call, body)
        del body["versions"][number]
        body["aliases"] = {a: v for a, v in body["aliases"].items() if v != number}

    _change(call, change, "write")
    return {}


def set_version_tag(call: Call) -> Json:
    """Set a tag of a version."""
    key, value = call.fields.key("key"), call.fields.values_text("value")
    _change_version(call, lambda version: version["tags"].update({key: value}))
    return {}


def delete_version_tag(call: Call) -> Json:
    """Remove a tag of a version."""
    key = call.fields.key("key")
    _change_version(call, lambda version: version["tags"].pop(key, None))
    return {}


def search_versions(call: Call) -> Json:
    """Return versions that match a filter, latest change first unless ordered."""
    most = call.fields.most(10_000, 200_000)
    clauses = parse_filter(call.fields.text("filter"), _entity)
    keys = parse_order(call.fields.texts("order_by"), _entity)

    def value(version: Json, entity: Entity) -> Any:
        return _value(version, version["tags"], entity)

    bodies = [_body(document) for document in _documents(call)]
    pairs = [(body, version) for body in bodies for version in body["versions"].values()]
    owners = {(version["name"], version["version"]): body for body, version in pairs}
    found = [v for _, v in pairs if all(satisfied(c, value(v, c.entity)) for c in clauses)]
    found.sort(key=lambda v: (-v["last_updated_timestamp"], v["name"], -int(v["version"])))
    listed, more = page(sort(found, keys, value), call.fields.begin(), most)
    shown_versions = [
        shown_version(owners[version["name"], version["version"]], version["version"])
        for version in listed
    ]
    return {"model_versions": shown_versions, **more}


def latest_versions(call: Call) -> Json:
    """Return the latest version of each stage."""
    body = _body(_find(call, _name(call)))
    return {"model_versions": _latest(body, call.fields.texts("stages"))}


def _latest(body: Json, stages: Sequence[str]) -> list[Json]:
    latest: dict[str, str] = {}
    for number, version in body["versions"].items():
        stage = version["current_stage"]
        if int(number) > int(latest.get(stage, "0")):
            latest[stage] = number
    wanted = {stage.lower() for stage in stages}
    return [
        shown_version(body, number)
        for stage, number in latest.items()
        if not wanted or stage.lower() in wanted
    ]


def download_uri(call: Call) -> Json:
    """Return where the files of a version are."""
    body = _body(_find(call, _name(call)))
    return {"artifact_uri": body["versions"][_number(call, body)]["source"]}


def shown_version(body: Json, number: str) -> Json:
    """Return a version as MLflow's clients see it."""
    version = body["versions"][number]
    return {
        **{key: value for key, value in version.items() if value != ""},
        "name": body["name"],
        "tags": records.pairs(version["tags"]),
        "aliases": [alias for alias, target in body["aliases"].items() if target == number],
    }


# Aliases


def set_alias(call: Call) -> Json:
    """Let an alias point to a version."""
    alias = call.fields.text("alias", required=True, longest=255)
    if alias.lower() == _LATEST or (alias[:1] == "v" and alias[1:].isdecimal()):
        raise bad_value(alias, "alias", ". This name is reserved.")
    _change(call, lambda body: body["aliases"].update({alias: _number(call, body)}))
    return {}


def delete_alias(call: Call) -> Json:
    """Remove an alias."""
    alias = call.fields.text("alias", required=True)
    _change(call, lambda body: body["aliases"].pop(alias, None))
    return {}


def by_alias(call: Call) -> Json:
    """Return the version that an alias points to."""
    body = _body(_find(call, _name(call)))
    alias = call.fields.text("alias", required=True)
    number = body["aliases"].get(alias)
    if number is None:
        raise invalid(f"Registered model alias {alias} not found.")
    return {"model_version": shown_version(body, number)}
