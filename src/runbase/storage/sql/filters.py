"""The filter language, compiled to a WHERE clause over `runs r join experiments e`.

SQL expressions over `params.k`, `metrics.k` (last; `.min .max .mean .first .count`), `tags.k` and the
columns of runs and experiments. Parsed by sqlglot, so its grammar is SQL's; compiled from an
allow-list of node types; every value is bound, never pasted.
"""

from collections.abc import Callable
from typing import Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from runbase.errors import FilterError, suggestion

RUN_COLUMNS = [
    "id",
    "number",
    "name",
    "status",
    "created_at",
    "started_at",
    "ended_at",
    "updated_at",
    "seen_at",
    "host",
    "pid",
    "folder",
    "notes",
    "exit_code",
    "checkpoint",
]
_ALIASES = {
    "run_id": "r.id",
    "user": "r.username",
    "parent": "r.parent_id",
    "experiment": "e.name",
    "experiment_id": "e.id",
    "experiment.name": "e.name",
    "experiment.id": "e.id",
    "experiment.base_model": "e.base_model",
    "experiment.method": "e.method",
    "experiment.description": "e.description",
    "seconds": (
        "((julianday(coalesce(r.ended_at, r.seen_at, r.updated_at)) - julianday(r.started_at))"
        " * 86400)"
    ),
}
_FIGURES = {
    "last": "s.last",
    "min": "s.min",
    "max": "s.max",
    "first": "s.first",
    "count": "s.count",
    "mean": "s.sum / nullif(s.count - s.nans, 0)",
    "last_step": "s.last_step",
    "min_step": "s.min_step",
    "max_step": "s.max_step",
}
_FAMILIES = {
    "params": "params",
    "param": "params",
    "parameters": "params",
    "metrics": "metrics",
    "metric": "metrics",
    "tags": "tags",
    "tag": "tags",
    "run": "run",
    "runs": "run",
    "attributes": "run",
    "experiment": "experiment",
}
Node = Any  # sqlglot does not export the base class of its nodes under one name

_BINARY: dict[type, str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.And: "and",
    exp.Or: "or",
    exp.Add: "+",
    exp.Sub: "-",
    exp.Mul: "*",
    exp.Div: "/",
}


