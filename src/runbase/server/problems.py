"""Errors as answers: `application/problem+json` (RFC 9457), with the name of runbase's error."""

import logging
import re
from collections.abc import Mapping
from typing import Any, cast

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import Send

from runbase.errors import (
    Ambiguous,
    Conflict,
    FilterError,
    InvalidValue,
    NotAllowed,
    NotFound,
    QueryError,
    QueryTimeout,
    RunbaseError,
    SchemaError,
    StoreBusy,
    StoreOffline,
    UsageError,
)

_LOG = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
STATUSES: tuple[tuple[type[RunbaseError], int], ...] = (
    (Ambiguous, 409),
    (Conflict, 409),
    (NotFound, 404),
    (QueryTimeout, 504),
    (QueryError, 400),
    (SchemaError, 400),
    (FilterError, 400),
    (InvalidValue, 422),
    (UsageError, 400),
    (NotAllowed, 403),
    (StoreBusy, 503),
    (StoreOffline, 503),
)
"""The status of each error; the first that matches counts."""
_POINTER = re.compile(r"\n  (?P<text>[^\n]*)\n  (?P<space> *)\^")
_WORD = re.compile(r'(?:[\w.]|"(?:[^"]|"")*")+|\S')
_MEANT = re.compile(r"did you mean '([^']+)'")
_GONE = "client disconnected prematurely"
"""What the framework says of a client that went away while it sent its request."""
_TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    412: "Precondition failed",
    413: "Too large",
    415: "Unsupported media type",
    421: "Misdirected request",
    422: "Not valid",
    429: "Too many requests",
    500: "Internal error",
    503: "Unavailable",
    504: "Timeout",
}


class Place(msgspec.Struct, frozen=True):
    """Where in a filter or sort key an error is: characters `start` to `end` of `text`, and a name that may be meant."""

    text: str
    start: int
    end: int
    suggestion: str | None = None


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The body of an error (RFC 9457).

    Attributes:
        title: what the status means.
        status: the HTTP status.
        detail: what is wrong, where, and what to do.
        error: the name of the error in `runbase.errors`.
        where: of an error in a filter: its place.
    """

    title: str
    status: int
    detail: str
    type: str = "about:blank"
    error: str = ""
    where: Place | None = None


def answer(
    status: int,
    detail: str,
    error: str = "",
    *,
    where: Place | None = None,
    headers: dict[str, str] | None = None,
) -> Response[Any]:
    """Return the answer for an error."""
    problem = Problem(
        title=_TITLES.get(status, "Error"), status=status, detail=detail, error=error, where=where
    )
    more = {"Retry-After": "1"} if status in (429, 503) else {}
    return Response(
        msgspec.json.encode(problem),
        status_code=status,
        media_type=MEDIA_TYPE,
        headers={**more, **(headers or {})},
    )


def of_runbase(request: "Request[Any, Any, Any]", error: RunbaseError) -> Response[Any]:
    """Return the answer for an error of runbase."""
    status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
    if status == 500:
        _LOG.error("%s %s: %s", request.method, request.url.path, error, exc_info=error)
    where = place_of(str(error)) if isinstance(error, FilterError) else None
    return answer(status, str(error), type(error).__name__, where=where)


def place_of(message: str) -> Place | None:
    """Return the place that the message of an error in a filter points to: a line of text above a line with a caret."""
    found = _POINTER.search(message)
    if found is None:
        return None
    text, start = found["text"], min(len(found["space"]), len(found["text"]))
    word = _WORD.match(text, start)
    meant = _MEANT.search(message)
    return Place(text, start, word.end() if word else len(text), meant[1] if meant else None)


def of_http(request: "Request[Any, Any, Any]", error: HTTPException) -> Response[Any]:
    """Return the answer for an error of the framework, such as a body that is not valid."""
    if error.detail == _GONE:
        return Response(b"", status_code=400)  # nobody is there to read it
    if error.status_code >= 500:
        _LOG.error("%s %s", request.method, request.url.path, exc_info=error)
    detail = error.detail
    extra: Any = error.extra
    if isinstance(extra, list) and extra:
        items = cast("list[dict[str, str]]", extra)
        places = "; ".join(f"{item.get('key', '')}: {item.get('message', '')}" for item in items)
        detail = f"{detail}: {places}"
    headers = {k: v for k, v in (error.headers or {}).items() if k.lower() != "content-type"}
    return answer(error.status_code, detail, headers=headers)


def of_anything(request: "Request[Any, Any, Any]", error: Exception) -> Response[Any]:
    """Return the answer for an error that nobody expected, and log it; the client learns nothing of it."""
    _LOG.error("%s %s", request.method, request.url.path, exc_info=error)
    return answer(500, "the server failed; its log says why")


async def send(refusal: tuple[int, str], send: Send, more: Mapping[str, str] | None = None) -> None:
    """Send the answer for an error from outside of the framework; `more` are headers."""
    status, detail = refusal
    body = msgspec.json.encode(
        Problem(title=_TITLES.get(status, "Error"), status=status, detail=detail)
    )
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in (more or {}).items()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
