"""The description of the HTTP API: what the framework derives from the code, with our errors."""

from typing import Any, cast

import msgspec
from litestar import Litestar

from runbase.server.problems import MEDIA_TYPE, Problem
from runbase.server.routes.media import MEDIA_TYPES as EXPORT_TYPES

_ERRORS = {
    "400": "The request is not valid, for example a filter; `detail` says what and where.",
    "401": "A token is needed.",
    "403": "The token lacks the permission.",
    "404": "There is no such object.",
    "409": "Somebody else changed the object first, or a name is ambiguous.",
    "413": "The body is too large.",
    "415": "With a session, the body must be application/json.",
    "421": "The server is not called by this name.",
    "422": "A value cannot be stored.",
    "429": "The caller does too much at once; try again after `Retry-After` seconds.",
    "503": "The database is busy; try again after `Retry-After` seconds.",
    "504": "The query took too long.",
}


def describe(app: Litestar) -> dict[str, Any]:
    """Return the description of an application (OpenAPI 3.1)."""
    described = _any_of(app.openapi_schema.to_schema())
    (_, components) = msgspec.json.schema_components(
        [Problem], ref_template="#/components/schemas/{name}"
    )
    described["components"]["schemas"] |= components
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for methods in described["paths"].values():
        for operation in methods.values():
            answers = {k: v for k, v in operation["responses"].items() if k < "400"}
            errors = {
                status: {"description": text, "content": content}
                for status, text in _ERRORS.items()
            }
            operation["responses"] = answers | errors
    whole = described["paths"]["/api/runs/{run}/files/{path}"]["get"]["responses"]["200"]
    whole["content"] = {"*/*": {"schema": {"type": "string", "format": "binary"}}}
    described["paths"]["/api/runs/{run}/files/{path}"]["get"]["responses"]["206"] = {
        **whole,
        "description": "The range of the file that `Range` asked for.",
    }
    exported = described["paths"]["/api/export"]["get"]["responses"]["200"]
    file = {"schema": {"type": "string", "format": "binary"}}
    exported["content"] = dict.fromkeys(EXPORT_TYPES.values(), file)
    return described


def _any_of(schema: Any) -> Any:
    """Return a schema with `anyOf` for unions: an integer is also a number, so `oneOf` would match twice."""
    if isinstance(schema, dict):
        plain = cast("dict[str, Any]", schema)
        return {"anyOf" if key == "oneOf" else key: _any_of(value) for key, value in plain.items()}
    if isinstance(schema, list):
        return [_any_of(value) for value in cast("list[Any]", schema)]
    return schema
