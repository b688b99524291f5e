"""Uploads to S3 in parts. An interrupted upload is continued: a later attempt sends only the parts that are missing.

obstore sends files in parts too, but gives no access to the id of an upload, so an interrupted one starts again. boto3
has the calls of S3 for this. It is loaded only for files that are larger than one part.
"""

import base64
import hashlib
import os
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from msgspec import Struct

from runbase.errors import StoreError
from runbase.settings import load

MEBIBYTE = 2**20
SMALLEST = 5 * MEBIBYTE
"""Bytes of the smallest part that S3 accepts, except for the last one."""
MOST_PARTS = 10_000
CONCURRENT = 2
"""Parts that are sent at once; each is in memory."""
_GONE = ("NoSuchUpload", "404", "AccessDenied", "403")
"""Errors that say that an upload cannot be continued: it was ended, or its parts may not be listed."""


class Unfinished(Struct, frozen=True):
    """An upload that has begun: its id at S3, and the bytes of a part."""

    upload: str
    part: int


class UploadRecord(Protocol):
    """Where the id of an upload is kept, so that another process can continue it."""

    def read(self) -> Unfinished | None:
        """Return the upload that has begun, if there is one."""
        ...

    def write(self, unfinished: Unfinished) -> None:
        """Keep the id of an upload."""
        ...

    def wanted(self) -> bool:
        """Return whether the file is still to be uploaded."""
        ...


def part_size() -> int:
    """Return the bytes of a part, from the setting `artifacts_part`."""
    return max(int(load().number("artifacts_part") * MEBIBYTE), SMALLEST)


def applies(url: str, size: int) -> bool:
    """Return whether a file of a size is uploaded to a URL in parts that survive an interruption."""
    return (
        url.startswith(("s3://", "s3a://"))
        and size > part_size()
        and find_spec("boto3") is not None
    )


def put(path: Path, url: str, sha256: str | None, record: UploadRecord) -> None:
    """Upload a file; the object is there when it is whole.

    Args:
        path: the file, which does not change.
        url: the URL of the object.
        sha256: the file's hash, kept as metadata of the object.
        record: where the id of the upload is kept.

    Raises:
        StoreError: S3 cannot be reached, or refuses the upload. What it has of the upload is kept.
    """
    with _errors(url):
        upload = _Upload(path, url, sha256 or "", record)
        if not upload.is_complete():
            upload.send()


def abort(url: str, unfinished: Unfinished) -> None:
    """Delete the parts of an upload that is not continued."""
    with _errors(url):
        client = _client()
        try:
            client.abort_multipart_upload(**_place(url), UploadId=unfinished.upload)
        except client.exceptions.ClientError as error:
            if _code(error) not in _GONE:
                raise


