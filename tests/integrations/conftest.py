"""A store of ours beside other tools, of each kind."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import runbase


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[runbase.Store]:
    """An empty store: SQLite, then PostgreSQL."""
    url = str(tmp_path / "ours.db")
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")
    with runbase.open(url) as opened:
        yield opened
