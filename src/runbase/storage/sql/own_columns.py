"""Columns that users added to runbase's tables, usable by name in records, filters and edits."""

import time
from collections.abc import Mapping
from functools import cache
from typing import Any

from runbase.storage.sql.comments import described
from runbase.storage.sql.migrate import migrations
from runbase.storage.sql.search.fields import Column
from runbase.storage.sql.session import Session

_FRESH = 5.0
"""Seconds after which the columns are read again."""
_ALIASES = {"runs": "r", "experiments": "e"}


class OwnColumns:
    """The users' columns of a database, read again at most every few seconds.

    Args:
        dialect: sqlite or postgres.
    """

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._rows: dict[str, list[Any]] = {}
        self._until = 0.0

    def of(self, session: Session, table: str) -> Mapping[str, Column]:
        """Return the users' columns of a table, as filters name them.

        Args:
            session: a session inside a transaction.
            table: runs or experiments.
        """
        if time.monotonic() > self._until:
            rows: dict[str, list[Any]] = {}
            for row in session.rows("columns", schema=session.schema):
                rows.setdefault(row["table_name"], []).append(row)
            self._rows, self._until = rows, time.monotonic() + _FRESH
        schema, alias = _schema_columns(self._dialect, table), _ALIASES[table]
        return {
            row["name"]: Column(f'{alias}."{row["name"]}"', _kind(row["type"]))
            for row in self._rows.get(table, [])
            if row["name"] not in schema
        }

    def forget(self) -> None:
        """Discard the cached columns, because the schema was changed."""
        self._until = 0.0


@cache
def _schema_columns(dialect: str, table: str) -> frozenset[str]:
    """Return the columns that runbase's own schema gives a table."""
    return frozenset(
        item.column
        for step in migrations(dialect)
        for item in described(step.text)
        if item.name == table and item.column
    )


def _kind(declared: str) -> Any:
    words = declared.lower()
    if any(word in words for word in ("int", "real", "floa", "doub", "num", "dec", "serial")):
        return "number"
    return "time" if words.startswith("timestamp with time") else "text"
