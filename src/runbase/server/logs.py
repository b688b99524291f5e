"""Logs for programs: one JSON object a line, also for each request."""

import logging
import sys
import time
from typing import Any

import msgspec

REQUESTS = logging.getLogger("runbase.server.requests")
"""Requests, at the level INFO."""
_FIELDS = "runbase_fields"


class JsonFormatter(logging.Formatter):
    """Writes a record as JSON: time, level, logger, message, and the fields of a request."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line, enc_hook=str).decode()


def as_json() -> None:
    """Send all logs of this process to standard error as JSON, from INFO on for runbase and from WARNING on for others."""
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name("runbase")
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    ours = logging.getLogger("runbase")
    ours.handlers[:] = []
    ours.setLevel(logging.INFO)


def with_requests(app: Any) -> Any:
    """Return an ASGI application that logs each request, if somebody wants that."""

    async def logged(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or not REQUESTS.isEnabledFor(logging.INFO):
            await app(scope, receive, send)
            return
        began = time.perf_counter()

        async def noted(message: Any) -> None:
            if message["type"] == "http.response.start":
                scope["runbase_status"] = message["status"]
            await send(message)

        try:
            await app(scope, receive, noted)
        finally:
            _log_request(scope, time.perf_counter() - began)

    return logged


def _log_request(scope: Any, seconds: float) -> None:
    """Log a request: its path without the query, which may have secrets.

    Args:
        scope: the ASGI scope, after the answer.
        seconds: how long it took.
    """
    user: Any = scope.get("user")
    fields = {
        "method": scope["method"],
        "path": scope["path"],
        "status": scope.get("runbase_status", 0),
        "ms": round(seconds * 1000, 1),
        "who": None if user is None else user.name,
    }
    message = f"{fields['method']} {fields['path']} {fields['status']}"
    REQUESTS.info(message, extra={_FIELDS: fields})
