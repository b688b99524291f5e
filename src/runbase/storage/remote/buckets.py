"""Read a file from the object store that a server names, so that the bytes do not pass the server."""

import logging
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from runbase.storage.remote.client import Client

PIECE = 2**20
PATIENCE = 10.0
"""Seconds to wait for a connection, and for each piece."""
_REDIRECT, _WHOLE = 307, 200
_LOG = logging.getLogger(__name__)
_unreachable: set[str] = set()
"""Hosts of object stores that this process could not reach; they are not tried again."""


def append(client: "Client", place: str, file: BinaryIO) -> bool:
    """Append to a file what it lacks, from an object store; a connection that breaks is opened again.

    Args:
        client: requests to the server.
        place: the path of the file on the server.
        file: the file, open for appending.

    Returns:
        Whether the file is whole. If not, the rest is to be read from the server.
    """
    while True:
        first = client.request(
            "GET", f"{place}?redirect=1", headers={"Range": "bytes=0-0"}, allowed=(_REDIRECT,)
        )
        if first.status != _REDIRECT:
            return False
        url, begin = first.headers.get("Location", ""), file.tell()
        host = urlsplit(url).netloc
        secure = url.startswith("https://") or not client.server.startswith("https://")
        if not url.startswith(("https://", "http://")) or not secure or host in _unreachable:
            return False
        if _read(url, file):
            return True
        if file.tell() == begin:
            return False


def _read(url: str, file: BinaryIO) -> bool:
    """Append the rest of an object to a file, and return whether that is all of it. No message contains the URL.

    urllib is used, because urllib3 logs the URLs of requests.
    """
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    begin, host = file.tell(), urlsplit(url).netloc
    request = Request(url, headers={"Range": f"bytes={begin}-"} if begin else {})  # noqa: S310 - http and https only
    try:
        with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
            if begin and answer.status == _WHOLE:
                file.seek(0)
                file.truncate()
            expected = int(answer.headers.get("Content-Length", "-1"))
            while piece := answer.read(PIECE):
                file.write(piece)
                expected -= len(piece)
    except (OSError, HTTPException, ValueError) as error:
        name = f"{type(error).__name__} {getattr(error, 'code', '')}".strip()
        _LOG.debug("the object store at %s could not be read: %s", host, name)
        if file.tell() == begin and not isinstance(error, HTTPError):
            _unreachable.add(host)
        return False
    return expected <= 0
