"""Read chosen columns of many runs, without their records: ids by search, then one statement a family of columns."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from runbase.model import RUN_FIELDS
from runbase.processes import without_collection
from runbase.storage.sql import typed_values
from runbase.storage.sql.search import fields, find
from runbase.storage.sql.search.fetch import conditions
from runbase.storage.sql.search.names import Names, Reference, parts_of
from runbase.storage.sql.session import Session
from runbase.storage.sql.statements import for_dialect
from runbase.storage.types import Query, TablePage
from runbase.typing import JsonObject
from runbase.values import plain_text, stored_key

Columns = dict[str, list[Any]]
_decode = msgspec.json.Decoder(list[str | None]).decode


class _Column(Struct):
    """A column of the table: its name, where it comes from, and its value for each run."""

    name: str
    path: list[str]
    of: Reference | None
    values: list[Any]


def read(session: Session, query: Query, columns: Sequence[str] | None = None) -> TablePage:
    """Return columns of the runs that match a query.

    Args:
        session: a session inside a transaction.
        query: filter, sort keys and page.
        columns: names as in filters; a name alone may be that of a parameter or a metric. Default: all.

    Raises:
        FilterError: a filter, a sort key or a column is not valid.
    """
    own = session.own.of(session, "runs")
    names = find.names_in(session, fields.RUNS, own)
    wanted = None if columns is None else [_resolve(names, text) for text in columns]
    with without_collection():
        return _read(session, names, query, wanted)


def _read(
    session: Session, names: Names, query: Query, wanted: list[tuple[str, list[str]]] | None
) -> TablePage:
    own = names.own
    page = find.search(session, fields.RUNS, conditions(query, "run"), own)
    places = {run: place for place, run in enumerate(page.ids)}
    if wanted is None:
        return TablePage(page.ids, _everything(session, names, places), page.cursor)
    listed = [_Column(text, path, _family(names, path), []) for text, path in wanted]
    _fill_fields(session, names, places, [column for column in listed if column.of is None])
    for word, read_family in _FAMILIES.items():
        chosen = [column for column in listed if column.of is not None and column.of.word == word]
        if chosen:
            read_family(session, places, chosen)
    return TablePage(page.ids, {column.name: column.values for column in listed}, page.cursor)


def _resolve(names: Names, text: str) -> tuple[str, list[str]]:
    """Return a column's text and path; the name of a parameter or a metric may stand alone."""
    path = parts_of(text)
    if names.column(path) is not None or names.reference(path) is not None:
        return text, path
    found = names.alone(path)
    if found is None:
        raise names.unknown(path, text)
    return text, found


def _family(names: Names, path: list[str]) -> Reference | None:
    """Return the key of a family that is read by its keys; None for a column or a key of a document."""
    if names.column(path) is not None:
        return None
    found = names.reference(path)
    return found if found is not None and found.word in _FAMILIES else None


def _fill_fields(
    session: Session, names: Names, places: Mapping[str, int], columns: Sequence[_Column]
) -> None:
    """Read columns of runs and of their experiments, and keys of their documents."""
    found = [names.expression(column.path) for column in columns]
    expressions = [each for each in found if each is not None]
    for column in columns:
        column.values = [None] * len(places)
    if not expressions:
        return
    chosen = ", ".join(["r.id", *(each.sql for each in expressions)])
    also = fields.RUNS.also if re.search(r"\be\.", chosen) else ""
    text = f"select {chosen} {fields.RUNS.source} {also} where r.id = any(:ids)"
    values = {**names.values, "ids": session.as_list([*places])}
    rows = session.query(for_dialect(text, session.dialect), values)
    for place, (column, each) in enumerate(zip(columns, expressions, strict=True), 1):
        convert: Callable[[Any], Any] | None = None
        if each.kind == "time":
            convert = session.moment
        elif each.truth:
            convert = bool
        for row in rows:
            value = row[place]
            column.values[places[row[0]]] = (
                value if convert is None or value is None else convert(value)
            )


def _everything(session: Session, names: Names, places: Mapping[str, int]) -> Columns:
    """Read all columns that any of the runs has."""
    count, ids = len(places), session.as_list([*places])
    listed = [_Column(name, [name], None, []) for name in (*RUN_FIELDS, *names.own)]
    _fill_fields(session, names, places, listed)
    columns: Columns = {column.name: column.values for column in listed}
    params: Columns = {}
    _read_params(session, places, params, ids)
    metrics: Columns = {}
    for run, key, last, points in session.rows("table_last", runs=ids):
        if key not in metrics:
            metrics[key] = [None] * count
        metrics[key][places[run]] = math.nan if last is None and points else last
    tags: Columns = {}
    for run, key, value in session.rows("table_tags", runs=ids, all=1, keys=session.as_list([])):
        if key not in tags:
            tags[key] = [None] * count
        tags[key][places[run]] = True if value is None else value
    slurm: Columns = {}
    for run, document in session.rows("table_slurm", runs=ids):
        facts: JsonObject = session.document(document) or {}
        for key, value in facts.items():
            slurm.setdefault(key, [None] * count)[places[run]] = value
    for family, values in (
        ("params", params),
        ("metrics", metrics),
        ("tags", tags),
        ("slurm", slurm),
    ):
        columns |= {f"{family}.{key}": values[key] for key in sorted(values)}
    return columns


