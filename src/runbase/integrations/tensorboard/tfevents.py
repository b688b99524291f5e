"""Decode TensorBoard event files: scalars, texts, hyperparameters, histograms, images and audio.

TensorFlow and TensorBoard need not be installed.

The framing is that of TensorFlow's *record_writer*: length (u64), its masked CRC-32C, the data, its CRC. The messages
are those of *event.proto*, *summary.proto*, *tensor.proto* and the hparams plugin's *plugin_data.proto*, decoded field
by field as described on protobuf's *encoding* page.
"""

import math
import struct
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from runbase.ingest.protobuf import fields, signed, varint

_HEAD = struct.Struct("<QI")
_LARGEST = 2**30
"""The maximum size of a record in bytes; a greater length is damaged."""
_CHECKED = 2**16
"""The maximum size of a record whose checksum is verified; in Python, a large one takes seconds."""
_LARGEST_TENSOR = 2**20
_PACKED = {1: "f", 2: "d", 3: "i", 9: "q"}
"""The types of tensors (DataType of *types.proto*) that can be written as packed bytes."""


class Media(Struct, frozen=True):
    """An image or audio of an event: tag, kind (image or audio), and the bytes of the file."""

    tag: str
    kind: str
    data: bytes


class TensorBoardEvent(Struct, kw_only=True):
    """One event: time, step and contents."""

    time: float = 0.0
    step: int = 0
    scalars: dict[str, float] = {}
    texts: dict[str, str] = {}
    params: dict[str, Any] = {}
    histograms: dict[str, dict[str, Any]] = {}
    """Tag → counts, edges (one more than counts), not_finite, as logged by `Run.log_histogram`."""
    media: list[Media] = []
    left_out: list[str] = []
    """The kinds of values that are not imported, such as graphs."""


class Damaged(Exception):
    """The framing is damaged: later records cannot be located."""


