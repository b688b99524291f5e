"""Bodies of requests and answers: compression, and the numbers that JSON lacks."""

import zlib
from collections.abc import AsyncIterator
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


def finite(value: Any) -> Any:
    """Return a value that JSON has: NaN and infinities as text."""
    if value.__class__ is float and value - value != 0:
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


async def gzipped(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Compress a stream, and pass each piece on at once.

    A piece is compressed with what was sent before it, so that ids which come again and again cost a few bytes. The window
    of 16 KiB and the small tables need 128 KiB of memory a stream.
    """
    packer = zlib.compressobj(level=6, wbits=16 + 14, memLevel=7)
    async for piece in pieces:
        yield packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()
