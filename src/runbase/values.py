"""What callers hand over, turned into plain numbers, keys, tags, parameters and tables; no package is imported for it.

NumPy, PyTorch, JAX and TensorFlow scalars are known by what they can do (``item()``, ``numpy()``,
``__float__``), not by their type.
"""

import datetime as dt
import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

import msgspec

from runbase.errors import InvalidValue, UsageError

Scalar = int | float
LARGEST_INTEGER = 2**63
EARLIEST, LATEST = -62_135_596_800.0, 253_402_300_799.0
"""Seconds since the epoch of the first second of the year 1 and the last of the year 9999 (UTC)."""
DEEPEST = 100
"""Levels of lists and mappings inside each other that a value may have."""
LONGEST_KEY = 500
"""Characters of a key that the database's key columns hold; of a longer one, see `stored_key`."""
_KEPT_OF_KEY = 450
_encode = msgspec.json.Encoder().encode
_NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")
"""The JSON escape of NUL: a backslash that is not itself escaped, and u0000."""


def flatten(
    values: Mapping[Any, Any], prefix: str = "", depth: int = 1
) -> Iterator[tuple[str, Any]]:
    """The leaves of a nested mapping, with ``/`` between the keys: ``{"a": {"b": 1}}`` → a/b, 1.

    Raises InvalidValue for more than `DEEPEST` levels, as a mapping that contains itself has.
    """
    if depth > DEEPEST:
        raise _too_deep(prefix.partition("/")[0])
    for key, value in values.items():
        name = f"{prefix}{key if isinstance(key, str) else to_text(key)}"
        if isinstance(value, Mapping) and value:
            yield from flatten(cast("Mapping[Any, Any]", value), f"{name}/", depth + 1)
        else:
            yield name, value


def split_names(text: str) -> list[str]:
    """The parts of a list of names or sort keys: split at commas outside of quotes and parentheses."""
    parts, quote, depth = [""], "", 0
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "()":
            depth += 1 if letter == "(" else -1
        if letter == "," and not quote and depth <= 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def plain_text(text: str) -> str:
    """Text that every database can hold: NUL as U+2400 (␀), lone surrogates as backslash escapes."""
    if "\0" in text:
        text = text.replace("\0", "\u2400")
    if text.isascii():
        return text
    return text.encode("utf-8", "backslashreplace").decode()


def plain_texts(value: Any) -> Any:
    """A value with `plain_text` applied to all texts in it: keys and items of lists and dicts."""
    if isinstance(value, str):
        return plain_text(value)
    if isinstance(value, dict):
        items = cast("dict[Any, Any]", value).items()
        return {plain_texts(key): plain_texts(item) for key, item in items}
    if isinstance(value, list | tuple):
        return [plain_texts(item) for item in cast("list[Any]", value)]
    return value


def without_nul(text: bytes) -> bytes:
    """JSON with the visible sign ␀ (U+2400) for each NUL: PostgreSQL holds none in its texts."""
    return _NUL.sub(rb"\1\\u2400", text) if b"\\u0000" in text else text


def encode_json(value: Any) -> bytes:
    """A value as JSON that every database can hold; see `plain_text`."""
    try:
        text = _encode(value)
    except UnicodeEncodeError:
        text = _encode(plain_texts(value))
    return without_nul(text)


def stored_key(key: str) -> str:
    """A key as the database's key columns hold it, so that any key fits into an index.

    Of one longer than `LONGEST_KEY` characters, its beginning and the first 32 hexadecimal
    characters of its SHA-256; the same for the same key, and unchanged where it is short.
    """
    if len(key) <= LONGEST_KEY:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "backslashreplace")).hexdigest()
    return f"{key[:_KEPT_OF_KEY]}…{digest[:32]}"


