"""Multipart uploads of S3, by boto3."""

import base64
import hashlib
import os
from importlib import import_module
from typing import Any

from runbase.artifacts.multipart import Stored, Unfinished, length, variable

PACKAGE = "boto3"
_GONE = ("NoSuchUpload", "404", "AccessDenied", "403")
"""Errors that say that an upload cannot be continued: it was ended, or its parts may not be listed."""


class S3Target:
    """An object of S3.

    Args:
        bucket: the bucket.
        key: the name of the object in it.
    """

    unit = 1
    most = 10_000
    concurrent = 2

    def __init__(self, bucket: str, key: str) -> None:
        self._client = _client()
        self._place = {"Bucket": bucket, "Key": key}
        self._etags: dict[int, str] = {}

    def begin(self, size: int, sha256: str) -> str:
        """Create a multipart upload."""
        return self._client.create_multipart_upload(**self._place, Metadata={"sha256": sha256})[
            "UploadId"
        ]

    def stored(self, begun: Unfinished, size: int) -> set[int] | None:
        """List the parts; those that have another size than they should are not counted."""
        pages = self._client.get_paginator("list_parts").paginate(
            **self._place, UploadId=begun.upload
        )
        try:
            for page in pages:
                for part in page.get("Parts", []):
                    if part["Size"] == length(begun, part["PartNumber"], size):
                        self._etags[part["PartNumber"]] = part["ETag"]
        except self._client.exceptions.ClientError as error:
            if _code(error) not in _GONE:
                raise
            return None
        return set(self._etags)

    def send(self, begun: Unfinished, number: int, body: bytes, size: int) -> None:
        """Send a part, with its MD5."""
        digest = hashlib.md5(body, usedforsecurity=False).digest()
        answer = self._client.upload_part(
            **self._place,
            UploadId=begun.upload,
            PartNumber=number,
            Body=body,
            ContentMD5=base64.b64encode(digest).decode(),
        )
        self._etags[number] = answer["ETag"]

    def complete(self, begun: Unfinished, sha256: str) -> None:
        """Create the object of the parts."""
        parts = [{"PartNumber": n, "ETag": etag} for n, etag in sorted(self._etags.items())]
        self._client.complete_multipart_upload(
            **self._place, UploadId=begun.upload, MultipartUpload={"Parts": parts}
        )

    def abort(self, begun: Unfinished) -> None:
        """Abort the multipart upload."""
        try:
            self._client.abort_multipart_upload(**self._place, UploadId=begun.upload)
        except self._client.exceptions.ClientError as error:
            if _code(error) not in _GONE:
                raise

    def head(self) -> Stored | None:
        """Return what S3 has under the key."""
        try:
            head = self._client.head_object(**self._place)
        except self._client.exceptions.ClientError:
            return None
        return Stored(head["ContentLength"], head.get("Metadata", {}).get("sha256"))


def target(url: str) -> S3Target:
    """Return the object of a URL."""
    bucket, _, key = url.partition("://")[2].partition("/")
    return S3Target(bucket, key)


def _client() -> Any:
    """Return boto3's client, with the variables that obstore reads too."""
    endpoint = variable("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    hosted = os.environ.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "").lower() in ("1", "true")
    config = import_module("botocore.config").Config(
        connect_timeout=10,
        retries={"mode": "standard", "max_attempts": 5},
        # Content-MD5 protects each part; not every server knows the newer checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        s3={"addressing_style": "path"} if endpoint and not hosted else {},
    )
    session = import_module("boto3.session").Session(
        region_name=variable("AWS_REGION", "AWS_DEFAULT_REGION")
    )
    return session.client("s3", endpoint_url=endpoint, config=config)


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
