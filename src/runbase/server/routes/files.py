"""Files of runs: artifacts, media, output and diffs, read in ranges and uploaded in pieces."""

import hashlib
import mimetypes
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from anyio.to_thread import run_sync
from litestar import Request, Response, get, head, put
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery
from litestar.response import Stream
from litestar.status_codes import HTTP_204_NO_CONTENT, HTTP_307_TEMPORARY_REDIRECT

from runbase.artifacts.resolve import check_served
from runbase.errors import HomeError, InvalidValue, NotFound, UsageError
from runbase.ingest.untrusted import is_inside
from runbase.server.bodies import read
from runbase.server.principals import Principal
from runbase.server.scope import run_for
from runbase.server.threads import in_thread
from runbase.store.store import Store

Caller = Request[Principal, Any, Any]
OFFSET, DIGEST = "upload-offset", "upload-sha256"
PIECE = 2**20
SIGNED_FOR = 300
"""Seconds for which a URL of an object store is valid."""
_PLACE = re.compile(r"/?([^/]+)/([A-Za-z0-9][\w\-]{0,255})/(.+)")
_OURS = re.compile(r"journal[^/]*|heartbeat|uploads(/.*)?|.*\.part", re.IGNORECASE)
"""Files of a run's folder that only runbase itself writes."""


def _path(store: Store, path: str) -> tuple[Path, str]:
    """Return the place of an uploaded file, and the id of its run.

    Raises:
        HomeError: the server has no folder for files.
        UsageError: the path is not one of a file of a run.
    """
    if store.home is None:
        raise HomeError("this server has no folder for files: start it with --home")
    match = _PLACE.fullmatch(path)
    parts = [] if match is None else match[3].split("/")
    bad = match is None or any(
        p in ("", ".", "..") or "\\" in p or "\0" in p for p in [match[1], *parts]
    )
    if match is None or bad or _OURS.fullmatch(match[3]):
        raise UsageError(f"{path!r} is not the path of a run's file: EXPERIMENT/RUN/PATH")
    folder = store.home / "runs" / match[1] / match[2]
    target = folder / match[3]
    if not is_inside(target, folder):
        raise UsageError(f"{path!r} leaves the folder of its run")
    return target, match[2]


def _may(request: Caller, store: Store, run: str) -> None:
    """Raise NotAllowed if the caller may not log to the run."""
    if request.user.may_everywhere("log"):
        return
    found = store.storage.get_runs([run])
    request.user.require("log", found[0].experiment_id if found else None)


@head("/api/files/{path:path}", opt={"permission": "log"})
@in_thread
def offset(request: Caller, store: NamedDependency[Store], path: FromPath[str]) -> Response[None]:
    """Return in `Upload-Offset` how many bytes of an upload the server has, and in `Upload-Complete` whether that is all."""
    target, run = _path(store, path)
    _may(request, store, run)
    part = target.with_name(f"{target.name}.part")
    done = target.exists()
    size = target.stat().st_size if done else part.stat().st_size if part.exists() else 0
    return Response(None, headers={"Upload-Offset": str(size), "Upload-Complete": f"?{int(done)}"})


@put("/api/files/{path:path}", opt={"permission": "log"}, status_code=HTTP_204_NO_CONTENT)
async def upload(
    request: Caller, store: NamedDependency[Store], path: FromPath[str]
) -> Response[None]:
    """Append a piece to an upload.

    `Upload-Offset` is where the piece begins. With `Upload-Sha256`, it is the last one: the file gets its name if it has this
    hash. If the offset is more than the number of bytes that the server has, the answer is 409 with that number.
    """
    body = await read(request)
    begin = request.headers.get(OFFSET, "0")
    if not begin.isdecimal():
        raise UsageError("Upload-Offset is not a number")
    digest = request.headers.get(DIGEST)

    def work() -> tuple[int, int]:
        target, run = _path(store, path)
        _may(request, store, run)
        return _append(target, body, int(begin), digest)

    status, size = await run_sync(work)
    return Response(None, status_code=status, headers={"Upload-Offset": str(size)})


