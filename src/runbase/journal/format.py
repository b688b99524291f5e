"""The lines of a journal: JSON, one event per line, each with a checksum. See docs/reference/journal.md.

Points are short arrays, ``["m",STEP,TIME,{KEY:VALUE,…},SUM]`` (with progress:
``["m",STEP,TIME,{…},PROGRESS,SUM]``), telemetry the same with ``"t"``; every other event is an
object, ``{"e":KIND,"time":…,…,"sum":SUM}``. SUM is the Adler-32 (RFC 1950; zlib's) of the same line
written without it: without the last comma, what follows it, and the line's end. It detects every
change of a single byte, and costs a third of a CRC-32 here. JSON has no NaN and no
infinities; in points they are the strings "NaN", "Infinity", "-Infinity", elsewhere
``{"$float": "NaN"}``; integers of more than 64 bits are ``{"$int": "…"}``.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast
from zlib import adler32

import msgspec

from runbase.events import JournalEvent, Opened, Points, Scalar, Types
from runbase.journal.validation import check_event
from runbase.values import DEEPEST, EARLIEST, LARGEST_INTEGER, LATEST, plain_texts, without_nul

VERSION = 1
NAME = "journal.jsonl"
VOID = b"~\n"
"""Ends a partial line so that it is invalid: only the end of the line might have been missing."""

_SPELLED = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_LARGEST_DIGITS = 309
"""An integer with more digits does not fit a float."""
_STARTS = re.compile(rb'\["[mt]",|\{"e":')
"""Beginnings of lines."""
encode = msgspec.json.Encoder().encode
"""Encode a value as JSON. Raises UnicodeEncodeError for text that is not valid Unicode."""


class MetricLine(
    msgspec.Struct, array_like=True, frozen=True, tag="m", gc=False, forbid_unknown_fields=True
):
    """One log call."""

    step: Scalar
    time: float
    values: dict[str, bool | int | float | Literal["NaN", "Infinity", "-Infinity"]]
    progress: float | None = None


class TelemetryLine(
    msgspec.Struct, array_like=True, frozen=True, tag="t", gc=False, forbid_unknown_fields=True
):
    """One sample of measurements of the machine or the system under test."""

    step: Scalar
    time: float
    values: dict[str, bool | int | float | Literal["NaN", "Infinity", "-Infinity"]]
    progress: float | None = None


PointLine = MetricLine | TelemetryLine
_decode_points = msgspec.json.Decoder(list[PointLine]).decode
_decode_event: "msgspec.json.Decoder[JournalEvent]" = msgspec.json.Decoder(JournalEvent)


def encode_points(
    tag: str,
    step: Scalar,
    time: float,
    values: Mapping[str, Scalar],
    progress: float | None = None,
) -> bytes:
    """Encode one log call as a line; NaN and infinities are strings."""
    spelled = {key: _spell(value) for key, value in values.items()}
    parts = (tag, step, time, spelled) if progress is None else (tag, step, time, spelled, progress)
    return sealed(_encode(parts))


def sealed(line: bytes) -> bytes:
    """Add the checksum and the end of the line to an array."""
    return b"%b,%d]\n" % (line[:-1], adler32(line))


def encode_event(event: JournalEvent) -> bytes:
    """Encode any other event as a line."""
    line = _encode(_mark(msgspec.to_builtins(event)))
    return b'%b,"sum":%d}\n' % (line[:-1], adler32(line))


def decode_points(lines: list[bytes]) -> list[PointLine]:
    """Decode lines of points whose checksums were checked.

    Raises:
        ValueError: a line is not a log call that a database can store: its step is outside ±(2**63 - 1), its time is outside
            the years 1 to 9999, or an integer is too large for a float.
    """
    text = b",".join(lines)
    decoded = _decode_points(b"[" + without_nul(text) + b"]")
    if len(decoded) != len(lines):
        raise ValueError("a line holds more than one event")
    if decoded:
        times = [line.time for line in decoded]
        steps = [line.step for line in decoded]
        if not (min(times) >= EARLIEST and max(times) <= LATEST):
            raise ValueError("its time is not between the years 1 and 9999")
        if not (min(steps) > -LARGEST_INTEGER and max(steps) < LARGEST_INTEGER):
            raise ValueError("its step is outside of ±(2**63 - 1)")
        if any(len(line) > _LARGEST_DIGITS and _DIGITS.search(line) for line in lines):
            _check_integers(decoded)
    return decoded


def decode_event(line: bytes) -> JournalEvent:
    """Decode a line whose checksum was checked, and that is an object.

    The time and the numbers of a journal's first line are not checked; `validation.mended` replaces them.

    Raises:
        ValueError: the line is not an event that a database can store: its time is outside the years 1 to 9999, values are
            nested too deep, or numbers are out of range.
    """
    line = without_nul(line)
    _check_depth(line)
    event = _decode_event.decode(line)
    if b'{"$float":' in line or b'{"$int":' in line:
        event = msgspec.convert(_unmark(msgspec.json.decode(line)), type(event))
    if not isinstance(event, Opened):
        check_event(event)
    return event


def checked(line: bytes) -> bytes | None:
    """Return `line` without its checksum; None if the checksum is missing or wrong."""
    head, _, tail = line.rpartition(b",")
    close = tail[-1:]
    digits = tail[6:-1] if tail.startswith(b'"sum":') else tail[:-1]
    plain = head + close
    # bytes.isdigit is stricter than int(), which also accepts "+1", "1_0" and spaces.
    if not digits.isdigit() or int(digits) != adler32(plain) or close not in (b"]", b"}"):
        return None
    return plain


def behind_half(line: bytes) -> bytes | None:
    """Return the complete line that follows a partial line; None if there is none.

    A partial line remains after a write that the system cut short, or in a file that was truncated.
    """
    for start in _STARTS.finditer(line, 1):
        if checked(line[start.start() : -1]) is not None:
            return line[start.start() :]
    return None


def split_by_time(content: bytes, since: float) -> tuple[int, bytes]:
    """Return the length of the part of a journal before a time, and the later lines.

    Later complete lines are returned also if the first of them follows a partial line, as in a file that was truncated.
    """
    kept, later = 0, list[bytes]()
    for line in content.splitlines(keepends=True):
        time = time_of(line)
        if not later and time is not None and time < since:
            kept += len(line)
            continue
        whole = line if time is not None else behind_half(line)
        if whole is not None and (time_of(whole) or 0.0) >= since:
            later.append(whole)
    return kept, b"".join(later)


def time_of(line: bytes) -> float | None:
    """Return the time of a line (with its line end); None if it is not a complete event."""
    plain = checked(line[:-1]) if line.endswith(b"\n") else None
    if plain is None:
        return None
    try:
        if plain[:1] == b"[":
            return decode_points([plain])[0].time
        return decode_event(plain).time
    except (ValueError, RecursionError):
        return None


def columns(kind: str, lines: Sequence[PointLine]) -> list[Types | Points]:
    """Convert log calls to columns: one `Points` per set of keys, in the order in which each set first occurs.

    Types of metrics whose values are all bool come first.
    """
    grouped: dict[tuple[str, ...], list[PointLine]] = {}
    last_keys: tuple[str, ...] = ()
    rows: list[PointLine] = []
    for line in lines:
        keys = tuple(line.values)
        if keys != last_keys:
            rows = grouped.setdefault(keys, [])
            last_keys = keys
        rows.append(line)
    events: list[Types | Points] = []
    for keys, rows in grouped.items():
        if keys:
            by_key = list(zip(*[row.values.values() for row in rows], strict=True))
            bools = {k: "bool" for k, column in zip(keys, by_key, strict=True) if _is_bool(column)}
            if bools and kind == "metric":
                events.append(Types(types=bools))
            events.append(_points(kind, keys, rows, by_key))
    return events


def _points(
    kind: str, keys: tuple[str, ...], rows: list[PointLine], by_key: Sequence[tuple[Any, ...]]
) -> Points:
    order = sorted(range(len(keys)), key=keys.__getitem__)
    progress = [row.progress for row in rows]
    return Points(
        kind=kind,
        keys=tuple(keys[i] for i in order),
        steps=[row.step for row in rows],
        times=[row.time for row in rows],
        columns=[_numbers(by_key[i]) for i in order],
        progress=progress if any(value is not None for value in progress) else None,
    )


def _is_bool(column: tuple[Any, ...]) -> bool:
    return column[0].__class__ is bool and set(map(type, column)) == {bool}


def _numbers(column: "tuple[int | float | str, ...]") -> list[Scalar]:
    kinds = set(map(type, column))
    if kinds <= {float}:
        return cast("list[Scalar]", list(column))
    return [_number(value) for value in column]


def _number(value: "int | float | str") -> Scalar:
    """Convert a value of a line to a number: strings to NaN or infinities, integers of more than 64 bits to floats."""
    if isinstance(value, str):
        return _SPELLED[value]
    if isinstance(value, int):
        return int(value) if abs(value) < LARGEST_INTEGER else float(value)
    return value


def _encode(value: Any) -> bytes:
    try:
        return encode(value)
    except UnicodeEncodeError:  # lone surrogates, as in a file name that is not UTF-8
        return encode(plain_texts(value))


_DIGITS = re.compile(rb"(?<!\d)\d{%d}" % _LARGEST_DIGITS)


def _check_integers(lines: Iterable[PointLine]) -> None:
    for line in lines:
        for key, value in line.values.items():
            if isinstance(value, int):
                try:
                    float(value)
                except OverflowError:
                    raise ValueError(f"{key!r} is an integer too large for a float") from None


def _check_depth(line: bytes) -> None:
    """Raise ValueError for values nested deeper than a parameter may be (plus the levels of the event itself)."""
    if line.count(b"[") + line.count(b"{") <= DEEPEST:
        return
    depth, in_text, escaped = 0, False, False
    for byte in line:
        if in_text:
            if escaped:
                escaped = False
            elif byte == 0x5C:  # a backslash
                escaped = True
            elif byte == 0x22:  # a quote
                in_text = False
        elif byte == 0x22:
            in_text = True
        elif byte in b"[{":
            depth += 1
            if depth > DEEPEST + _AROUND:
                raise ValueError(f"it is nested deeper than {DEEPEST} levels")
        elif byte in b"]}":
            depth -= 1


_AROUND = 8
"""Levels of an event around its values."""


def _spell(value: Scalar) -> "Scalar | str":
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _mark(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": _spell(value)}
    if isinstance(value, int) and abs(value) >= LARGEST_INTEGER:
        return {"$int": str(value)}
    if isinstance(value, dict):
        return {k: _mark(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_mark(v) for v in cast("list[Any]", value)]
    return value


def _unmark(value: Any) -> Any:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        if len(items) == 1 and items.get("$float") in _SPELLED:
            return _SPELLED[items["$float"]]
        if len(items) == 1 and isinstance(items.get("$int"), str):
            return int(items["$int"])
        return {k: _unmark(v) for k, v in items.items()}
    if isinstance(value, list):
        return [_unmark(v) for v in cast("list[Any]", value)]
    return value
