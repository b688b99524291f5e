"""How mlos_bench's storage configuration names a store, and the JSON schema that lets it do so."""

from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import quote, urlencode

from mlos_bench.config.schemas.config_schemas import SCHEMA_STORE, ConfigSchema

from runbase.errors import UsageError

CLASS = "runbase.integrations.mlos.RunbaseStorage"
_PROPERTIES: dict[str, Any] = {
    "store": {
        "description": "A database URL or path; default: runbase's own settings.",
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
    "$comment": "runbase: a store by its address, or by SqlStorage's own parameters.",
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
    """Have mlos_bench's schema of storage files accept the class, in this process."""
    schema: Any = cast("Any", SCHEMA_STORE)[ConfigSchema.STORAGE.value]
    classes = schema["properties"]["class"]["enum"]
    if CLASS not in classes:
        classes.append(CLASS)
        schema["oneOf"].append(_BRANCH)


def address(config: Mapping[str, Any]) -> str | None:
    """The database URL or path that a configuration names; None: runbase's own settings."""
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
        raise UsageError(f"runbase has no driver {driver!r}; it has sqlite and postgresql")
    user = quote(str(config.get("username", "")), safe="")
    if config.get("password"):
        user += ":" + quote(str(config["password"]), safe="")
    host = str(config.get("host", "")) + (f":{config['port']}" if config.get("port") else "")
    query = f"?{urlencode(config['query'])}" if config.get("query") else ""
    return f"postgresql://{user}{'@' if user else ''}{host}/{quote(database, safe='')}{query}"