def events(raw: bytes) -> Iterator[tuple[int, TensorBoardEvent | None]]:
    """Yield (offset of the next record, event); the event is None if it cannot be decoded.

    Stops before an incomplete record.

    Raises:
        Damaged: the framing is damaged.
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
            found = None  # a field has an unexpected type, or is truncated
        yield end, found
        place = end


def _event(raw: bytes) -> TensorBoardEvent:
    found = TensorBoardEvent()
    for number, value in fields(raw):
        match number:
            case 1:
                (found.time,) = struct.unpack("<d", value)
            case 2:
                found.step = signed(value)
            case 4:
                found.left_out.append("graph")
            case 5:
                for inner, part in fields(value):
                    if inner == 1:
                        _value(part, found)
            case 8:
                found.left_out.append("run metadata")
            case 9:
                found.left_out.append("meta graph")
            case _:
                pass
    return found


def _value(raw: bytes, found: TensorBoardEvent) -> None:
    """Decode one summary: a plain value, or a tensor of a plugin."""
    tag, plugin, content = "", "", b""
    parts: dict[int, Any] = {}
    for number, value in fields(raw):
        if number == 1:
            tag = value.decode()
        elif number == 9:
            plugin, content = _plugin(value)
        else:
            parts[number] = value
    if plugin == "hparams":
        found.params.update(_hparams(content))
    elif 2 in parts:
        (found.scalars[tag],) = struct.unpack("<f", parts[2])
    elif 4 in parts:
        found.media.append(Media(tag, "image", dict(fields(parts[4]))[4]))
    elif 5 in parts:
        found.histograms[tag] = _histogram(parts[5])
    elif 6 in parts:
        found.media.append(Media(tag, "audio", dict(fields(parts[6]))[4]))
    elif 8 in parts:
        _of_tensor(tag, plugin, parts[8], found)


def _of_tensor(tag: str, plugin: str, raw: bytes, found: TensorBoardEvent) -> None:
    tensor = _tensor(raw)
    texts = isinstance(tensor[0], bytes) if tensor else False
    match plugin:
        case "scalars" | "" if len(tensor) == 1 and not texts:
            found.scalars[tag] = float(tensor[0])
        case "text" | "" if texts:
            text = "\n".join(part.decode("utf-8", "replace") for part in tensor)
            found.texts[tag.removesuffix("/text_summary")] = text
        case "images" if texts:  # width and height, then the images
            found.media += [Media(tag, "image", picture) for picture in tensor[2:]]
        case "audio" if texts:  # pairs of audio and label
            found.media += [Media(tag, "audio", sound) for sound in tensor[::2]]
        case "histograms" if not texts and len(tensor) % 3 == 0:  # left, right, count
            left, right, counts = tensor[::3], tensor[1::3], tensor[2::3]
            found.histograms[tag] = {
                "counts": [float(count) for count in counts],
                "edges": [float(edge) for edge in [*left, *right[-1:]]],
                "not_finite": 0,
            }
        case _:
            found.left_out.append(plugin.replace("_", " ") or "tensor")


def _histogram(raw: bytes) -> dict[str, Any]:
    """Decode a HistogramProto, without the empty outer buckets, which extend to the limits of doubles."""
    lowest, highest = -math.inf, math.inf
    limits: list[float] = []
    counts: list[float] = []
    for number, value in fields(raw):
        match number:
            case 1:
                (lowest,) = struct.unpack("<d", value)
            case 2:
                (highest,) = struct.unpack("<d", value)
            case 6:
                limits += struct.unpack(f"<{len(value) // 8}d", value)
            case 7:
                counts += struct.unpack(f"<{len(value) // 8}d", value)
            case _:
                pass
    filled = [n for n, count in enumerate(counts) if count]
    if not filled:
        return {"counts": [], "edges": [], "not_finite": 0}
    first, last = filled[0], filled[-1]
    below = limits[first - 1] if first else -math.inf
    edges, kept = [max(lowest, below)], list[float]()
    for count, limit in zip(counts[first : last + 1], limits[first : last + 1], strict=True):
        if count or not kept or kept[-1]:
            kept.append(count)
            edges.append(limit)
        else:  # merge empty neighbours: TensorBoard writes hundreds of them around zero
            edges[-1] = limit
    edges[-1] = min(highest, edges[-1])
    return {"counts": kept, "edges": edges, "not_finite": 0}


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


def _tensor(raw: bytes) -> list[Any]:
    """Return the values of a tensor: numbers, or bytes for strings."""
    kind, content, size = 0, b"", 0
    found: list[Any] = []
    for number, value in fields(raw):
        match number:
            case 1:
                kind = value
            case 2:
                size = _size(value)
            case 4:
                content = value
            case 5 | 6:
                code, width = ("f", 4) if number == 5 else ("d", 8)
                found += struct.unpack(f"<{len(value) // width}{code}", value)
            case 7 | 10 | 11:
                found += [value] if isinstance(value, int) else _varints(value)
            case 8:
                found.append(value)
            case _:
                pass
    if not found and content and kind in _PACKED:
        code = _PACKED[kind]
        found = list(struct.unpack(f"<{len(content) // struct.calcsize(code)}{code}", content))
    if len(found) == 1 and size > 1 and not isinstance(found[0], bytes):
        found *= min(size, _LARGEST_TENSOR)  # a tensor of equal values is written as one value
    return [signed(value) if isinstance(value, int) else value for value in found]


def _size(raw: bytes) -> int:
    """Return the number of values of a tensor shape."""
    size = 1
    for number, dimension in fields(raw):
        if number == 2:
            size *= signed(dict(fields(dimension)).get(1, 0))
    return size


def _varints(raw: bytes) -> list[int]:
    found: list[int] = []
    place = 0
    while place < len(raw):
        value, place = varint(raw, place)
        found.append(value)
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
    """Decode a google.protobuf.Value that is a scalar."""
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
"""The table of CRC-32C (Castagnoli), one entry per byte value."""


def _masked(raw: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in raw:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
