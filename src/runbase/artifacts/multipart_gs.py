"""Resumable uploads of Google Cloud Storage, by google-cloud-storage and the protocol of its sessions.

A session receives a file from its beginning to its end, and says how many bytes it has. The id of the upload is the session's URL.
Everybody who knows it can continue the upload without other credentials, so no message contains it.
Source: https://docs.cloud.google.com/storage/docs/performing-resumable-uploads
"""

import re
import time
from http.client import HTTPException
from importlib import import_module
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec
from msgspec import Struct

from runbase.artifacts.multipart import Stored, Unfinished, variable
from runbase.errors import StoreError

PACKAGE = "google.cloud.storage"
PATIENCE = 120.0
"""Seconds to wait for a connection, and for an answer."""
RETRIES, FIRST_PAUSE = 5, 0.5
"""Times that a request which brought nothing is repeated, and seconds before the first one."""
_COMPLETE, _INCOMPLETE, _GONE = (200, 201), 308, (404, 410)


class GoogleTarget:
    """An object of Google Cloud Storage.

    Args:
        blob: `google.cloud.storage.Blob`.
    """

    unit = 256 * 2**10
    most = 2**31
    concurrent = 1

    def __init__(self, blob: Any) -> None:
        self._blob = blob
        self._received = 0

    def begin(self, size: int, sha256: str) -> str:
        """Begin a session; return its URL."""
        if sha256:
            self._blob.metadata = {"sha256": sha256}
        return str(self._blob.create_resumable_upload_session(size=size))

    def stored(self, begun: Unfinished, size: int) -> set[int] | None:
        """Ask the session for the bytes that it has. A part that it has a piece of is continued there."""
        answer = _request("PUT", begun, b"", {"Content-Range": f"bytes */{size}"})
        if answer.status in (*_GONE, *_COMPLETE):
            return None
        if answer.status != _INCOMPLETE:
            raise _Refused(answer)
        self._received = answer.received
        return set(range(1, self._received // begun.part + 1))

    def send(self, begun: Unfinished, number: int, body: bytes, size: int) -> None:
        """Send a part, until the session has all of it."""
        first, failures = (number - 1) * begun.part, 0
        while self._received < first + len(body):
            before = self._received
            if before < first:
                raise StoreError("the object store has less of the file than it had before")
            try:
                self._send(begun, body[before - first :], size)
            except StoreError:
                failures += 1
                if failures > RETRIES:
                    raise
                time.sleep(FIRST_PAUSE * 2 ** (failures - 1))
                if self.stored(begun, size) is None:
                    return  # `head` tells whether it is complete
            if self._received > before:
                failures = 0

    def complete(self, begun: Unfinished, sha256: str) -> None:
        """Do nothing: the last part completes the object."""

    def abort(self, begun: Unfinished) -> None:
        """Delete the session."""
        _request("DELETE", begun, b"", {})

    def head(self) -> Stored | None:
        """Return what Google Cloud Storage has under the name."""
        try:
            self._blob.reload()
        except import_module("google.api_core.exceptions").NotFound:
            return None
        metadata: dict[str, str] = self._blob.metadata or {}
        return Stored(int(self._blob.size), metadata.get("sha256"))

    def _send(self, begun: Unfinished, rest: bytes, size: int) -> None:
        """Send bytes from where the session is."""
        begin = self._received
        place = f"bytes {begin}-{begin + len(rest) - 1}/{size}"
        answer = _request("PUT", begun, rest, {"Content-Range": place})
        if answer.status in _COMPLETE:
            self._received = size
        elif answer.status == _INCOMPLETE and answer.received > begin:
            self._received = answer.received
        else:
            raise _Refused(answer)


class _Answer(Struct, frozen=True):
    """An answer of a session: its status, and the bytes that the session has."""

    status: int
    received: int


class _Refused(StoreError):
    def __init__(self, answer: _Answer) -> None:
        super().__init__(f"the object store answered with status {answer.status}")


def target(url: str) -> GoogleTarget:
    """Return the object of a URL, with the credentials that obstore finds too."""
    bucket, _, key = url.partition("://")[2].partition("/")
    client = import_module(PACKAGE).Client
    file = variable("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_PATH")
    text = variable("GOOGLE_SERVICE_ACCOUNT_KEY")
    if variable("STORAGE_EMULATOR_HOST") is not None:
        made = client(project=None)
    elif file is not None:
        made = client.from_service_account_json(file)
    elif text is not None:
        made = client.from_service_account_info(msgspec.json.decode(text))
    else:
        made = client(project=None)
    return GoogleTarget(made.bucket(bucket).blob(key))


def _request(method: str, begun: Unfinished, body: bytes, headers: dict[str, str]) -> _Answer:
    """Send a request to a session. No message contains the URL.

    urllib is used, because urllib3 logs the URLs of requests.
    """
    headers = {"Content-Type": "application/octet-stream", **headers}  # urllib's is that of a form
    request = Request(begun.upload, body, headers, method=method)  # noqa: S310 - of the service
    try:
        with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            return _Answer(answer.status, 0)
    except HTTPError as error:  # also 308, which has no place to go to
        found = re.fullmatch(r"bytes=0-(\d+)", error.headers.get("Range") or "")
        error.close()
        return _Answer(error.code, int(found[1]) + 1 if found else 0)
    except (OSError, HTTPException) as error:
        raise StoreError(f"the object store does not answer ({type(error).__name__})") from None