def to_scalar(key: str, value: Any) -> tuple[Scalar, str]:
    """`value` as a number and its type: float, int, bool or time (seconds since the epoch, UTC).

    Raises InvalidValue, which names the key and the type, where it is none, or an integer that is
    too large for a float.
    """
    if isinstance(value, bool):
        return int(value), "bool"
    try:
        if isinstance(value, int):
            plain = int(value)
            return (plain, "int") if abs(plain) < LARGEST_INTEGER else (float(plain), "float")
        if isinstance(value, float | Decimal):
            return float(value), "float"
        if isinstance(value, dt.datetime):
            return value.timestamp(), "time"
        if isinstance(value, dt.timedelta):
            return value.total_seconds(), "float"
    except (ArithmeticError, ValueError) as error:
        raise _not_a_number(key, value) from error
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
    if isinstance(value, int):
        return InvalidValue(f"metric {key!r} is an integer too large for a float (over 1.8e308)")
    if isinstance(value, Decimal | dt.datetime):
        return InvalidValue(f"metric {key!r} is {value!r}, which has no value as a float")
    return InvalidValue(f"metric {key!r} is of type {kind}, not a number")


def to_step(value: Any) -> Scalar:
    """A step as a plain int or float; whole floats stay floats.

    Raises InvalidValue for text, NaN, infinities, and steps outside of ±(2**63 - 1).
    """
    if isinstance(value, int) and not isinstance(value, bool):
        number = int(value)
    else:
        try:
            number, _ = to_scalar("step", value)
        except InvalidValue as error:
            shown = repr(value)
            shown = shown if len(shown) <= 60 else f"{shown[:60]}…"
            raise InvalidValue(f"step is {shown}, and a step must be a number") from error
    if isinstance(number, float) and not math.isfinite(number):
        raise InvalidValue(f"step is {number}, and a step must be a finite number")
    if not -LARGEST_INTEGER < number < LARGEST_INTEGER:
        raise InvalidValue("step is outside of ±(2**63 - 1), the range of steps")
    return number


def to_progress(value: Any) -> float:
    """A share of the whole, or an epoch, as a finite float. Raises InvalidValue."""
    try:
        number = float(value)
    except (TypeError, ValueError, ArithmeticError):
        number = math.nan
    if not math.isfinite(number):
        raise InvalidValue(f"progress is {value!r}; give a number, such as 0.5 or the epoch 1.25")
    return number


def to_time(name: str, value: Any) -> float:
    """Seconds since the epoch, between the years 1 and 9999. Raises InvalidValue, naming `name`."""
    try:
        number = float(value)
    except (TypeError, ValueError, ArithmeticError):
        number = math.nan
    if not EARLIEST <= number <= LATEST:
        raise InvalidValue(
            f"{name} is {value!r}; give seconds since the epoch, between the years 1 and 9999"
        )
    return number


