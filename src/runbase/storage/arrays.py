"""Encode numbers as JSON arrays, with each dialect's spelling of NaN and infinities."""

import json
import math
from collections.abc import Sequence
from typing import Any

import msgspec

from runbase.values import encode_json

Scalar = int | float

_encode = msgspec.json.Encoder().encode
_floats = msgspec.json.Decoder(list[float]).decode


def encode_numbers(
    values: Sequence[Scalar | None], nan: str = "null", infinity: str = "9e999"
) -> str:
    """Encode values as a JSON array. NaN is `nan`; an infinity is `infinity`, with its sign."""
    if None not in values and math.isfinite(total(values)):  # type: ignore[arg-type]
        return _encode(values).decode()
    return "[" + ",".join(_number(value, nan, infinity) for value in values) + "]"


def decode_numbers(text: str) -> list[float]:
    """Decode what `encode_numbers` encoded with its default spellings; null is NaN."""
    try:
        return _floats(text)
    except (msgspec.ValidationError, msgspec.DecodeError):  # null, or 9e999 for infinity
        values: list[float | None] = json.loads(text)
        return [math.nan if value is None else value for value in values]


def encode_document(value: Any) -> str:
    """Encode a value as JSON that every database can store: see `runbase.values.plain_text`."""
    return encode_json(value).decode()


def total(values: Sequence[Scalar]) -> float:
    """Return the sum as a float; infinite if it is too large for a float."""
    try:
        return float(sum(values))
    except OverflowError:
        return float(sum(map(float, values)))


def _number(value: Scalar | None, nan: str, infinity: str) -> str:
    if value is None:
        return "null"
    if value != value:
        return nan
    if value in (math.inf, -math.inf):
        return infinity if value > 0 else f"-{infinity}"
    return _encode(value).decode()
