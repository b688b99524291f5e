"""A minimal decoder of Protocol Buffers messages, for readers of other tools' files.

Implements the wire format of protobuf's *Encoding* page.
"""

from collections.abc import Iterator
from typing import Any

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


def fields(raw: Any) -> Iterator[tuple[int, Any]]:
    """Yield the fields of a message: number, and an integer or bytes.

    Raises:
        ValueError: the message is damaged.
        IndexError: the message is truncated.
    """
    place = 0
    while place < len(raw):
        key, place = varint(raw, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = varint(raw, place)
            yield number, value
            continue
        if kind == _BYTES:
            length, place = varint(raw, place)
        elif kind in (_FIXED64, _FIXED32):
            length = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {kind}")
        if place + length > len(raw):
            raise ValueError("a field extends past the end of its message")
        yield number, raw[place : place + length]
        place += length


def varint(raw: Any, place: int) -> tuple[int, int]:
    """Decode an integer of variable length; returns it, and the position after it."""
    result = shift = 0
    while True:
        byte = raw[place]
        place += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, place
        shift += 7
        if shift > 63:
            raise ValueError("a number that is too long")


def signed(value: int) -> int:
    """Convert an unsigned value to the signed value of int32, int64 and enumerations."""
    return value - 2**64 if value >= 2**63 else value
