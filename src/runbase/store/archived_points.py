"""What SQL does not show: the points of archived runs are in files, not in the tables."""

import re

from runbase.errors import UsageError, counted
from runbase.storage.protocol import Storage

_TABLES = {"metrics", "telemetry", "blocks", "groups"}
"""The tables and views with points."""
_POINTS = re.compile(rf"\b({'|'.join(_TABLES)})\b", re.IGNORECASE)

_READING = ("SELECT", "WITH", "(", "INSERT")
"""The first words of statements that read rows."""


def missing_points(storage: Storage, query: str) -> str | None:
    """Return a message if a query reads points, and the database lacks those of archived runs.

    Args:
        storage: the database.
        query: the SQL.
    """
    if not _POINTS.search(query) or not _reads_points(query, storage.dialect):
        return None
    try:
        archived = storage.archived_totals()
    except UsageError:  # a server of an earlier version cannot say
        return None
    if not archived.runs:
        return None
    return (
        f"the points of {counted(archived.runs, 'archived run')} are not in the database: `latest` has their last "
        "values, store.metrics() and frames read them, and docs/how-to/archive.md says how to query their files"
    )


def _reads_points(query: str, dialect: str) -> bool:
    """Return whether a query names one of the tables as a table: `run_summary` has a column `metrics`."""
    from sqlglot import exp, parse, tokenize
    from sqlglot.errors import SqlglotError

    try:
        tokens = tokenize(query, read=dialect)
        if not tokens or tokens[0].text.upper() not in _READING:
            return False  # EXPLAIN and PRAGMA return no points, and sqlglot logs that it does not parse them
        statements = parse(query, dialect=dialect)
    except (SqlglotError, RecursionError):  # a dialect's own syntax: the word alone decides
        return True
    return any(
        table.name.lower() in _TABLES
        for statement in statements
        if statement is not None
        for table in statement.find_all(exp.Table)
    )
