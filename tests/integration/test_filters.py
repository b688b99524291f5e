"""The filter language means the same to SQLite, to PostgreSQL and to plain Python."""

import math
import operator
import random
import re
from collections.abc import Callable, Iterator
from functools import cmp_to_key
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runbase
from runbase.events import Ended, Params, Started, Tags
from runbase.status import Status
from runbase.testing.contract import T0, Journal, points

KEYS = ["lr", "opt", "a/b", "c.d e", 'q"t', "flag", "none"]
METRICS = ["loss", "val/acc", "we.ird 'x"]
TAGS = ["t", "st age", "x%y"]
WORDS = ["adam", "Adam", "sgd", "0.5", "", "x_y", "x%y", "ünï", "a*b", "[z]", "it's", "Zed"]
FIGURES = ["last", "min", "max", "first", "mean", "count", "nans", "last_step", "min_step"]
SIZE = 40


def records() -> list[dict[str, Any]]:
    """Runs as plain data, the same in every store."""
    rnd = random.Random(7)
    found = []
    for number in range(SIZE):
        params: dict[str, Any] = {}
        for key in KEYS:
            kind = rnd.randrange(6)
            if kind == 0:
                continue
            params[key] = [
                None,
                rnd.choice([0, 1, -3, 2**40]),
                rnd.choice([0.5, -2.25, 1e-3, 0.5]),
                rnd.choice(WORDS),
                rnd.choice([True, False]),
            ][kind - 1]
        metrics = {
            key: [
                rnd.choice([0.5, 1.5, -2.0, 3.0, math.nan, math.inf])
                for _ in range(rnd.randrange(1, 5))
            ]
            for key in METRICS
            if rnd.random() < 0.7
        }
        tags = {key: rnd.choice([None, *WORDS]) for key in TAGS if rnd.random() < 0.6}
        found.append(
            {
                "id": f"{number:032x}",
                "number": number + 1,
                "name": f"{rnd.choice(WORDS)}-{number % 7}",
                "status": rnd.choice([Status.COMPLETED, Status.FAILED]),
                "seconds": float(rnd.randrange(1, 9)),
                "params": params,
                "metrics": metrics,
                "tags": tags,
            }
        )
    return found


RECORDS = records()


def fill(store: runbase.Store) -> runbase.Store:
    for record in RECORDS:
        journal = Journal(
            store.storage, record["id"], name=record["name"], time=T0 + record["number"]
        )
        events: list[Any] = [Started(time=T0)]
        if record["params"]:
            events.append(Params(time=T0, values=record["params"]))
        if record["tags"]:
            events.append(Tags(time=T0, set=record["tags"]))
        events += [points(values, key=key) for key, values in record["metrics"].items()]
        journal.write(*events, Ended(time=T0 + record["seconds"], status=record["status"]))
    return store


@pytest.fixture(scope="module")
def stores(postgres_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    import psycopg

    folder: Path = tmp_path_factory.mktemp("filters")
    separator = "&" if "?" in postgres_server else "?"
    urls = [str(folder / "f.db"), f"{postgres_server}{separator}schema=filters"]
    opened = [fill(runbase.open(url)) for url in urls]
    yield opened
    for store in opened:
        store.close()
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("drop schema filters cascade")


# What each name is worth in Python: a number, a text, or None. Parameters are both.

Node = tuple[str, Callable[[dict[str, Any]], Any]]


def quoted(key: str) -> str:
    return '"' + key.replace('"', '""') + '"'


def text_literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def figure(record: dict[str, Any], key: str, name: str) -> float | None:
    values = record["metrics"].get(key)
    if values is None:
        return None
    numbers = [v for v in values if not math.isnan(v)]
    worth = {
        "last": lambda: None if math.isnan(values[-1]) else values[-1],
        "first": lambda: None if math.isnan(values[0]) else values[0],
        "min": lambda: min(numbers, default=None),
        "max": lambda: max(numbers, default=None),
        "mean": lambda: sum(numbers) / len(numbers) if numbers else None,
        "count": lambda: len(values),
        "nans": lambda: len(values) - len(numbers),
        "last_step": lambda: len(values) - 1,
        "min_step": lambda: values.index(min(numbers)) if numbers else None,
    }
    return worth[name]()


def as_number(value: Any) -> float | None:
    return value if isinstance(value, bool | int | float) else None


def as_text(value: Any) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None or isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) else repr(value)


