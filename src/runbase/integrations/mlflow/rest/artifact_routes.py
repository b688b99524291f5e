"""The HTTP routes of files, which are received and sent in pieces."""

import mimetypes
from collections.abc import Callable
from typing import Any

from anyio.to_thread import run_sync
from litestar import HttpMethod, Request, Response, route
from litestar.handlers import HTTPRouteHandler
from litestar.response import File

from runbase.integrations.mlflow.rest import artifacts
from runbase.integrations.mlflow.rest.calls import Call
from runbase.integrations.mlflow.rest.errors import invalid

AnyRequest = Request[Any, Any, Any]
BASES = ("/api/2.0/mlflow-artifacts/artifacts", "/ajax-api/2.0/mlflow-artifacts/artifacts")
PIECE = 2**20
"""Bytes that are collected before they are written."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # What somebody logged must not run as a page of this server.
    "Content-Security-Policy": "sandbox; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'",
}


def artifact_routes(
    call_of: Callable[[AnyRequest], Call], done: Callable[[], Response[bytes]]
) -> list[HTTPRouteHandler]:
    """Return the routes of files.

    Args:
        call_of: makes the call of a request with the fields of its query.
        done: makes the answer without fields.
    """
    paths = [f"{base}/{{path:path}}" for base in BASES]

    def path_of(request: AnyRequest) -> str:
        return str(request.path_params["path"]).removeprefix("/")

    async def receive(
        request: AnyRequest, place_of: Callable[[Call], artifacts.Place | None]
    ) -> None:
        call = call_of(request)
        upload = await run_sync(lambda: artifacts.Upload(_there(place_of(call))))
        try:
            pieces = bytearray()
            async for piece in request.stream():
                pieces += piece
                if len(pieces) >= PIECE:
                    await run_sync(upload.write, bytes(pieces))
                    pieces.clear()
            await run_sync(upload.write, bytes(pieces))
            await run_sync(upload.finish, call)
        except BaseException:
            upload.cancel()
            raise

    @route(paths, http_method=HttpMethod.PUT, opt={"permission": "log"}, status_code=200,
           request_max_body_size=None)  # fmt: skip
    async def upload(request: AnyRequest) -> Response[bytes]:
        path = path_of(request)
        await receive(request, lambda call: artifacts.place_of(call, path, "log"))
        return done()

    @route("/ajax-api/2.0/mlflow/upload-artifact", http_method=HttpMethod.POST, opt={"permission": "log"},
           status_code=200, request_max_body_size=None)  # fmt: skip
    async def upload_of_run(request: AnyRequest) -> Response[bytes]:
        await receive(
            request,
            lambda call: artifacts.of_run(
                call,
                call.fields.either("run_uuid", "run_id"),
                call.fields.text("path", required=True),
                "log",
            ),
        )
        return done()

    @route(paths, http_method=HttpMethod.GET, opt={"permission": "read"})
    async def download(request: AnyRequest) -> File:
        path, call = path_of(request), call_of(request)
        return _file(
            await run_sync(lambda: artifacts.located(call, artifacts.place_of(call, path), path)),
            path,
        )

    @route("/get-artifact", http_method=HttpMethod.GET, opt={"permission": "read"})
    async def download_of_run(request: AnyRequest) -> File:
        call = call_of(request)
        path = call.fields.text("path", required=True)
        run = call.fields.either("run_id", "run_uuid")
        return _file(
            await run_sync(
                lambda: artifacts.located(call, artifacts.of_run(call, run, path), path)
            ),
            path,
        )

    @route(paths, http_method=HttpMethod.DELETE, opt={"permission": "write"}, status_code=200)
    async def remove(request: AnyRequest) -> Response[bytes]:
        path, call = path_of(request), call_of(request)
        await run_sync(
            lambda: artifacts.remove(call, artifacts.place_of(call, path, "write"), path)
        )
        return done()

    return [upload, upload_of_run, download, download_of_run, remove]


def _there(place: artifacts.Place | None) -> artifacts.Place:
    if place is None:
        raise invalid("Invalid path: it is not below the artifacts of a run or of a logged model")
    return place


def _file(place: Any, path: str) -> File:
    """Return the answer with a file."""
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    plain = kind in ("text/html", "image/svg+xml")
    return File(
        place,
        filename=path.rpartition("/")[2],
        content_disposition_type="attachment",
        media_type="text/plain; charset=utf-8" if plain else kind,
        headers=HEADERS,
    )
