"""What a user hands to `log`, turned into plain numbers and keys; no package is imported for it.

NumPy, PyTorch, JAX and TensorFlow scalars are known by what they can do (``item()``, ``numpy()``,
``__float__``), not by their type.
"""

import datetime as dt
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, cast

from runbase.errors import InvalidValue, UsageError

Scalar = int | float
LARGEST_INTEGER = 2**63


def flatten(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a nested mapping, with ``/`` between the keys: ``{"a": {"b": 1}}`` → a/b, 1."""
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(cast("Mapping[Any, Any]", value), f"{name}/")
        else:
            yield name, value


def to_scalar(key: str, value: Any) -> tuple[Scalar, str]:
    """`value` as a number and its type: float, int, bool or time (seconds since the epoch, UTC).

    Raises InvalidValue, which names the key and the type, where it is none.
    """
    if isinstance(value, bool):
        return int(value), "bool"
    if isinstance(value, int):
        plain = int(value)
        return (plain, "int") if abs(plain) < LARGEST_INTEGER else (float(plain), "float")
    if isinstance(value, float):
        return float(value), "float"
    if isinstance(value, Decimal):
        return float(value), "float"
    if isinstance(value, dt.datetime):
        return value.timestamp(), "time"
    if isinstance(value, dt.timedelta):
        return value.total_seconds(), "float"
    return _foreign(key, value)


def _foreign(key: str, value: Any) -> tuple[Scalar, str]:
    if isinstance(value, str | bytes | Mapping | list | tuple | set) or value is None:
        raise _not_a_number(key, cast("Any", value))
    try:
        # TensorFlow's tensors have numpy() and no item(); everyone else's scalars have item().
        plain: Any = value.item() if hasattr(value, "item") else value
        plain = plain.numpy() if hasattr(plain, "numpy") else plain
        plain = plain.item() if hasattr(plain, "item") else plain
        if not isinstance(plain, bool | int | float | dt.datetime | Decimal):
            plain = float(plain)
    except Exception as error:
        raise _not_a_number(key, value) from error
    return to_scalar(key, plain)


def _not_a_number(key: str, value: Any) -> InvalidValue:
    kind = type(value).__name__
    shape = getattr(value, "shape", None)
    if isinstance(value, str):
        shown = repr(value) if len(value) <= 40 else repr(value[:40]) + "…"
        return InvalidValue(
            f"metric {key!r} is text ({shown}), not a number; use run.log_text({key!r}, …) for "
            "text, or run.log_params / run.tag for what does not change with the step"
        )
    if shape not in (None, ()):
        return InvalidValue(
            f"metric {key!r} is a {kind} of shape {tuple(shape)}, not one number; log its mean, or "
            f"use run.log_histogram({key!r}, …)"
        )
    return InvalidValue(f"metric {key!r} is of type {kind}, not a number")


def to_step(value: Any) -> Scalar:
    """A step as a plain int or float; whole floats stay floats. InvalidValue for NaN or text."""
    number, _ = to_scalar("step", value)
    if isinstance(number, float) and not math.isfinite(number):
        raise InvalidValue(f"step is {number}, and a step must be a finite number")
    return number


def to_parameter(key: str, value: Any) -> Any:
    """A parameter as plain data: None, bool, int, float, str, list or dict of these.

    What has no such form (a class, a path, a function) is kept as its text.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {str(name): to_parameter(key, item) for name, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_parameter(key, item) for item in cast("list[Any]", value)]
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, type) or callable(value):
        return getattr(value, "__qualname__", None) or str(value)
    try:
        return to_scalar(key, value)[0]
    except InvalidValue:
        return str(value)


Moment = dt.datetime | str | float
"""A datetime (a naive one is UTC), ISO text, or seconds since the epoch."""


def to_seconds(value: Any) -> float:
    """A moment given as datetime (naive ones are UTC), ISO text or seconds since the epoch."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError as error:
            raise UsageError(f"{value!r} is no date or time") from error
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
    return float(value)
