"""The storage configuration of mlos_bench for a runbase store, and the JSON schema that accepts it."""

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote, urlencode

from mlos_bench.config.schemas.config_schemas import SCHEMA_STORE, ConfigSchema

from runbase.errors import UsageError

CLASS = "runbase.integrations.mlos.RunbaseStorage"
_PROPERTIES: dict[str, Any] = {
    "store": {
        "description": "A database URL or path; default: the store of runbase's settings.",
        "type": "string",
    },
    "values": {
        "description": "text: values are returned as text, as SqlStorage does; typed: with their types.",
        "enum": ["text", "typed"],
    },
    "drivername": {"description": "As for SqlStorage: sqlite or postgresql.", "type": "string"},
    "database": {"type": "string"},
    "username": {"type": "string"},
    "password": {"type": "string"},
    "host": {"type": "string"},
    "port": {"type": "integer"},
    "query": {"type": "object"},
    "log_sql": {"type": "boolean"},
    "lazy_schema_create": {"type": "boolean"},
}
_BRANCH: dict[str, Any] = {
    "$comment": "runbase: a store by its address, or by the parameters of SqlStorage.",
    "properties": {
        "class": {"const": CLASS},
        "config": {
            "type": "object",
            "properties": _PROPERTIES,
            "additionalProperties": False,
            "dependentRequired": {"drivername": ["database"], "database": ["drivername"]},
            "not": {"required": ["store", "drivername"]},
        },
    },
    "required": ["class"],
}


def register() -> None:
    """Add the class to mlos_bench's schema of storage files, in this process."""
    schema: Any = cast("Any", SCHEMA_STORE)[ConfigSchema.STORAGE.value]
    classes = schema["properties"]["class"]["enum"]
    if CLASS not in classes:
        classes.append(CLASS)
        schema["oneOf"].append(_BRANCH)


def address(config: Mapping[str, Any]) -> str | None:
    """Return the database URL or path in a configuration; None for the store of runbase's settings."""
    if config.get("store"):
        return str(config["store"])
    driver = str(config.get("drivername", ""))
    if not driver:
        return None
    database = str(config["database"])
    if driver.startswith("sqlite"):
        if database in ("", ":memory:"):
            return "sqlite://"
        return database
    if not driver.startswith("postgres"):
        raise UsageError(f"driver {driver!r} is not supported; use sqlite or postgresql")
    user = quote(str(config.get("username", "")), safe="")
    if config.get("password"):
        user += ":" + quote(str(config["password"]), safe="")
    host = str(config.get("host", "")) + (f":{config['port']}" if config.get("port") else "")
    query = f"?{urlencode(config['query'])}" if config.get("query") else ""
    return f"postgresql://{user}{'@' if user else ''}{host}/{quote(database, safe='')}{query}"
