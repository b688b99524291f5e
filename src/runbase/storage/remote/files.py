"""Send files of runs to a server and fetch them from it, in pieces that continue after an interruption."""

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from runbase.errors import StoreError
from runbase.storage.remote import buckets

if TYPE_CHECKING:
    from runbase.storage.remote.client import Client

PIECE = 4 * 2**20
"""Bytes of a piece."""
UPLOADS = "/api/files/"
_CONFLICT, _PARTIAL = 409, 206


@cache
def _client(server: str) -> "Client":
    from runbase.storage.remote.client import (
        Client,  # it imports urllib3, which local stores do not need
    )

    return Client(server)


def _split(url: str) -> "tuple[Client, str]":
    server, separator, path = url.partition(UPLOADS)
    return _client(server), quote(f"{separator}{path}")


def upload(path: Path, url: str) -> None:
    """Send a file, from where an earlier attempt stopped.

    Args:
        path: the file.
        url: its place: `SERVER/api/files/EXPERIMENT/RUN/PATH`.

    Raises:
        StoreOffline: the server cannot be reached; what it has is kept.
        StoreError: the file changed meanwhile.
    """
    client, place = _split(url)
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        known = client.request("HEAD", place)
        offset = int(known.headers.get("Upload-Offset", "0"))
        if known.headers.get("Upload-Complete") == "?1":
            offset = 0  # another version of the file
        offset = min(offset, size)
        while True:
            file.seek(offset)
            piece = file.read(PIECE)
            headers = {"Upload-Offset": str(offset)}
            if offset + len(piece) >= size:
                headers["Upload-Sha256"] = digest
            answer = client.request("PUT", place, piece, headers, allowed=(_CONFLICT,))
            if answer.status == _CONFLICT:
                offset = int(answer.headers["Upload-Offset"])
                continue
            offset += len(piece)
            if "Upload-Sha256" in headers:
                return
            if not piece:
                raise StoreError(f"{path} became shorter while it was uploaded")


def download(client: "Client", run: str, name: str, target: Path) -> None:
    """Append to a file what it lacks of a file of a run: from the object store that the server names, else from the server.

    Args:
        client: requests to the server.
        run: the id of the run.
        name: the path of the file within the run.
        target: the file to write.
    """
    place = quote(f"/api/runs/{run}/files/{name}")
    with target.open("ab") as file:
        if buckets.append(client, place, file):
            return
        offset, size = file.tell(), file.tell() + 1
        while offset < size:
            headers = {"Range": f"bytes={offset}-{offset + PIECE - 1}"}
            answer = client.request("GET", place, headers=headers)
            if answer.status != _PARTIAL:  # the file is not longer than what is here
                file.seek(0)
                file.truncate()
            file.write(answer.data)
            offset = file.tell()
            total = answer.headers.get("Content-Range", "").rpartition("/")[2]
            size = int(total) if total.isdecimal() else offset
