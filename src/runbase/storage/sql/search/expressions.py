"""The compiler's representation of parts of an expression, and helpers for nodes, patterns and messages."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from sqlglot import exp

Node = Any  # sqlglot does not export the base class of its nodes under one name

COMPARISONS: dict[type, str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}
ARITHMETIC: dict[type, str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}


class SortKey(Struct, frozen=True):
    """One sort key; `kind` determines how its value is bound in a cursor."""

    sql: str
    kind: str
    descending: bool


AT = """
-- only: sqlite
(select v.value from blocks b join groups g on g.id = b.group_id, json_each(b.numbers) v
 where b.series_id = {series}.id and g.lowest_step <= {step} and g.highest_step >= {step}
   and case when g.steps is null then g.first_step + v.key * g.stride else g.steps ->> v.key end = {step}
 order by g.first_time + (g.times ->> v.key) / 1e6 desc, g.seq desc, v.key desc limit 1)
-- only: postgres
(select nullif(v.value, 'NaN') from blocks b join groups g on g.id = b.group_id,
   unnest(b.numbers, g.times, g.steps) with ordinality as v (value, offset_us, step, nth)
 where b.series_id = {series}.id and g.lowest_step <= {step} and g.highest_step >= {step}
   and case when g.steps is null then g.first_step + (v.nth - 1) * g.stride else v.step end = {step}
 order by g.first_time + v.offset_us / 1e6::double precision desc, g.seq desc, v.nth desc limit 1)
-- only: end
"""


def negated(condition: str, node: Node) -> str:
    return f"not ({condition})" if node.args.get("negate") else condition


def path_of(node: Node) -> list[str]:
    """Return the parts of a dotted name, outermost first: metrics."val/acc".min → three parts."""
    match node:
        case exp.Column():
            parts = [node.args.get(part) for part in ("catalog", "db", "table", "this")]
            return [part.name for part in parts if part is not None]
        case exp.Dot():
            return [*path_of(node.this), *path_of(node.expression)]
        case exp.Identifier():
            return [node.name]
        case _:
            return []


def parse_number(text: str) -> int | float:
    try:
        whole = int(text)
    except ValueError:
        number = float(text)
        if number != number:
            raise ValueError("a comparison with NaN is never true") from None
        return number
    return whole if abs(whole) < 2**63 else float(text)


def glob(pattern: str) -> str:
    """Convert a LIKE pattern to GLOB, which is case-sensitive as standard LIKE is; SQLite's LIKE is not."""
    special: Callable[[str], str] = lambda c: f"[{c}]" if c in "*?[" else c  # noqa: E731
    return "".join({"%": "*", "_": "?"}.get(c) or special(c) for c in pattern)
