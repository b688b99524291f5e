"""Search a subject: compose filter, sort keys, pages and cursors into one query for ids.

Only ids and sort keys are read here, so that the database does not sort whole rows.
"""

import base64
import math
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from runbase.errors import UsageError, suggestion
from runbase.storage.sql.search.fields import Column, Subject
from runbase.storage.sql.search.names import Names, parts_of
from runbase.storage.sql.session import Session
from runbase.storage.sql.statements import for_dialect
from runbase.values import plain_text, stored_key

ALL = 2**62


class Query(Struct, frozen=True, kw_only=True):
    """What to search for. `conditions` are SQL written by runbase itself, with their `values`."""

    where: str | None = None
    order_by: str | None = None
    limit: int | None = None
    offset: int = 0
    after: str | None = None
    """The cursor of the previous page."""
    conditions: tuple[str, ...] = ()
    values: Mapping[str, Any] = {}


class Found(Struct, frozen=True):
    """The ids of a page, and the cursor of the next page; None on the last page."""

    ids: list[str]
    cursor: str | None


def search(
    session: Session, subject: Subject, query: Query, own: Mapping[str, Column] | None = None
) -> Found:
    """Return the ids of rows that match a query, in its order; newest first without one."""
    _check(query)
    compiled = _Composed(session, subject, query, own or {})
    limit = ALL if query.limit is None else query.limit
    values = {**compiled.values, "page": min(limit, ALL - 1) + 1, "skip": query.offset}
    rows = session.query(compiled.text, values)
    more = len(rows) > limit
    rows = rows[:limit]
    return Found(
        [row[0] for row in rows], compiled.cursor(session, rows[-1]) if more and rows else None
    )


def count(
    session: Session, subject: Subject, query: Query, own: Mapping[str, Column] | None = None
) -> int:
    """Count the rows that match a query's filter."""
    compiled = _Composed(session, subject, query, own or {}, counting=True)
    return session.query(compiled.text, compiled.values)[0][0]


def unknown_keys(
    session: Session,
    subject: Subject,
    query: Query,
    own: Mapping[str, Column] | None = None,
    columns: Sequence[str] = (),
) -> list[str]:
    """Return a message for each parameter, metric and tag of a query, or of names of columns, that no run has."""
    names = _Composed(session, subject, query, own or {}).names
    keys = names.keys() if names is not None else []
    names = names or names_in(session, subject, own or {})
    paths = [parts_of(column) for column in columns]
    found = [names.reference(path) for path in paths if names.column(path) is None]
    keys += [(each.word, each.key) for each in found if each is not None and not each.scope]
    messages: list[str] = []
    for word, key in keys:
        if subject.families[word].has and not has(session, subject, word, key):
            hint = suggestion(key, known(session, subject, word))
            what = {"params": "parameter"}.get(word, word.removesuffix("s"))
            messages.append(f"no run has a {what} {key!r}{hint}")
    return messages


