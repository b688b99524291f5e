"""MLflow's filters and sort keys: parsed to clauses, and applied to values of records.

A filter is a list of comparisons joined by AND. Search over runs translates clauses to runbase's filter language
(`run_filters`); short lists, such as experiments, are filtered here.
"""

import math
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from runbase.integrations.mlflow.rest.errors import MlflowError, invalid

T = TypeVar("T")
_TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>'(?:[^']|'')*')
      | (?P<quoted>"(?:[^"]|"")*"|`[^`]*`)
      | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
      | (?P<operator><=|>=|!=|<>|==|=|<|>)
      | (?P<mark>[(),])
      | (?P<word>[^\s'"`<>=!(),]+)
    )""",
    re.VERBOSE,
)
_ORDERS = ("=", "!=", "<", "<=", ">", ">=")
_TEXTS = ("=", "!=", "LIKE", "ILIKE")
_LISTS = ("IN", "NOT IN")
_NULLS = ("IS NULL", "IS NOT NULL")
OPERATORS = {
    "number": _ORDERS,
    "metric": _ORDERS,
    "param": (*_TEXTS, *_NULLS),
    "tag": (*_TEXTS, *_NULLS),
    "text": (*_TEXTS, *_LISTS),
    "dataset": (*_TEXTS, *_LISTS),
}
"""Kind of what is compared → its operators."""


class Entity(Struct, frozen=True):
    """What a name means: its kind (a key of `OPERATORS`) and its key."""

    kind: str
    key: str


class Clause(Struct, frozen=True):
    """A comparison. `value` is a number, a text, or a list of texts."""

    entity: Entity
    operator: str
    value: Any = None


class Key(Struct, frozen=True):
    """A sort key."""

    entity: Entity
    descending: bool


Names = Callable[[str, str], Entity]
"""Returns what a name means: its first part (empty if there is one part only) and its key."""


class _Token(Struct, frozen=True):
    kind: str
    text: str
    begin: int


def parse_filter(text: str, names: Names) -> list[Clause]:
    """Parse a filter.

    Raises:
        MlflowError: it is not valid; the message has the part that is not.
    """
    tokens = _tokens(text)
    clauses: list[Clause] = []
    place = 0
    while place < len(tokens):
        clause, place = _comparison(text, tokens, place, names)
        clauses.append(clause)
        if place == len(tokens):
            break
        if tokens[place].text.upper() != "AND" or place + 1 == len(tokens):
            raise _invalid_clause(text, tokens, place)
        place += 1
    return clauses


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    place, end = 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            raise invalid(f"Invalid clause(s) in filter string: {text[place:]!r}")
        kind = match.lastgroup or ""
        found.append(_Token(kind, match[kind], match.start(kind)))
        place = match.end()
    return found


def _invalid_clause(text: str, tokens: Sequence[_Token], place: int) -> MlflowError:
    shown = tokens[place].text if place < len(tokens) else text
    return invalid(f"Invalid clause(s) in filter string: '{shown}'")


def _comparison(
    text: str, tokens: Sequence[_Token], place: int, names: Names
) -> tuple[Clause, int]:
    """Return the comparison that begins at a token, and the place after it."""
    entity, place = _name(text, tokens, place, names)
    words = [token.text.upper() for token in tokens[place : place + 3]]
    for operator in ("IS NOT NULL", "IS NULL", "NOT IN", "IN", "NOT LIKE", "LIKE", "ILIKE"):
        parts = operator.split()
        if words[: len(parts)] == parts:
            place += len(parts)
            break
    else:
        if place >= len(tokens) or tokens[place].kind != "operator":
            raise _invalid_clause(text, tokens, place)
        operator = {"<>": "!=", "==": "="}.get(tokens[place].text, tokens[place].text)
        place += 1
    if operator not in OPERATORS[entity.kind]:
        raise invalid(
            f"Invalid comparator '{operator}' for {entity.key!r}; "
            f"use one of {', '.join(OPERATORS[entity.kind])}"
        )
    if operator in _NULLS:
        return Clause(entity, operator), place
    if operator in _LISTS:
        values, place = _list(text, tokens, place)
        return Clause(entity, operator, values), place
    if place >= len(tokens):
        raise _invalid_clause(text, tokens, place)
    return Clause(entity, operator, _value(tokens[place], entity)), place + 1


def _name(text: str, tokens: Sequence[_Token], place: int, names: Names) -> tuple[Entity, int]:
    token = tokens[place]
    if token.kind == "quoted":
        return names("", _unquoted(token.text)), place + 1
    if token.kind != "word":
        raise _invalid_clause(text, tokens, place)
    first, dot, key = token.text.partition(".")
    following = tokens[place + 1] if place + 1 < len(tokens) else None
    if dot and not key and following is not None and following.kind == "quoted":
        return names(first.lower(), _unquoted(following.text)), place + 2
    if dot and not key:
        raise _invalid_clause(text, tokens, place)
    return (names(first.lower(), key) if dot else names("", first)), place + 1


def _unquoted(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote)


def _value(token: _Token, entity: Entity) -> Any:
    if entity.kind in ("metric", "number"):
        if token.kind != "number":
            raise invalid(
                f"Expected numeric value type for {entity.key!r}, without quotes. Found {token.text}"
            )
        return float(token.text) if entity.kind == "metric" else _whole(token.text)
    if token.kind not in ("text", "quoted") or token.text[0] == "`":
        raise invalid(
            f"Expected a quoted string value for {entity.key!r} (e.g. 'my-value'). Got value {token.text}"
        )
    return _unquoted(token.text)


def _whole(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _list(text: str, tokens: Sequence[_Token], place: int) -> tuple[list[str], int]:
    """Return the texts in parentheses."""
    values: list[str] = []
    expected = "("
    while place < len(tokens):
        token = tokens[place]
        place += 1
        if expected == "value":
            if token.kind not in ("text", "quoted"):
                break
            values.append(_unquoted(token.text))
            expected = ",)"
        elif token.text in expected:
            if token.text == ")":
                return values, place
            expected = "value"
        else:
            break
    raise invalid(
        f"Invalid clause(s) in filter string: expected a list of quoted strings in '{text}'"
    )


def parse_order(texts: Sequence[str], names: Names) -> list[Key]:
    """Parse sort keys, each `<name> [ASC|DESC]`."""
    keys: list[Key] = []
    for text in texts:
        tokens = _tokens(text)
        if not tokens:
            raise invalid(f"Invalid order_by clause '{text}'")
        descending = False
        if len(tokens) > 1 and tokens[-1].text.upper() in ("ASC", "DESC"):
            descending = tokens.pop().text.upper() == "DESC"
        entity, end = _name(text, tokens, 0, names)
        if end != len(tokens):
            raise invalid(f"Invalid order_by clause '{text}'. Could not be parsed.")
        if any(key.entity == entity for key in keys):
            raise invalid(f"`order_by` contains duplicate fields: {list(texts)}")
        keys.append(Key(entity, descending))
    return keys


# Values


def satisfied(clause: Clause, value: Any) -> bool:
    """Return whether a value matches; a missing one (None) matches IS NULL only."""
    match clause.operator:
        case "IS NULL":
            return value is None
        case "IS NOT NULL":
            return value is not None
        case _ if value is None:
            return False
        case "LIKE" | "ILIKE":
            return like(str(value), clause.value, any_case=clause.operator == "ILIKE")
        case "IN":
            return value in clause.value
        case "NOT IN":
            return value not in clause.value
        case "=":
            return bool(value == clause.value)
        case "!=":
            return bool(value != clause.value)
        case "<":
            return bool(value < clause.value)
        case "<=":
            return bool(value <= clause.value)
        case ">":
            return bool(value > clause.value)
        case _:
            return bool(value >= clause.value)


def like(value: str, pattern: str, *, any_case: bool = False) -> bool:
    """Return whether a text matches a pattern in which % means any text and _ any character."""
    parts = [{"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in pattern]
    flags = re.DOTALL | (re.IGNORECASE if any_case else 0)
    return re.fullmatch("".join(parts), value, flags) is not None


def sort(items: Sequence[T], keys: Sequence[Key], value: Callable[[T, Entity], Any]) -> list[T]:
    """Return items in an order; NaN comes after numbers, missing values come last, in both directions."""
    ordered = list(items)
    for key in reversed(keys):

        def rank(item: T, entity: Entity = key.entity) -> int:
            found = value(item, entity)
            if found is None:
                return 2
            return int(isinstance(found, float) and math.isnan(found))

        def plain(item: T, entity: Entity = key.entity) -> Any:
            return value(item, entity)

        real = [item for item in ordered if rank(item) == 0]
        real.sort(key=plain, reverse=key.descending)  # `reverse` keeps the order of equal items
        ordered = [
            *real,
            *(i for i in ordered if rank(i) == 1),
            *(i for i in ordered if rank(i) == 2),
        ]
    return ordered
