"""Where the bytes are: by table, experiment and run."""

import time
from typing import Any

from runbase.storage.sql.session import Session
from runbase.storage.types import Size, Sizes

_OF_POINTS = ("blocks", "groups", "outlines")
"""Tables whose bytes are those of points."""

OLD = 30 * 86400.0
"""Seconds after its end from which a run counts as old."""


def read(session: Session, most: int) -> Sizes:
    """Return the sizes of tables, and of the experiments and runs with the most bytes."""
    tables: dict[str, int] = {}
    if session.row("has_table_sizes") is not None:
        tables = {row["name"]: int(row["bytes"]) for row in session.rows("table_sizes")}
    archived = session.row("archived_totals")
    points = session.row("totals")["points"] - archived["points"]
    each = sum(tables.get(name, 0) for name in _OF_POINTS) / points if points else 0.0
    runs = [
        _size(row, f"{row['experiment']}/{row['name']}", 1, each)
        for row in session.rows("run_sizes", each=each, most=most)
    ]
    experiments = [
        _size(row, row["name"], row["runs"], each)
        for row in session.rows("experiment_sizes", each=each, most=most)
    ]
    before = session.time(time.time() - OLD)
    old = session.row("points_to_archive", before=before)
    return Sizes(
        tables=tables,
        experiments=experiments,
        runs=runs,
        archived_runs=int(archived["runs"]),
        archived_points=int(archived["points"]),
        archived_bytes=int(archived["bytes"]),
        old_runs=int(old["runs"]),
        old_bytes=round(int(old["points"]) * each),
    )


def _size(row: Any, name: str, runs: int, each: float) -> Size:
    return Size(
        id=row["id"],
        name=name,
        runs=runs,
        points=int(row["points"]),
        database=round((row["points"] - row["archived"]) * each),
        archive=int(row["archive"]),
        journals=int(row["journals"]),
        artifacts=int(row["artifacts"]),
    )