def _append(target: Path, body: bytes, begin: int, digest: str | None) -> tuple[int, int]:
    """Append to a file at an offset; return the status of the answer and the size."""
    place = target.with_name(f"{target.name}.part")
    place.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(place, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        size = os.fstat(handle).st_size
        if begin > size:
            return 409, size
        os.lseek(handle, begin, os.SEEK_SET)  # a piece that was sent twice overwrites itself
        view = memoryview(body)
        while view:
            view = view[os.write(handle, view) :]
        size = begin + len(body)
        os.ftruncate(handle, size)
    finally:
        os.close(handle)
    if digest is not None:
        with place.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != digest.lower():
            place.unlink()
            raise InvalidValue(
                f"the uploaded file has the SHA-256 {found}, not {digest}; upload it again from the beginning"
            )
        place.replace(target)
    return HTTP_204_NO_CONTENT, size


@get("/api/runs/{run:str}/files/{path:path}", opt={"permission": "read"})
async def download(
    request: Caller,
    store: NamedDependency[Store],
    run: FromPath[str],
    path: FromPath[str],
    redirect: FromQuery[bool] = False,
) -> Response[Any]:
    """Return a file of a run: an artifact, a medium, `output.log` or `git.diff`. `Range` requests are answered.

    With `redirect`, the answer for a file in S3, Google Cloud Storage or Azure is 307 with a URL of the object store, which is
    valid for five minutes and needs no credentials. If the server cannot make one, the answer has the bytes.
    """
    name = path.lstrip("/")

    def locate() -> tuple[Path | str, str | None]:
        found = run_for(store, request.user, run)
        folder = store.folder(found)
        if name in ("output.log", "git.diff"):
            place = None if folder is None else folder / name
            if place is None or not place.is_file():
                raise NotFound(f"run {found.name} has no {name}")
            return place, None
        artifact = store.artifact(f"{found.id}/{name}")
        check_served(store.storage, artifact)
        signed = store.signed_url(artifact, SIGNED_FOR) if redirect else None
        # On the server's own address, what somebody logged could run as a page of this server.
        if signed is not None and urlsplit(signed).netloc != request.headers.get("host"):
            return signed, None
        return store.download(artifact), artifact.sha256

    place, digest = await run_sync(locate)
    if isinstance(place, str):
        headers = {"Location": place, "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
        return Response(b"", status_code=HTTP_307_TEMPORARY_REDIRECT, headers=headers)
    size = place.stat().st_size
    begin, end = _range(request.headers.get("range"), size)
    partial = (begin, end) != (0, size)
    kind = mimetypes.guess_type(place.name)[0] or "application/octet-stream"
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(end - begin),
        "X-Content-Type-Options": "nosniff",
        # What somebody logged must not run as a page of this server.
        "Content-Security-Policy": "sandbox; default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'",
        **({"ETag": f'"{digest}"'} if digest else {}),
        **({"Content-Range": f"bytes {begin}-{end - 1}/{size}"} if partial else {}),
    }
    return Stream(
        _pieces(place, begin, end),
        status_code=206 if partial else 200,
        media_type="text/plain; charset=utf-8" if kind in ("text/html", "image/svg+xml") else kind,
        headers=headers,
    )


def _range(header: str | None, size: int) -> tuple[int, int]:
    """Return the first byte, and the one after the last, of a `Range` header; the whole file if it is not understood."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", header or "")
    if match is None or not (match[1] or match[2]) or not size:
        return 0, size
    if not match[1]:
        return max(size - int(match[2]), 0), size
    begin = int(match[1])
    end = min(int(match[2]) + 1, size) if match[2] else size
    return (begin, end) if begin < end else (0, size)


def _pieces(place: Path, begin: int, end: int) -> Any:
    with place.open("rb") as file:
        file.seek(begin)
        while begin < end and (piece := file.read(min(PIECE, end - begin))):
            begin += len(piece)
            yield piece


ROUTES: tuple[Any, ...] = (offset, upload, download)
