"""Exact storage of scalars of any type in columns: for parameters, attributes and samples."""

import json
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, cast

import msgspec

from runbase.values import plain_texts, without_nul

_encode = msgspec.json.Encoder(order="deterministic").encode


FROM_TEXT: dict[str, Callable[[str], Any]] = {
    "null": lambda _: None,
    "bool": lambda text: text == "true",
    "int": int,
    "float": float,
    "time": datetime.fromisoformat,
    "json": json.loads,
    "text": str,
}
"""Type → how its column text becomes the value."""


def typed(value: Any) -> dict[str, Any]:
    """Convert a scalar or a document to the columns type, number and text."""
    match value:
        case None:
            return {"type": "null", "number": None, "text": None}
        case bool():
            return {"type": "bool", "number": int(value), "text": "true" if value else "false"}
        case int():
            number = float(value) if abs(value) < 10**300 else math.inf if value > 0 else -math.inf
            return {"type": "int", "number": number, "text": str(int(value))}
        case float():
            number = float(value) if value == value else None
            # NumPy's float64 is a float with a representation of its own.
            return {"type": "float", "number": number, "text": repr(float(value))}
        case str():
            return {"type": "text", "number": None, "text": str(value)}
        case datetime():
            return {"type": "time", "number": value.timestamp(), "text": value.isoformat()}
        case _:
            return {"type": "json", "number": None, "text": json.dumps(value, ensure_ascii=False)}


def value(kind: str, number: float | None, text: str | None) -> Any:
    """Convert columns back to the value that `typed` converted."""
    match kind:
        case "null":
            return None
        case "bool":
            return bool(number)
        case "int":
            return int(text or 0)
        case "float":
            return float(text or "nan")
        case "json":
            return json.loads(text or "null")
        case _:
            return None if text is None else FROM_TEXT[kind](text)


def document(value: Any) -> str:
    """Return a value as JSON with sorted keys; NaN, infinities and huge integers are text."""
    plain = _plain(value)
    try:
        text = _encode(plain)
    except UnicodeEncodeError:  # lone surrogates
        text = _encode(plain_texts(plain))
    return without_nul(text).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and abs(value) >= 2**63:
        return str(value)
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_plain(v) for v in cast("list[Any]", value)]
    return value
