"""HTTP to a runbase server: connections, tokens, and errors as exceptions."""

import gzip
import json
import netrc
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from runbase import errors
from runbase.errors import NotAllowed, RunbaseError, StoreBusy, StoreOffline, UsageError
from runbase.filesystems import atomic_write
from runbase.processes import Owner, never_close
from runbase.storage.address import server_of

TOKEN = "RUNBASE_TOKEN"  # noqa: S105
"""The variable with the token of the server."""
WORTH_PACKING = 4096
"""Bytes of a body from which on it is compressed."""
_BUSY, _GATEWAY, _REDIRECT = 503, (502, 504), 307


def credentials_file() -> Path:
    """Return the file in which `runbase login` keeps tokens, by server."""
    base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "runbase" / "credentials.json"


def saved_tokens() -> dict[str, str]:
    """Return the tokens that `runbase login` saved: server → token."""
    try:
        return cast("dict[str, str]", json.loads(credentials_file().read_text("utf-8")))
    except (OSError, ValueError):
        return {}


def save_token(server: str, token: str | None) -> Path:
    """Save the token of a server, or remove it, in a file that only the user can read."""
    path, tokens = credentials_file(), saved_tokens()
    tokens.pop(server, None)
    if token is not None:
        tokens[server] = token
    with atomic_write(path) as partial:
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(tokens, indent=2), "utf-8")
    return path


def token_for(server: str, password: str | None = None) -> str | None:
    """Return the token of a server: from its URL, RUNBASE_TOKEN, `runbase login`, or the netrc file."""
    found = password or os.environ.get(TOKEN) or saved_tokens().get(server)
    if found is None:
        with suppress(OSError, netrc.NetrcParseError):
            entry = netrc.netrc().authenticators(urlsplit(server).hostname or "")
            found = None if entry is None else entry[2]
    return found


class Client:
    """Requests to one server. It can be used from any thread; a forked child opens connections of its own.

    Args:
        url: the server's URL.
        timeout: seconds to wait for an answer.
    """

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        self.server = server_of(url)
        self._token = token_for(self.server, urlsplit(url).password)
        self._timeout = timeout
        self._owner = Owner()
        self._pool = urllib3.PoolManager(maxsize=8)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        *,
        timeout: float | None = None,
        allowed: tuple[int, ...] = (),
    ) -> urllib3.BaseHTTPResponse:
        """Send a request and return the answer.

        Args:
            method: the HTTP method.
            path: the path on the server, with its query.
            body: the bytes to send; large ones are compressed.
            headers: more headers.
            timeout: seconds to wait for the answer. Default: that of the client.
            allowed: statuses of errors and redirects that are returned instead of raised.

        Raises:
            StoreOffline: the server cannot be reached.
            StoreBusy: it is overloaded.
            NotAllowed: the token is missing, or lacks a right.
            RunbaseError: what the server raised.
        """
        if not self._owner.here:
            never_close(self._pool)
            self._pool = urllib3.PoolManager(maxsize=8)
            self._owner.adopt()
        sent = {"Accept-Encoding": "gzip", **(headers or {})}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        if body is not None and len(body) >= WORTH_PACKING:
            body, sent["Content-Encoding"] = gzip.compress(body, 1), "gzip"
        try:
            answer = self._pool.request(
                method,
                f"{self.server}{path}",
                body=body,
                headers=sent,
                redirect=_REDIRECT not in allowed,
                timeout=urllib3.Timeout(connect=10, read=timeout or self._timeout),
                # A request that was sent may have been done: only connecting is tried again.
                retries=urllib3.Retry(total=2, connect=2, read=0, redirect=0, other=0, status=0),
            )
        except HTTPError as error:
            raise StoreOffline(f"cannot reach {self.server}: {_why(error)}") from error
        if answer.status >= 400 and answer.status not in allowed:
            raise self._error(answer)
        return answer

    def close(self) -> None:
        """Close the connections."""
        if self._owner.here:
            self._pool.clear()

    def _error(self, answer: urllib3.BaseHTTPResponse) -> RunbaseError:
        """Return the exception that an answer stands for."""
        try:
            problem: dict[str, Any] = json.loads(answer.data)
            detail, name = str(problem.get("detail", "")), str(problem.get("error", ""))
        except (ValueError, AttributeError):
            detail, name = f"HTTP status {answer.status}", ""
        kind = getattr(errors, name, None)
        if isinstance(kind, type) and issubclass(kind, RunbaseError):
            return kind(detail)
        if answer.status in (401, 403):
            return NotAllowed(f"{self.server}: {detail}")
        if answer.status in (_BUSY, 429):
            return StoreBusy(f"{self.server} is busy: {detail}")
        if answer.status in _GATEWAY:
            return StoreOffline(f"the server behind {self.server} cannot be reached: {detail}")
        return UsageError(f"{self.server}: {detail}")


def _why(error: HTTPError) -> str:
    """Return the reason in an error of urllib3, without the names of its objects."""
    reason = getattr(error, "reason", None) or error
    text = re.sub(r"<[^>]*>|HTTPS?Connection\([^)]*\): |\(Caused by .*\)$", "", str(reason))
    return text.strip(" :") or type(error).__name__