def metric_node(key: str, name: str) -> Node:
    suffix = "" if name == "last" else f".{name}"
    return f"metrics.{quoted(key)}{suffix}", lambda r: figure(r, key, name)


def param_node(key: str, worth: Callable[[Any], Any]) -> Node:
    return f"params.{quoted(key)}", lambda r: worth(r["params"].get(key))


def tag_node(key: str) -> Node:
    return f"tags.{quoted(key)}", lambda r: (r["tags"][key] or "") if key in r["tags"] else None


def own(name: str) -> Node:
    return name, lambda r: r[name].value if name == "status" else r[name]


NUMBERS = st.one_of(
    st.builds(metric_node, st.sampled_from(METRICS), st.sampled_from(FIGURES)),
    st.builds(param_node, st.sampled_from(KEYS), st.just(as_number)),
    st.sampled_from([own("number"), own("seconds")]),
)
TEXTS = st.one_of(
    st.builds(param_node, st.sampled_from(KEYS), st.just(as_text)),
    st.builds(tag_node, st.sampled_from(TAGS)),
    st.sampled_from([own("name")]),
)
NUMBER = st.sampled_from([0, 1, 2, -2, 0.5, 1.5, 3, 1e-3, 10])
COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def known(*values: Any) -> bool:
    return all(value is not None for value in values)


def comparison(node: Node, sign: str, value: Any) -> Node:
    text, worth = node
    shown = text_literal(value) if isinstance(value, str) else repr(value)

    def evaluate(record: dict[str, Any]) -> bool | None:
        left = worth(record)
        return COMPARE[sign](left, value) if known(left) else None

    return f"{text} {sign} {shown}", evaluate


def arithmetic(node: Node, sign: str, constant: float, compared: str, value: float) -> Node:
    text, worth = node

    def evaluate(record: dict[str, Any]) -> bool | None:
        left = worth(record)
        if left is None or (sign == "/" and constant == 0):
            return None
        made = {"+": left + constant, "-": left - constant, "*": left * constant}.get(sign)
        made = left / constant if sign == "/" else made
        return None if math.isnan(made) else COMPARE[compared](made, value)

    return f"({text} {sign} {constant!r}) {compared} {value!r}", evaluate


def between(node: Node, low: float, high: float, negated: bool) -> Node:
    text, worth = node

    def evaluate(record: dict[str, Any]) -> bool | None:
        value = worth(record)
        return None if value is None else (low <= value <= high) is not negated

    return f"{text} {'not ' if negated else ''}between {low!r} and {high!r}", evaluate


def membership(node: Node, values: list[str], negated: bool) -> Node:
    text, worth = node

    def evaluate(record: dict[str, Any]) -> bool | None:
        value = worth(record)
        return None if value is None else (value in values) is not negated

    return (
        f"{text} {'not ' if negated else ''}in ({', '.join(map(text_literal, values))})",
        evaluate,
    )


def likeness(node: Node, word: str, pattern: str, negated: bool) -> Node:
    text, worth = node
    found = "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern)
    flags = re.DOTALL | (re.IGNORECASE | re.ASCII if word == "ilike" else 0)

    def evaluate(record: dict[str, Any]) -> bool | None:
        value = worth(record)
        return None if value is None else bool(re.fullmatch(found, value, flags)) is not negated

    return f"{text} {'not ' if negated else ''}{word} {text_literal(pattern)}", evaluate


def missing(node: Node, negated: bool) -> Node:
    text, worth = node
    return f"{text} is {'not ' if negated else ''}null", lambda r: (worth(r) is None) is not negated


