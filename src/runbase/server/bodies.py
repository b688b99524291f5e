"""Bodies of requests, which clients may compress."""

import zlib
from typing import Any

from litestar import Request
from litestar.exceptions import ClientException
from litestar.status_codes import HTTP_413_REQUEST_ENTITY_TOO_LARGE, HTTP_415_UNSUPPORTED_MEDIA_TYPE

LARGEST = 64 * 2**20
"""Bytes of a body at most, compressed or not, except of files."""


async def read(request: "Request[Any, Any, Any]") -> bytes:
    """Return the body of a request, decompressed.

    Raises:
        ClientException: it is too large, damaged, or compressed in a way that is not supported.
    """
    body = await request.body()
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding == "identity":
        return body
    if encoding != "gzip":
        raise ClientException(
            f"the body is compressed with {encoding}; use gzip",
            status_code=HTTP_415_UNSUPPORTED_MEDIA_TYPE,
        )
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(body, LARGEST)
    except zlib.error as error:
        raise ClientException(f"the body is not gzip: {error}") from error
    if unpacker.unconsumed_tail:
        raise ClientException(
            f"the body has more than {LARGEST // 2**20} MiB",
            status_code=HTTP_413_REQUEST_ENTITY_TOO_LARGE,
        )
    if not unpacker.eof:
        raise ClientException("the body is not a whole gzip stream")
    return plain