class _Upload:
    """One attempt of an upload."""

    def __init__(self, path: Path, url: str, sha256: str, record: UploadRecord) -> None:
        self._path, self._record, self._sha256 = path, record, sha256
        self._client, self._place = _client(), _place(url)
        self._size = path.stat().st_size
        self._etags: dict[int, str] = {}
        self._begun = record.read()
        self._resumed = self._begun is not None and self._list_parts(self._begun)

    def is_complete(self) -> bool:
        """Return whether an earlier attempt completed the upload, and was interrupted before it could record that."""
        if self._begun is None or self._resumed or not self._sha256:
            return False
        try:
            head = self._client.head_object(**self._place)
        except self._client.exceptions.ClientError:
            return False
        same = head.get("Metadata", {}).get("sha256") == self._sha256
        return same and head["ContentLength"] == self._size

    def send(self) -> None:
        """Send the missing parts, and put the object together."""
        if self._begun is None or not self._resumed:
            self._begun = self._begin()
        begun = self._begun
        in_parallel(lambda number: self._send_part(begun, number), self._missing(begun))
        if not self._record.wanted():
            self._client.abort_multipart_upload(**self._place, UploadId=begun.upload)
            return
        parts = [{"PartNumber": n, "ETag": etag} for n, etag in sorted(self._etags.items())]
        self._client.complete_multipart_upload(
            **self._place, UploadId=begun.upload, MultipartUpload={"Parts": parts}
        )
        size = self._client.head_object(**self._place)["ContentLength"]
        if size != self._size:
            raise StoreError(f"the object has {size} bytes instead of {self._size}")

    def _begin(self) -> Unfinished:
        part = max(part_size(), -(-self._size // MOST_PARTS))
        created = self._client.create_multipart_upload(
            **self._place, Metadata={"sha256": self._sha256}
        )
        begun = Unfinished(created["UploadId"], part)
        self._record.write(begun)
        return begun

    def _list_parts(self, begun: Unfinished) -> bool:
        """Find the parts that S3 has; return False if the upload cannot be continued."""
        pages = self._client.get_paginator("list_parts").paginate(
            **self._place, UploadId=begun.upload
        )
        try:
            for page in pages:
                for part in page.get("Parts", []):
                    if part["Size"] == self._length(begun, part["PartNumber"]):
                        self._etags[part["PartNumber"]] = part["ETag"]
        except self._client.exceptions.ClientError as error:
            if _code(error) not in _GONE:
                raise
            return False
        return True

    def _missing(self, begun: Unfinished) -> Iterator[int]:
        for number in range(1, -(-self._size // begun.part) + 1):
            if number not in self._etags:
                if not self._record.wanted():
                    return
                yield number

    def _length(self, begun: Unfinished, number: int) -> int:
        return min(begun.part, self._size - (number - 1) * begun.part)

    def _send_part(self, begun: Unfinished, number: int) -> None:
        with self._path.open("rb") as file:
            file.seek((number - 1) * begun.part)
            body = file.read(begun.part)
        if len(body) != self._length(begun, number):
            raise StoreError(f"{self._path} changed while it was uploaded")
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        answer = self._client.upload_part(
            **self._place,
            UploadId=begun.upload,
            PartNumber=number,
            Body=body,
            ContentMD5=base64.b64encode(digest).decode(),
        )
        self._etags[number] = answer["ETag"]


def in_parallel(work: Callable[[int], None], numbers: Iterator[int]) -> None:
    """Call `work` for each number, in `CONCURRENT` threads; raise the first error, after which no further call begins.

    The threads are daemons: those of a `ThreadPoolExecutor` would delay the end of the process.
    """
    guard, errors = threading.Lock(), list[Exception]()

    def run() -> None:
        while True:
            with guard:
                number = None if errors else next(numbers, None)
            if number is None:
                return
            try:
                work(number)
            except Exception as error:
                errors.append(error)

    threads = [
        threading.Thread(target=run, name=f"runbase-part-{number}", daemon=True)
        for number in range(CONCURRENT)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def _client() -> Any:
    """Return boto3's client, with the variables that obstore reads too."""
    environment = os.environ
    endpoint = environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL")
    endpoint = endpoint or environment.get("AWS_ENDPOINT")
    hosted = environment.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() in ("1", "true")
    config = import_module("botocore.config").Config(
        connect_timeout=10,
        retries={"mode": "standard", "max_attempts": 5},
        # Content-MD5 protects each part; not every server knows the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"} if endpoint and not hosted else {},
    )
    session = import_module("boto3.session").Session(
        region_name=environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION")
    )
    return session.client("s3", endpoint_url=endpoint, config=config)


def _place(url: str) -> dict[str, str]:
    bucket, _, key = url.partition("://")[2].partition("/")
    return {"Bucket": bucket, "Key": key}


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def _errors(url: str) -> Generator[None]:
    """Convert the exceptions of boto3, which have no common base that is known without it."""
    try:
        yield
    except Exception as error:
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise StoreError(f"{url} could not be stored: {said}") from error