def has_key(key: str, family: str) -> Node:
    return f"{text_literal(key)} in {family}", lambda r: key in r[family]


def negation(node: Node) -> Node:
    def evaluate(record: dict[str, Any]) -> bool | None:
        value = node[1](record)
        return None if value is None else not value

    return f"not ({node[0]})", evaluate


def junction(left: Node, word: str, right: Node) -> Node:
    def evaluate(record: dict[str, Any]) -> bool | None:
        values = left[1](record), right[1](record)
        decides = word == "or"
        if decides in values:
            return decides
        return None if None in values else not decides

    return f"({left[0]}) {word} ({right[0]})", evaluate


ORDERED = st.one_of(
    st.builds(metric_node, st.sampled_from(METRICS), st.sampled_from(FIGURES)),
    st.builds(tag_node, st.sampled_from(TAGS)),
    st.sampled_from([own("number"), own("seconds"), own("name"), own("status")]),
)
SIGNS = st.sampled_from(sorted(COMPARE))
PATTERNS = st.sampled_from(
    ["a%", "%d%", "_dam", "A%", "x_y%", "x%y", "%'%", "*", "[z]%", "", "%Ü%"]
)
LEAVES = st.one_of(
    st.builds(comparison, NUMBERS, SIGNS, NUMBER),
    st.builds(comparison, TEXTS, SIGNS, st.sampled_from(WORDS)),
    st.builds(arithmetic, NUMBERS, st.sampled_from("+-*/"), st.sampled_from([0, 2, 0.5]), SIGNS, NUMBER),
    st.builds(between, NUMBERS, NUMBER, NUMBER, st.booleans()),
    st.builds(membership, TEXTS, st.lists(st.sampled_from(WORDS), min_size=1, max_size=3), st.booleans()),
    st.builds(likeness, TEXTS, st.sampled_from(["like", "ilike"]), PATTERNS, st.booleans()),
    st.builds(missing, st.one_of(NUMBERS.filter(lambda n: not n[0].startswith("params")), TEXTS), st.booleans()),
    st.builds(has_key, st.sampled_from(KEYS), st.just("params")),
    st.builds(has_key, st.sampled_from(TAGS), st.just("tags")),

)  # fmt: skip
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(negation, inner),
        st.builds(junction, inner, st.sampled_from(["and", "or"]), inner),
    ),
    max_leaves=5,
)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(condition=FILTERS)
def test_filters_mean_the_same_everywhere(stores: list[Any], condition: Node) -> None:
    text, evaluate = condition
    expected = sorted(record["id"] for record in RECORDS if evaluate(record) is True)
    for store in stores:
        assert sorted(run.id for run in store.runs(text)) == expected, store.url
        assert store.count(text) == len(expected)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    keys=st.lists(st.tuples(ORDERED, st.booleans()), min_size=1, max_size=3),
    size=st.integers(1, 17),
)
def test_orders_and_pages_are_the_same_everywhere(
    stores: list[Any], keys: list[tuple[Node, bool]], size: int
) -> None:
    order = ", ".join(f"{text} {'desc' if down else 'asc'}" for (text, _), down in keys)

    def compare(one: dict[str, Any], two: dict[str, Any]) -> int:
        for (_, worth), down in keys:
            left, right = worth(one), worth(two)
            if left is None or right is None:
                if (left is None) != (right is None):
                    return 1 if left is None else -1
            elif left != right:
                return (-1 if left < right else 1) * (-1 if down else 1)
        return 0

    newest = sorted(RECORDS, key=lambda r: -r["number"])
    expected = [record["id"] for record in sorted(newest, key=cmp_to_key(compare))]
    for store in stores:
        page, seen = store.runs(order_by=order, limit=size), []
        while True:
            seen += [run.id for run in page]
            if page.cursor is None:
                break
            page = store.runs(order_by=order, limit=size, after=page.cursor)
        assert seen == expected, store.url
