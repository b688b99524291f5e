"""The HTTP routes of MLflow's API."""

import functools
import json
import logging
from collections.abc import Callable, Sequence
from typing import Any, cast

from anyio.to_thread import run_sync
from litestar import HttpMethod, Request, Response, Router, route
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from runbase import __version__
from runbase.errors import RunbaseError
from runbase.integrations.mlflow.rest.artifact_routes import BASES as FILES
from runbase.integrations.mlflow.rest.artifact_routes import artifact_routes
from runbase.integrations.mlflow.rest.calls import Call, Caller, Fields, Json
from runbase.integrations.mlflow.rest.endpoints import (
    ENDPOINTS,
    FILE_ENDPOINTS,
    NEWER_ENDPOINTS,
    Endpoint,
)
from runbase.integrations.mlflow.rest.errors import STATUSES, MlflowError, code_of, invalid
from runbase.integrations.mlflow.rest.numbers import Numbers
from runbase.store.store import Store

_LOG = logging.getLogger(__name__)
BASES = ("/api/2.0/mlflow", "/ajax-api/2.0/mlflow")
NEWER_BASES = ("/api/3.0/mlflow", "/ajax-api/3.0/mlflow")
SERVER_INFO: Json = {
    "store_type": "SqlStore",
    "workspaces_enabled": False,
    "trace_archival_enabled": False,
    "multipart_uploads_enabled": False,
    "multipart_downloads_enabled": False,
    "presigned_upload_run_id_supported": False,
    "presigned_upload_model_id_supported": False,
    "features_enabled": {"gateway": False},
}
AnyRequest = Request[Any, Any, Any]


def routes(store: Store) -> list[Any]:
    """Return the routes that serve a store to MLflow's clients."""
    numbers = Numbers(store.storage)

    def call_of(request: AnyRequest, fields: Json | None = None) -> Call:
        return Call(
            store,
            numbers,
            cast("Caller", request.user),
            Fields(_query(request) if fields is None else fields),
            request.client.host if request.client else "",
            {name: str(value) for name, value in request.path_params.items()},
        )

    groups = ((BASES, ENDPOINTS), (NEWER_BASES, NEWER_ENDPOINTS), (FILES, FILE_ENDPOINTS))
    handlers = [_handler(call_of, bases, each) for bases, group in groups for each in group]
    return [
        Router(
            path="/",
            route_handlers=[
                *handlers,
                *artifact_routes(call_of, lambda: answer({})),
                *_about(),
                *_unknown(),
            ],
            include_in_schema=False,
            exception_handlers={
                MlflowError: of_mlflow,
                RunbaseError: of_runbase,
                HTTPException: of_http,
                Exception: of_anything,
            },  # pyright: ignore[reportArgumentType]
        )
    ]


def _handler(
    call_of: Callable[..., Call], bases: Sequence[str], endpoint: Endpoint
) -> HTTPRouteHandler:
    """Return the route of an endpoint."""
    paths = [f"{base}/{endpoint.path}".rstrip("/") for base in bases]
    method = HttpMethod(endpoint.method)

    @route(paths, http_method=method, opt={"permission": endpoint.permission}, status_code=200)
    async def handler(request: AnyRequest) -> Response[bytes]:
        call = call_of(request, await _values(request))
        return await run_sync(functools.partial(_answer, endpoint, call))

    return handler


def _answer(endpoint: Endpoint, call: Call) -> Response[bytes]:
    return answer(endpoint.answer(call))


async def _values(request: AnyRequest) -> Json:
    """Return the fields of a request: those of its body, or of its query."""
    if request.method != "GET":
        body = await request.body()
        if not body.strip():
            return _query(request)
        try:
            values: Any = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise invalid(f"the body of the request is not JSON: {error}") from error
        if not isinstance(values, dict):
            raise invalid("the body of the request is not a JSON object")
        return cast("Json", values)
    return _query(request)


def _query(request: AnyRequest) -> Json:
    """Return the fields of the query of a request."""
    query = request.query_params
    several = {name: cast("list[str]", query.getall(name)) for name in query}
    return {name: found if len(found) > 1 else found[0] for name, found in several.items()}


def answer(fields: Json, status: int = 200) -> Response[bytes]:
    """Return an answer in JSON."""
    body = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return Response(
        body.encode("utf-8", "replace"), status_code=status, media_type="application/json"
    )


def _about() -> list[HTTPRouteHandler]:
    """Return the routes about the server."""

    @route("/version", http_method=HttpMethod.GET, opt={"permission": "public"})
    async def version() -> Response[bytes]:
        return Response(__version__.encode(), media_type="text/plain")

    paths = ["/api/3.0/mlflow/server-info", "/ajax-api/3.0/mlflow/server-info"]

    @route(paths, http_method=HttpMethod.GET, opt={"permission": "public"})
    async def server_info() -> Response[bytes]:
        return answer(SERVER_INFO)

    return [version, server_info]


def _unknown() -> list[HTTPRouteHandler]:
    """Return the routes that answer all other paths of MLflow's API."""
    paths = ["/v1/traces"] + [
        f"/{api}/{version}/{rest}"
        for api in ("api", "ajax-api")
        for version in ("2.0", "3.0")
        for rest in ("mlflow/{rest:path}", "mlflow-artifacts/{rest:path}")
    ]
    methods = [HttpMethod.GET, HttpMethod.POST, HttpMethod.PATCH, HttpMethod.PUT, HttpMethod.DELETE]

    @route(paths, http_method=methods, opt={"permission": "public"}, status_code=404)
    async def unknown(request: AnyRequest) -> Response[bytes]:
        path = request.url.path
        return failure("ENDPOINT_NOT_FOUND", f"this server has no {request.method} {path}")

    return [unknown]


# Errors


def failure(code: str, message: str, headers: dict[str, str] | None = None) -> Response[bytes]:
    """Return the answer for an error."""
    found = answer({"error_code": code, "message": message}, STATUSES[code])
    found.headers.update(headers or {})
    return found


def of_mlflow(request: AnyRequest, error: MlflowError) -> Response[bytes]:
    """Return the answer for an error of a request."""
    del request
    return failure(error.code, error.message)


def of_runbase(request: AnyRequest, error: RunbaseError) -> Response[bytes]:
    """Return the answer for an error of runbase."""
    code = code_of(error)
    if code == "INTERNAL_ERROR":
        _LOG.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
    return failure(code, str(error))


def of_http(request: AnyRequest, error: HTTPException) -> Response[bytes]:
    """Return the answer for an error of the framework, such as a caller without the permission."""
    codes = {
        401: "UNAUTHENTICATED",
        403: "PERMISSION_DENIED",
        404: "ENDPOINT_NOT_FOUND",
        405: "ENDPOINT_NOT_FOUND",
    }
    code = codes.get(error.status_code, "BAD_REQUEST")
    if error.status_code >= 500:
        _LOG.error("%s %s", request.method, request.url.path, exc_info=error)
        code = "INTERNAL_ERROR"
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() != "content-type"}
    return failure(code, error.detail, headers)


def of_anything(request: AnyRequest, error: Exception) -> Response[bytes]:
    """Return the answer for an error that nobody expected, and log it; the client learns nothing of it."""
    _LOG.error("%s %s", request.method, request.url.path, exc_info=error)
    return failure("INTERNAL_ERROR", "the server failed; its log says why")
