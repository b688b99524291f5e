"""A run of this process."""

from pathlib import Path

import pytest

import runbase


@pytest.fixture
def run(home: Path) -> runbase.Run:
    return runbase.start_run("unit", home=home, capture=False)
