"""What callers hand over, made plain: tags, parameters and tables in all the forms people use."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from runbase.errors import InvalidValue, UsageError
from runbase.values import flatten, to_parameter, to_text

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


def as_environment(environ: Mapping[str, str] | str) -> dict[str, str]:
    """Environment variables without what looks like a secret; for "auto", those of the allow-list."""
    from runbase.capture import secrets

    if isinstance(environ, str):
        return secrets.allowed()
    return secrets.drop_secrets(environ)


def program_options() -> dict[str, Any]:
    """The options of this program's command line, parsed, without secrets."""
    from runbase.capture import environment

    return environment.command().get("options", {})


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