def to_parameter(key: str, value: Any, depth: int = 0) -> Any:
    """A parameter as plain data: None, bool, int, float, str, list or dict of these.

    What has no such form (a class, a path, a function) is kept as its text. Raises InvalidValue for
    more than `DEEPEST` levels of lists and mappings, and for integers past the range of a float.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return _fitting(key, int(value))
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping | list | tuple | set | frozenset) and depth == DEEPEST:
        raise _too_deep(key)
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {to_text(name): to_parameter(key, item, depth + 1) for name, item in items}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_parameter(key, item, depth + 1) for item in cast("list[Any]", value)]
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    if isinstance(value, type) or callable(value):
        name = getattr(value, "__qualname__", None)
        return name if isinstance(name, str) else to_text(value)
    try:
        return to_scalar(key, value)[0]
    except InvalidValue:
        return to_text(value)


def to_text(value: Any) -> str:
    """`str(value)`; the name of its type where that fails."""
    try:
        return str(value)
    except Exception:  # whatever somebody's __str__ raises is no reason to stop training
        return f"<{type(value).__qualname__}>"


def _fitting(key: str, value: int) -> int:
    try:
        float(value)
    except OverflowError:
        raise InvalidValue(
            f"{key!r} is an integer too large for a float (over 1.8e308); give it as text: str(…)"
        ) from None
    return value


def _too_deep(key: str) -> InvalidValue:
    return InvalidValue(
        f"{key!r} has more than {DEEPEST} levels of lists and mappings inside each other, or "
        "contains itself"
    )


Moment = dt.datetime | str | float
"""A datetime (a naive one is UTC), ISO text, or seconds since the epoch."""


def to_seconds(value: Any) -> float:
    """A moment given as datetime (naive ones are UTC), ISO text or seconds since the epoch."""
    if isinstance(value, str):
        try:
            value = dt.datetime.fromisoformat(value)
        except ValueError as error:
            raise UsageError(f"{value!r} is not a date or time") from error
    if isinstance(value, dt.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=dt.UTC)).timestamp()
    try:
        return to_time("the time", value)
    except InvalidValue as error:
        raise UsageError(str(error)) from None


_DIRECTIONS = {"min": "min", "minimize": "min", "max": "max", "maximize": "max"}


def as_direction(direction: str, of: str = "") -> str:
    """Return `min` or `max` for a direction: min, max, minimize or maximize.

    Args:
        direction: the direction.
        of: the metric, for the message.

    Raises:
        UsageError: it is none of these.
    """
    known = _DIRECTIONS.get(str(direction).lower())
    if known is None:
        of = f" of {of!r}" if of else ""
        raise UsageError(f"the direction{of} is {direction!r}; use 'min' or 'max'")
    return known


def as_tags(tags: Any) -> dict[str, str | None]:
    """Tags from text, lists and mappings, as key → value (None for plain ones)."""
    found: dict[str, str | None] = {}
    several: list[Any]
    try:
        several = [tags] if _is_one(tags) else list(tags or ())
    except TypeError:
        kind = type(tags).__name__
        raise InvalidValue(f"tags are text, a list of it or a mapping, not {kind}") from None
    for tag in several:
        if isinstance(tag, Mapping):
            items = cast("Mapping[Any, Any]", tag).items()
            found |= {to_text(k): None if v is None else to_text(v) for k, v in items}
        else:
            found[to_text(tag)] = None
    return found


def _is_one(tags: Any) -> bool:
    return isinstance(tags, str | Mapping)


def as_params(values: Any) -> dict[str, Any]:
    """Parameters, flat and plain, from a mapping, an argparse namespace, a dataclass or an object."""
    if not isinstance(values, Mapping):
        if not hasattr(values, "__dict__"):
            kind = type(values).__name__
            raise InvalidValue(f"parameters are a mapping of name to value, not {kind}")
        values = cast("dict[str, Any]", vars(values))
    return {k: to_parameter(k, v) for k, v in flatten(cast("Mapping[Any, Any]", values))}


def as_table(
    key: str, rows: Any, columns: Sequence[str] | None
) -> tuple[list[str], list[list[Any]]]:
    """Names of columns and rows, from rows, a mapping of columns, or a DataFrame. Raises InvalidValue."""
    try:
        return _as_table(rows, columns)
    except (TypeError, ValueError, AttributeError, LookupError) as error:
        raise InvalidValue(
            f"{key!r} is not a table ({error}); give a list of rows, a mapping of column to values of "
            "equal length, or a DataFrame"
        ) from error


def _as_table(rows: Any, columns: Sequence[str] | None) -> tuple[list[str], list[list[Any]]]:
    if hasattr(rows, "to_dict") and hasattr(rows, "columns"):  # a DataFrame
        return [str(c) for c in rows.columns], [list(row) for row in rows.itertuples(index=False)]
    if isinstance(rows, Mapping):
        by_column: dict[str, Any] = {str(k): list(v) for k, v in rows.items()}  # pyright: ignore
        return list(by_column), [list(row) for row in zip(*by_column.values(), strict=True)]
    body = list(rows)
    if body and isinstance(body[0], Mapping):
        names = list(columns or dict.fromkeys(key for row in body for key in row))
        return names, [[row.get(name) for name in names] for row in body]
    width = len(body[0]) if body else 0
    return list(columns or map(str, range(width))), [list(row) for row in body]
