"""Compile the filter language to SQL for either dialect.

A filter is a SQL expression over a subject's columns and families (see `fields`). sqlglot parses it, so its grammar is
SQL's. Only node types of an allow-list are compiled, and every value is bound, never inserted as text. Each expression has
a kind (number, text, time). Kinds that cannot be compared are refused, so that both dialects agree.
"""

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from runbase.errors import FilterError
from runbase.storage.sql.search import dates
from runbase.storage.sql.search.expressions import (
    ARITHMETIC,
    AT,
    COMPARISONS,
    Node,
    SortKey,
    glob,
    negated,
    parse_number,
    path_of,
)
from runbase.storage.sql.search.names import Constant, Expression, Names, pointer
from runbase.storage.sql.statements import for_dialect
from runbase.values import split_names

_LONGEST_SHOWN = 500
"""Longest part of a filter that a message repeats, in characters."""
_WORDS = {"LOST": "NODE_FAIL"}
"""What people call a status."""
_NOW = ("now", "current_timestamp")
_KEY = re.compile(r"[A-Za-z_][\w./-]*")
_DIRECTION = re.compile(r"\s+(asc|desc)\s*$", re.IGNORECASE)


class Compiler:
    """Compiles the filter and the sort keys of one query; `names` collects the joins and the values to bind.

    `time` converts seconds since the epoch to the dialect's form.
    """

    def __init__(
        self,
        names: Names,
        dialect: str,
        time: Callable[[float], Any],
        *,
        now: float | None = None,
    ) -> None:
        self.names = names
        self._dialect, self._time = dialect, time
        self._now = datetime.now(UTC) if now is None else datetime.fromtimestamp(now, UTC)
        self._text = ""

    def where(self, text: str) -> str:
        """Compile a condition; a FilterError marks the place of an error in the text."""
        with self._readable(text):
            return self._condition(self._parse(text))

    def order(self, text: str) -> list[SortKey]:
        """Compile sort keys; missing values come last in both directions."""
        with self._readable(text):
            return self._order(text)

    def _order(self, text: str) -> list[SortKey]:
        # A key may stand alone and without quotes: val/loss desc
        text = ", ".join(self._in_full(part) for part in split_names(text)) or text
        self._text = text if len(text) <= _LONGEST_SHOWN else self._text
        tree = self._parse(f"select 1 order by {text}", len("select 1 order by "))
        order = tree.args.get("order")
        if order is None or tree.args.get("limit") is not None:
            raise FilterError(f"cannot sort by {text!r}")
        keys: list[SortKey] = []
        for item in order.expressions:
            node, descending = item, False
            if isinstance(item, exp.Ordered):
                node, descending = item.this, bool(item.args.get("desc"))
            keys += [SortKey(sql, kind, descending) for sql, kind in self._sorted_by(node)]
        return keys

    def _in_full(self, part: str) -> str:
        """Return one sort key with the name of an existing key in full; any other expression unchanged."""
        found = _DIRECTION.search(part)
        name, direction = (part[: found.start()], part[found.start() :]) if found else (part, "")
        full = self.names.quoted(name)
        first, slash, _ = name.partition("/")
        if full is None and slash and _KEY.fullmatch(name):  # not a division of columns
            path = first.split(".")
            if self.names.column(path) is None and self.names.reference(path) is None:
                raise self.names.unknown([name], self._text)
        return f"{full or name}{direction}"

    # Conditions

    def _condition(self, node: Node) -> str:
        match node:
            case exp.Paren():
                return f"({self._condition(node.this)})"
            case exp.Not():
                return f"not ({self._condition(node.this)})"
            case exp.And() | exp.Or():
                word = "and" if isinstance(node, exp.And) else "or"
                return f"({self._condition(node.this)} {word} {self._condition(node.expression)})"
            case exp.Boolean():
                return "true" if node.this else "false"
            case exp.Is():
                return self._is(node)
            case exp.Like() | exp.ILike():
                return negated(self._like(node), node)
            case exp.In():
                return negated(self._in(node), node)
            case exp.Between():
                low = self._compare(node.this, ">=", node.args["low"])
                high = self._compare(node.this, "<=", node.args["high"])
                return negated(f"({low} and {high})", node)
            case _ if type(node) in COMPARISONS:
                return self._compare(node.this, COMPARISONS[type(node)], node.expression)
            case exp.Column() | exp.Dot():
                return self._stands_alone(self._value(node), node)
            case _:
                raise self._not_part(node)

    def _stands_alone(self, found: Expression, node: Node) -> str:
        """Compile `tags.baseline`, `params.shuffle` and `alive` as conditions: the tag is set, the value is true."""
        if found.kind == "any":
            return f"{self._as(found, 'number')} <> 0"
        if found.truth:
            return f"{found.sql} = 1"
        if found.name is not None and found.kind == "text":
            return f"{found.sql} is not null"
        raise FilterError(
            f"{node.sql()!r} is not a condition; compare it with a value, in {self._text!r}"
        )

    def _is(self, node: Node) -> str:
        right = node.expression
        if isinstance(right, exp.Boolean):
            return self._compare(node.this, "=", right)
        if not isinstance(right, exp.Null):
            raise self._not_part(node)
        value = self._value(node.this)
        if value.kind == "any" and value.name is not None:
            return f"coalesce({value.name.alias}.type, 'null') = 'null'"
        return f"{value.sql} is null"

    def _compare(self, left_node: Node, operator: str, right_node: Node) -> str:
        left, right = self._value(left_node), self._value(right_node)
        kind = self._common(left, right, operator)
        if kind == "either":  # two parameters: compare as numbers if both are numbers, else as text
            numbers = f"{self._as(left, 'number')} {operator} {self._as(right, 'number')}"
            return f"coalesce({numbers}, {self._as(left, 'text')} {operator} {self._as(right, 'text')})"
        upper = left.upper or right.upper
        sides = [self._as(side, kind, upper) for side in (left, right)]
        return f"{self._collated(sides[0], kind)} {operator} {sides[1]}"

    def _common(self, left: Expression, right: Expression, operator: str) -> str:
        """Return the kind in which two sides are compared."""
        kinds = {left.kind, right.kind}
        if "null" in kinds:
            raise FilterError(
                f"a comparison with null is never true; use `is null`, in {self._text!r}"
            )
        if "span" in kinds:
            raise FilterError(f"a duration is not a time; use now() - …, in {self._text!r}")
        if kinds == {"any"}:
            return "either" if operator in ("=", "<>") else "number"
        if "any" in kinds:
            other = right if left.kind == "any" else left
            if other.kind == "time" and other.constant is None:
                raise FilterError(f"a parameter cannot be compared with a time, in {self._text!r}")
            return {"time": "text", "bool": "number"}.get(other.kind, other.kind)
        if len(kinds) == 1:
            return kinds.pop()
        for side, other in ((left, right), (right, left)):
            # A constant is converted to the kind of the other side: a tag's 1, a date, a number in quotes.
            if side.constant is not None and other.constant is None:
                self._as(side, other.kind)
                return other.kind
        raise FilterError(f"{left.kind} and {right.kind} cannot be compared, in {self._text!r}")

    def _like(self, node: Node) -> str:
        word = "ilike" if isinstance(node, exp.ILike) else "like"
        pattern = node.expression
        if not (isinstance(pattern, exp.Literal) and pattern.is_string):
            raise FilterError(f"{word} needs a text pattern in quotes, in {self._text!r}")
        subject = self._value(node.this)
        if subject.kind not in ("text", "any"):
            raise FilterError(
                f"{word} needs text, and {node.this.sql()} is a {subject.kind}, in {self._text!r}"
            )
        left, value = self._as(subject, "text"), str(pattern.this)
        if self._dialect == "sqlite":
            if word == "ilike":  # SQLite's like ignores the case of ASCII letters by default
                return f"{left} like {self.names.bind(value)}"
            return f"{left} glob {self.names.bind(glob(value))}"
        if word == "like":
            return f"{left} like {self.names.bind(value)} escape ''"
        return f"""lower({left} collate "C") like lower(cast({self.names.bind(value)} as text) collate "C") escape ''"""

    def _in(self, node: Node) -> str:
        field = node.args.get("field")
        if field is not None and isinstance(node.this, exp.Literal):  # 'baseline' in tags
            return self._key_in(node.this, field)
        if not node.expressions or field is not None or node.args.get("query") is not None:
            raise FilterError(f"in (…) needs a list of values, in {self._text!r}")
        return (
            "("
            + " or ".join(self._compare(node.this, "=", item) for item in node.expressions)
            + ")"
        )

    def _key_in(self, key: Node, field: Node) -> str:
        path = path_of(field)
        found = self.names.reference([*path, str(key.this)]) if len(path) == 1 else None
        if found is None or not key.is_string:
            raise FilterError(f"in needs tags, params, metrics or a list, in {self._text!r}")
        named = self.names.joined(found)
        if named.kind == "any" and named.name is not None:
            return f"{named.name.alias}.key is not null"
        return f"{named.sql} is not null"

    # Values

    def _value(self, node: Node) -> Expression:
        constant = self._constant(node)
        if constant is not None:
            value = constant.value
            kinds: dict[Any, str] = {bool: "bool", str: "text", datetime: "time", timedelta: "span"}
            kind = kinds.get(type(value))
            kind = "null" if value is None else kind or "number"
            return Expression("", kind, constant=constant)
        match node:
            case exp.Paren():
                return self._value(node.this)
            case exp.Neg():
                return Expression(f"-({self._number(node.this)})", "number")
            case exp.Column() | exp.Dot():
                return self._column(node)
            case exp.Anonymous() if str(node.this).lower() == "at":
                return self._at(node)
            case _ if type(node) in ARITHMETIC:
                return self._arithmetic(node)
            case _:
                raise self._not_part(node)

    def _constant(self, node: Node) -> Constant | None:  # noqa: PLR0912
        match node:
            case exp.Literal():
                return Constant(str(node.this) if node.is_string else self._literal(node))
            case exp.Boolean():
                return Constant(bool(node.this))
            case exp.Null():
                return Constant(None)
            case exp.CurrentTimestamp():
                return Constant(self._now)
            case exp.CurrentDate():
                return Constant(self._now.replace(hour=0, minute=0, second=0, microsecond=0))
            case exp.Interval():
                unit = node.args.get("unit")
                return Constant(
                    dates.duration(f"{node.this.name} {unit.name if unit else ''}".strip())
                )
            case exp.Paren():
                return self._constant(node.this)
            case exp.Neg():
                inner = self._constant(node.this)
                if inner is not None and type(inner.value) in (int, float):
                    return Constant(-inner.value)
                return None
            case exp.Anonymous() if str(node.this).lower() in _NOW and not node.expressions:
                return Constant(self._now)
            case exp.Anonymous() if str(node.this).lower() == "ago" and len(node.expressions) == 1:
                return Constant(self._now - dates.duration(node.expressions[0].name))
            case exp.Add() | exp.Sub():
                return self._moved(node)
            case exp.Column() if self._is_quoted_text(node):
                return Constant(node.name)
            case _:
                return None

    def _literal(self, node: Node) -> int | float:
        try:
            return parse_number(str(node.this))
        except ValueError:
            word = str(node.this)
            place = max(self._text.find(word), 0) + 1
            raise FilterError(f"{word!r} is not a number:{pointer(self._text, place)}") from None

    def _moved(self, node: Node) -> Constant | None:
        """Evaluate `now() - interval '2 days'`."""
        left, right = self._constant(node.this), self._constant(node.expression)
        if left is None or right is None:
            return None
        if isinstance(left.value, datetime) and isinstance(right.value, timedelta):
            sign = 1 if isinstance(node, exp.Add) else -1
            return Constant(left.value + sign * right.value)
        return None

    def _is_quoted_text(self, node: Node) -> bool:
        """Return whether a node is text in double quotes, as in MLflow's filters, and not the name of a column."""
        path = path_of(node)
        return (
            len(path) == 1
            and bool(node.this.args.get("quoted"))
            and self.names.column(path) is None
        )

    def _arithmetic(self, node: Node) -> Expression:
        operator = ARITHMETIC[type(node)]
        left, right = self._number(node.this), self._number(node.expression)
        right = f"nullif({right}, 0)" if operator == "/" else right
        sql = f"({left} {operator} {right})"
        # Infinity times zero is undefined: null in SQLite, NaN in PostgreSQL, which sorts above all numbers.
        return Expression(sql if self._dialect == "sqlite" else f"nullif({sql}, 'NaN')", "number")

    def _number(self, node: Node) -> str:
        value = self._value(node)
        if value.kind not in ("number", "any"):
            raise FilterError(f"{node.sql()} is {value.kind}, not a number, in {self._text!r}")
        return for_dialect(f"cast({self._as(value, 'number')} as {{real}})", self._dialect)

    def _at(self, node: Node) -> Expression:
        """Compile `at(metrics.a, metrics.b.max)`: the value of a at the step where b was greatest."""
        paths = [path_of(item) for item in node.expressions]
        metrics = [path for path in paths if self.names.word(path) == "metrics" and len(path) > 1]
        best = paths[1][-1] if len(metrics) == len(paths) == 2 else ""
        value, other = (
            (self.names.expression(path) for path in (paths[0], paths[1][:-1]))
            if best in ("min", "max", "last", "first")
            else (None, None)
        )
        if value is None or other is None or value.name is None or other.name is None:
            raise FilterError(
                f"at(…) takes a metric and another one's min or max: at(metrics.acc, "
                f"metrics.loss.min), in {self._text!r}"
            )
        sql = AT.format(series=value.name.alias, step=f"{other.name.alias}.{best}_step")
        return Expression(for_dialect(sql, self._dialect), "number")

    def _column(self, node: Node) -> Expression:
        path = path_of(node)
        found = self.names.expression(path)
        if found is not None:
            return found
        raise self.names.unknown(path, self._text) if path else self._not_part(node)

    # Conversions

    def _as(self, found: Expression, kind: str, upper: bool = False) -> str:
        """Return an expression's SQL, converted to a kind."""
        if found.constant is not None:
            value = self._bent(found.constant.value, kind, upper)
            # PostgreSQL would convert a bound 0.5 to the type of an integer column; the cast prevents this.
            fraction = isinstance(value, float) and self._dialect == "postgres"
            return (
                f"cast({self.names.bind(value)} as numeric)" if fraction else self.names.bind(value)
            )
        if found.kind == "any":
            assert found.name is not None
            return found.name.family.values["text" if kind == "time" else kind].format(
                found.name.alias
            )
        return found.sql

    def _bent(self, value: Any, kind: str, upper: bool) -> Any:
        match kind, value:
            case "number" | "bool", bool():
                return int(value)
            case "number", int() | float():
                return value
            case "number", str():
                try:
                    return parse_number(value)
                except ValueError:
                    raise FilterError(
                        f"{value!r} is text and cannot be compared with a number, in {self._text!r}"
                    ) from None
            case "text", bool():
                return "true" if value else "false"
            case "text", str():
                return _WORDS.get(value.upper(), value.upper()) if upper else value
            case "text", int() | float():
                return str(value)
            case "text", datetime():
                return value.isoformat()
            case "time", str():
                return self._time(dates.moment(value).timestamp())
            case "time", int() | float():
                return self._time(dates.from_number(value).timestamp())
            case "time", datetime():
                return self._time(value.timestamp())
            case _:
                raise FilterError(
                    f"{value!r} does not fit what it is compared with, in {self._text!r}"
                )

    def _collated(self, sql: str, kind: str) -> str:
        """Compare text by code points, whatever the database's locale is."""
        return f'{sql} collate "C"' if kind == "text" and self._dialect == "postgres" else sql

    def _sorted_by(self, node: Node) -> list[tuple[str, str]]:
        value = self._value(node)
        if value.constant is not None:
            raise FilterError(f"cannot sort by {node.sql()}, which is the same for all")
        if value.kind == "any":  # numbers first, then texts, each in their order
            text = self._collated(f"({self._as(value, 'text')})", "text")
            return [(self._as(value, "number"), "number"), (text, "text")]
        return [(self._collated(f"({value.sql})", value.kind), value.kind)]

    # Messages

    @contextmanager
    def _readable(self, text: str) -> Generator[None]:
        """Convert errors inside the block to FilterError."""
        self._text = text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
        try:
            yield
        except FilterError as error:
            if len(str(error)) <= 4 * _LONGEST_SHOWN:
                raise
            raise FilterError(f"{str(error)[: 2 * _LONGEST_SHOWN]}…") from error
        except RecursionError as error:
            raise FilterError(
                f"the filter has too many parentheses or operators inside each other:{pointer(self._text, 1)}"
            ) from error
        except (ValueError, ArithmeticError) as error:
            raise FilterError(f"the filter cannot be read: {error}, in {self._text!r}") from error

    def _parse(self, text: str, skip: int = 0) -> Node:
        try:
            return parse_one(text, dialect="sqlite")
        except SqlglotError as error:
            details = getattr(error, "errors", None)
            column = (details[0].get("col") or 1) - skip if details else 1
            raise FilterError(
                f"the filter cannot be read at character {column}:{pointer(self._text, column)}"
            ) from error

    def _not_part(self, node: Node) -> FilterError:
        return FilterError(
            f"{node.sql()!r} is not part of the filter language, in {self._text!r}; see "
            "docs/reference/filters.md"
        )
