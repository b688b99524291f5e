"""Where the bytes are: by table, experiment and run."""

from typing import Any

from runbase.storage.sql.session import Session
from runbase.storage.types import Size, Sizes

_OF_POINTS = ("blocks", "groups", "outlines")
"""Tables whose bytes are those of points."""


def read(session: Session, most: int) -> Sizes:
    """Return the sizes of tables, and of the experiments and runs with the most bytes."""
    tables: dict[str, int] = {}
    if session.row("has_table_sizes") is not None:
        tables = {row["name"]: int(row["bytes"]) for row in session.rows("table_sizes")}
    points = session.row("totals")["points"]
    each = sum(tables.get(name, 0) for name in _OF_POINTS) / points if points else 0.0
    runs = [
        _size(row, f"{row['experiment']}/{row['name']}", 1, each)
        for row in session.rows("run_sizes", each=each, most=most)
    ]
    experiments = [
        _size(row, row["name"], row["runs"], each)
        for row in session.rows("experiment_sizes", each=each, most=most)
    ]
    return Sizes(tables, experiments, runs)


def _size(row: Any, name: str, runs: int, each: float) -> Size:
    return Size(
        id=row["id"],
        name=name,
        runs=runs,
        points=int(row["points"]),
        database=round(row["points"] * each),
        journals=int(row["journals"]),
        artifacts=int(row["artifacts"]),
    )
