"""The records of TensorBoard's event files: scalars, texts and hyperparameters. Needs nothing installed.

Framing as TensorFlow's *record_writer*: length (u64), its masked CRC-32C, the data, its CRC. The messages are those of
*event.proto*, *summary.proto*, *tensor.proto* and the hparams plugin's *plugin_data.proto*; four of them are read here,
field by field, as protobuf's *encoding* page has it.
"""

import struct
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from runbase.protobuf import fields, signed, varint

_HEAD = struct.Struct("<QI")
_LARGEST = 2**30
"""Bytes of a record: a greater length is a damaged one."""
_CHECKED = 2**16
"""Bytes of a record whose checksum is looked at; longer ones are images, which are not kept."""


class TensorBoardEvent(Struct, frozen=True, kw_only=True):
    """One event: when, at which step, and what of it is kept."""

    time: float
    step: int
    scalars: dict[str, float]
    texts: dict[str, str]
    params: dict[str, Any]


class Damaged(Exception):
    """A record that is not whole or not one; what comes behind it cannot be found."""


def events(raw: bytes) -> Iterator[tuple[int, TensorBoardEvent | None]]:
    """Each record, with where the next begins; None for one that cannot be read.

    Ends before a record that is not all there. Raises Damaged where the framing is broken.
    """
    place, size = 0, len(raw)
    while place + 12 <= size:
        length, check = _HEAD.unpack_from(raw, place)
        if _masked(raw[place : place + 8]) != check or length > _LARGEST:
            raise Damaged(f"the record at byte {place} has a damaged length")
        end = place + 12 + length + 4
        if end > size:
            return
        data = raw[place + 12 : end - 4]
        try:
            sound = length > _CHECKED or struct.pack("<I", _masked(data)) == raw[end - 4 : end]
            found = _event(data) if sound else None
        except (ValueError, IndexError, KeyError, TypeError, AttributeError, struct.error):
            found = None  # a field of another kind than its number says, or cut short
        yield end, found
        place = end


def _event(raw: bytes) -> TensorBoardEvent:
    time, step = 0.0, 0
    scalars: dict[str, float] = {}
    texts: dict[str, str] = {}
    params: dict[str, Any] = {}
    for number, value in fields(raw):
        if number == 1:
            (time,) = struct.unpack("<d", value)
        elif number == 2:
            step = signed(value)
        elif number == 5:
            for inner, part in fields(value):
                if inner == 1:
                    _value(part, scalars, texts, params)
    return TensorBoardEvent(time=time, step=step, scalars=scalars, texts=texts, params=params)


def _value(
    raw: bytes, scalars: dict[str, float], texts: dict[str, str], params: dict[str, Any]
) -> None:
    """One summary: a number as such or as a tensor, a text, or a session's hyperparameters."""
    tag, plugin, content, tensor = "", "", b"", None
    for number, value in fields(raw):
        if number == 1:
            tag = value.decode()
        elif number == 2:
            (scalars[tag],) = struct.unpack("<f", value)
        elif number == 8:
            tensor = value
        elif number == 9:
            plugin, content = _plugin(value)
    if plugin == "hparams":
        params.update(_hparams(content))
    elif tensor is not None:
        found = _tensor(tensor)
        if isinstance(found, str) and plugin in ("text", ""):
            texts[tag.removesuffix("/text_summary")] = found
        elif isinstance(found, float) and plugin in ("scalars", ""):
            scalars[tag] = found


def _plugin(raw: bytes) -> tuple[str, bytes]:
    name, content = "", b""
    for number, value in fields(raw):
        if number == 1:
            for inner, part in fields(value):
                if inner == 1:
                    name = part.decode()
                elif inner == 2:
                    content = part
    return name, content


def _tensor(raw: bytes) -> float | str | None:
    """A tensor of one number, or of a text; None for others."""
    kind, content, found = 0, b"", None
    for number, value in fields(raw):
        if number == 1:
            kind = value
        elif number == 4:
            content = value
        elif number == 5 and len(value) == 4:
            (found,) = struct.unpack("<f", value)
        elif number == 6 and len(value) == 8:
            (found,) = struct.unpack("<d", value)
        elif number in (7, 10, 11):
            whole = value if isinstance(value, int) else varint(value, 0)[0]
            found = float(signed(whole))
        elif number == 8 and found is None:
            found = value.decode()
    if found is None and content:
        shape = {1: "<f", 2: "<d", 3: "<i", 9: "<q"}.get(kind)
        if shape and len(content) == struct.calcsize(shape):
            found = float(struct.unpack(shape, content)[0])
    return found


def _hparams(content: bytes) -> dict[str, Any]:
    params: dict[str, Any] = {}
    for number, session in fields(content):
        if number != 3:
            continue
        for inner, entry in fields(session):
            if inner != 1:
                continue
            pair = dict(fields(entry))
            params[pair[1].decode()] = _json(pair.get(2, b""))
    return params


def _json(raw: bytes) -> Any:
    """A google.protobuf.Value that is a scalar."""
    for number, value in fields(raw):
        if number == 2:
            (real,) = struct.unpack("<d", value)
            return int(real) if real.is_integer() and abs(real) < 2**53 else real
        if number == 3:
            return value.decode()
        if number == 4:
            return bool(value)
    return None


def _table() -> list[int]:
    table: list[int] = []
    for number in range(256):
        entry = number
        for _ in range(8):
            entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)
        table.append(entry)
    return table


_CRC = _table()
"""CRC-32C (Castagnoli), a byte at a time."""


def _masked(raw: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in raw:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