def _read_params(
    session: Session,
    places: Mapping[str, int],
    columns: Columns,
    ids: Any,
    keys: Sequence[str] | None = None,
) -> None:
    count = len(places)
    rows = session.rows(
        "table_params", runs=ids, all=int(keys is None), keys=session.as_list([*(keys or ())])
    )
    layouts: dict[Any, list[tuple[list[Any], Callable[[str], Any]]]] = {}
    for run, names, types, texts in rows:
        layout = layouts.get(mark := (_hashable(names), _hashable(types)))
        if layout is None:  # most runs have the same keys with the same types
            layout = layouts[mark] = [
                (columns.setdefault(name, [None] * count), typed_values.FROM_TEXT[kind])
                for name, kind in zip(_strings(names), _strings(types), strict=True)
            ]
        place = places[run]
        for (column, convert), text in zip(layout, _strings(texts), strict=True):
            if text is not None:
                column[place] = convert(text)


def _strings(value: Any) -> list[Any]:
    """Return an array of texts, which is JSON if the dialect has no arrays."""
    return _decode(value) if isinstance(value, str) else value


def _hashable(value: Any) -> Any:
    return value if isinstance(value, str) else tuple(value)


def _params(session: Session, places: Mapping[str, int], columns: Sequence[_Column]) -> None:
    values: Columns = {}
    keys = [stored_key(plain_text(_key(column))) for column in columns]
    _read_params(session, places, values, session.as_list([*places]), keys)
    for column in columns:
        column.values = values.get(plain_text(_key(column))) or [None] * len(places)


def _metrics(session: Session, places: Mapping[str, int], columns: Sequence[_Column]) -> None:
    by_key = _by_key(columns, len(places))
    keys = session.as_list([stored_key(key) for key in by_key])
    for row in session.rows("table_series", runs=session.as_list([*places]), keys=keys):
        for column in by_key.get(row["key"], ()):
            figure = _figure(column) or "last"
            value = row[figure]
            if value is None and figure in ("first", "last") and row["count"]:
                value = math.nan
            column.values[places[row["run_id"]]] = value


def _tags(session: Session, places: Mapping[str, int], columns: Sequence[_Column]) -> None:
    by_key = _by_key(columns, len(places))
    keys = session.as_list([stored_key(key) for key in by_key])
    rows = session.rows("table_tags", runs=session.as_list([*places]), all=0, keys=keys)
    for run, key, value in rows:
        for column in by_key.get(key, ()):
            column.values[places[run]] = True if value is None else value


def _attributes(session: Session, places: Mapping[str, int], columns: Sequence[_Column]) -> None:
    by_key = _by_key(columns, len(places))
    keys = session.as_list([*by_key])
    rows = session.rows("table_attributes", runs=session.as_list([*places]), keys=keys)
    for run, scope, key, kind, text in rows:
        for column in by_key.get(key, ()):
            if column.of is not None and column.of.scope == scope and text is not None:
                column.values[places[run]] = typed_values.FROM_TEXT[kind](text)


def _artifacts(session: Session, places: Mapping[str, int], columns: Sequence[_Column]) -> None:
    by_key = _by_key(columns, len(places))
    paths = session.as_list([*by_key])
    for row in session.rows("table_artifacts", runs=session.as_list([*places]), paths=paths):
        for column in by_key.get(row["path"], ()):
            figure = _figure(column) or "path"
            value = row[figure]
            moment = figure == "created_at" and value is not None
            column.values[places[row["run_id"]]] = session.moment(value) if moment else value


_FAMILIES = {
    "params": _params,
    "metrics": _metrics,
    "tags": _tags,
    "attributes": _attributes,
    "artifacts": _artifacts,
}
"""Families whose keys are rows of a table of their own."""


def _by_key(columns: Sequence[_Column], count: int) -> dict[str, list[_Column]]:
    """Return columns by key, each with a value for `count` runs."""
    by_key: dict[str, list[_Column]] = {}
    for column in columns:
        column.values = [None] * count
        by_key.setdefault(plain_text(_key(column)), []).append(column)
    return by_key


def _key(column: _Column) -> str:
    return "" if column.of is None else column.of.key


def _figure(column: _Column) -> str | None:
    return None if column.of is None else column.of.figure