class Compiler:
    """Compiles one query's filter and sort keys; collects the values to bind in `values`."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def where(self, text: str) -> str:
        """A condition; FilterError shows where the text goes wrong."""
        return self._boolean(self._parse(text), text)

    def order(self, text: str) -> str:
        """Sort keys; what is missing comes last in both directions."""
        tree = self._parse(f"select 1 order by {text}", text)
        order = tree.args.get("order")
        if order is None:
            raise FilterError(f"cannot sort by {text!r}")
        keys: list[str] = []
        for item in order.expressions:
            direction = "desc" if item.args.get("desc") else "asc"
            keys += [
                f"{expression} is null, {expression} {direction}"
                for expression in self._sort_expressions(item.this, text)
            ]
        return ", ".join(keys)

    def _parse(self, text: str, shown: str | None = None) -> Node:
        try:
            return parse_one(text, dialect="sqlite")
        except SqlglotError as error:
            details = getattr(error, "errors", None)
            column = details[0].get("col") if details else None
            source = shown or text
            place = f" at character {column}" if column and shown is None else ""
            pointer = f"\n  {source}"
            if place:
                pointer += f"\n  {' ' * max(int(column or 1) - 1, 0)}^"
            raise FilterError(f"the filter cannot be read{place}:{pointer}") from error

    def _boolean(self, node: Node, text: str) -> str:
        return self._compile(node, text)

    def _compile(self, node: Node, text: str, wants: str = "") -> str:  # noqa: PLR0912
        match node:
            case exp.Paren():
                return f"({self._compile(node.this, text, wants)})"
            case exp.Not():
                return f"not ({self._compile(node.this, text)})"
            case exp.Neg():
                return f"-({self._compile(node.this, text, wants)})"
            case exp.Literal():
                return self._bind(node.this if node.is_string else _number(node.this))
            case exp.Boolean():
                return "1" if node.this else "0"
            case exp.Null():
                return "null"
            case exp.Column() | exp.Dot():
                return self._column(node, text, wants)
            case exp.Is():
                return f"{self._compile(node.this, text)} is {self._compile(node.expression, text)}"
            case exp.Like():
                return self._like(node, text, "like")
            case exp.ILike():
                return self._like(node, text, "ilike")
            case exp.In():
                return self._in(node, text)
            case exp.Between():
                wants = _kind(node.args["low"])
                parts = [
                    self._compile(n, text, wants)
                    for n in (node.this, node.args["low"], node.args["high"])
                ]
                return f"{parts[0]} between {parts[1]} and {parts[2]}"
            case _ if type(node) in _BINARY:
                return self._binary(node, text, wants)
            case _:
                raise FilterError(
                    f"{node.sql()!r} is not part of the filter language, in {text!r}; see "
                    "docs/reference/filters.md"
                )

    def _binary(self, node: Any, text: str, wants: str) -> str:
        left, right = node.this, node.expression
        operator = _BINARY[type(node)]
        if operator in ("and", "or"):
            return f"({self._compile(left, text)} {operator} {self._compile(right, text)})"
        wants_left = _kind(right) or wants or ("number" if operator in "+-*/" else "")
        wants_right = _kind(left) or wants or ("number" if operator in "+-*/" else "")
        return (
            f"({self._compile(left, text, wants_left)} {operator} "
            f"{self._compile(right, text, wants_right)})"
        )

    def _like(self, node: Any, text: str, operator: str) -> str:
        left = self._compile(node.this, text, "text")
        pattern = node.expression
        if not (isinstance(pattern, exp.Literal) and pattern.is_string):
            raise FilterError(f"{operator} needs a text pattern in quotes, in {text!r}")
        value = str(pattern.this)
        if operator == "ilike":
            return f"{left} like {self._bind(value)}"  # SQLite's like folds case by itself
        return f"{left} glob {self._bind(_glob(value))}"

    def _in(self, node: exp.In, text: str) -> str:
        items = node.expressions
        if not items:
            raise FilterError(f"in (…) needs a list of values, in {text!r}")
        wants = _kind(items[0])
        left = self._compile(node.this, text, wants)
        return f"{left} in ({', '.join(self._compile(item, text, wants) for item in items)})"

    def _sort_expressions(self, node: Node, text: str) -> list[str]:
        path = _path(node)
        if path and _FAMILIES.get(path[0]) == "params" and len(path) > 1:
            return [self._compile(node, text, kind) for kind in ("number", "text")]
        return [self._compile(node, text)]

    def _column(self, node: Node, text: str, wants: str) -> str:
        path = _path(node)
        if not path:
            raise FilterError(f"{node.sql()!r} is no column, in {text!r}")
        family = _FAMILIES.get(path[0])
        if len(path) == 1 or family in ("run", "experiment"):
            return _own_column(path, text)
        if family is None:
            families = ["params", "metrics", "tags", "experiment"]
            raise FilterError(
                f"{path[0]!r} is unknown in {text!r}{suggestion(path[0], families)}; quote keys "
                f'with dots or slashes: params."{".".join(path)}"'
            )
        if family == "metrics":
            figure = path[-1] if len(path) > 2 and path[-1] in _FIGURES else "last"
            key = ".".join(path[1:-1] if len(path) > 2 and path[-1] in _FIGURES else path[1:])
            return (
                f"(select {_FIGURES[figure]} from series s where s.run_id = r.id and "
                f"s.kind = 'metric' and s.key = {self._bind(key)})"
            )
        key = self._bind(".".join(path[1:]))
        if family == "tags":
            return (
                "(select coalesce(t.value, '') from run_tags t where t.run_id = r.id and "
                f"t.key = {key})"
            )
        value = {"number": "p.number", "text": "p.text"}.get(wants, "coalesce(p.text, p.number)")
        return f"(select {value} from params p where p.run_id = r.id and p.key = {key})"

    def _bind(self, value: Any) -> str:
        name = f"f{len(self.values)}"
        self.values[name] = value
        return f":{name}"


def _own_column(path: list[str], text: str) -> str:
    name = ".".join(path if path[0] == "experiment" else path[-1:])
    if name in _ALIASES:
        return _ALIASES[name]
    if name in RUN_COLUMNS:
        return f"r.{name}"
    known = [*RUN_COLUMNS, *_ALIASES, "params.…", "metrics.…", "tags.…"]
    raise FilterError(f"there is no column {name!r} (in {text!r}){suggestion(name, known)}")


def _path(node: Node) -> list[str]:
    """The parts of a dotted name, outermost first: metrics."val/acc".min → three."""
    match node:
        case exp.Column():
            parts = [node.args.get(part) for part in ("catalog", "db", "table", "this")]
            return [part.name for part in parts if part is not None]
        case exp.Dot():
            return [*_path(node.this), *_path(node.expression)]
        case exp.Identifier():
            return [node.name]
        case _:
            return []


def _kind(node: Any) -> str:
    """Whether the other side of a comparison makes this one a number or text."""
    match node:
        case exp.Literal():
            return "text" if node.is_string else "number"
        case exp.Neg() | exp.Paren():
            return _kind(node.this)
        case exp.Boolean():
            return "number"
        case exp.Column() | exp.Dot():
            path = _path(node)
            return "number" if path and _FAMILIES.get(path[0]) == "metrics" else ""
        case _ if type(node) in _BINARY and _BINARY[type(node)] in "+-*/":
            return "number"
        case _:
            return ""


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _glob(pattern: str) -> str:
    """A LIKE pattern as GLOB, which minds case as SQL's LIKE does and SQLite's does not."""
    special: Callable[[str], str] = lambda c: f"[{c}]" if c in "*?[" else c  # noqa: E731
    return "".join({"%": "*", "_": "?"}.get(c) or special(c) for c in pattern)
