"""What SQL does not show: the points of archived runs are in files, not in the tables."""

import re

from runbase.errors import UsageError, counted
from runbase.storage.protocol import Storage

_POINTS = re.compile(r"\b(metrics|telemetry|blocks|groups)\b", re.IGNORECASE)
"""The tables and views with points."""


def missing_points(storage: Storage, query: str) -> str | None:
    """Return a message if a query reads points, and the database lacks those of archived runs.

    Args:
        storage: the database.
        query: the SQL.
    """
    if not _POINTS.search(query):
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