class _Composed:
    """The SQL of a query, and the values to bind."""

    def __init__(
        self,
        session: Session,
        subject: Subject,
        query: Query,
        own: Mapping[str, Column],
        counting: bool = False,
    ) -> None:
        self.keys: list[Any] = []
        self.names: Names | None = None
        self.values: dict[str, Any] = dict(query.values)
        conditions, joins = list(query.conditions), list[str]()
        if query.where or query.order_by:
            from runbase.storage.sql.search.compiler import (
                Compiler,  # importing the SQL parser takes half of the start-up time
            )

            names = self.names = names_in(session, subject, own)
            compiler = Compiler(names, session.dialect, session.time)
            if query.where and query.where.strip():
                conditions.append(f"({compiler.where(query.where)})")
            if query.order_by and not counting:
                self.keys = compiler.order(query.order_by)
            joins, self.values = names.joins, {**names.values, **self.values}
        if query.after is not None and not counting:
            conditions.append(self._after(session, subject, query.after))
        columns = [subject.id, subject.created, *(key.sql for key in self.keys)]
        # A tag and the like is joined by a key that is unique, so that no join repeats a row.
        where = f"where {' and '.join(conditions)}" if conditions else ""
        order = "" if counting else self._order(subject)
        also = [subject.also] if re.search(r"\be\.", f"{joins} {where} {order}") else []
        source = "\n".join([subject.source, *also, *joins, where])
        if counting:
            text = f"select count(*) {source}"
        else:
            text = f"select {', '.join(columns)} {source} order by {order} limit :page offset :skip"
        self.text = for_dialect(text, session.dialect)

    def cursor(self, session: Session, row: Any) -> str:
        """Return the position of the end of a page as text."""
        raw = tuple(row)
        values = [_portable(session, key.kind, raw[2 + n]) for n, key in enumerate(self.keys)]
        created = session.moment(raw[1])
        assert created is not None
        content = msgspec.json.encode([raw[0], created.timestamp(), values])
        return base64.urlsafe_b64encode(content).decode().rstrip("=")

    def _order(self, subject: Subject) -> str:
        own = [f"{k.sql} {'desc' if k.descending else 'asc'} nulls last" for k in self.keys]
        return ", ".join([*own, f"{subject.created} desc", f"{subject.id} desc"])

    def _after(self, session: Session, subject: Subject, cursor: str) -> str:
        """Compile the condition for rows after a cursor: the first sort key that differs is less."""
        try:
            content = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            last, created, values = msgspec.json.decode(content, type=tuple[str, float, list[Any]])
            pairs = list(zip(self.keys, values, strict=True))
        except (ValueError, msgspec.MsgspecError) as error:
            raise UsageError(
                "this cursor is not valid for this query; use the cursor of its previous page"
            ) from error
        before, behind = list[str](), list[str]()
        for place, (key, value) in enumerate(pairs):
            name = f"after{place}"
            if value is not None:
                self.values[name] = _native(session, key.kind, value)
                compared = "<" if key.descending else ">"
                step = f"({key.sql} {compared} :{name} or {key.sql} is null)"
                behind.append(" and ".join([*before, step]))
                before.append(f"{key.sql} = :{name}")
            else:
                before.append(f"{key.sql} is null")
        self.values |= {"after_created": session.time(created), "after_id": last}
        rest = (
            f"({subject.created} < :after_created or "
            f"({subject.created} = :after_created and {subject.id} < :after_id))"
        )
        behind.append(" and ".join([*before, rest]))
        return "(" + " or ".join(f"({part})" for part in behind) + ")"


def names_in(session: Session, subject: Subject, own: Mapping[str, Column]) -> Names:
    """Return the names that a query may use; existing keys are looked up for messages only."""
    return Names(
        subject,
        session.dialect,
        own,
        lambda family: known(session, subject, family),
        lambda family, key: has(session, subject, family, key),
    )


def has(session: Session, subject: Subject, family: str, key: str) -> bool:
    """Return whether a key of a family exists."""
    query = subject.families[family].has
    return bool(query and session.query(query, {"key": stored_key(plain_text(key))}))


def known(session: Session, subject: Subject, family: str) -> list[str]:
    """Return existing keys of a family, for messages."""
    query = subject.families[family].known
    return [row[0] for row in session.query(query, {})] if query else []


def _check(query: Query) -> None:
    if query.limit is not None and query.limit < 0:
        raise UsageError(f"limit is {query.limit}; it must be 0 or more")
    if query.offset < 0:
        raise UsageError(f"offset is {query.offset}; it must be 0 or more")


def _portable(session: Session, kind: str, value: Any) -> Any:
    if kind == "time" and value is not None:
        moment: datetime | None = session.moment(value)
        return None if moment is None else moment.timestamp()
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def _native(session: Session, kind: str, value: Any) -> Any:
    if kind == "time":
        return session.time(value)
    return float(value) if kind == "number" and isinstance(value, str) else value
