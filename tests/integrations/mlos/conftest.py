"""A storage of ours for mlos_bench, and an environment's file."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbase.integrations.mlos import RunbaseStorage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An environment's file, under version control, as mlos_bench wants it."""
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "environment.jsonc").write_text("{}")
    for command in (
        ["init", "-q"],
        ["remote", "add", "origin", "https://example.org/tuning.git"],
        ["add", "-A"],
        ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", "first"],
    ):
        subprocess.run(["git", *command], cwd=folder, check=True)
    return folder / "environment.jsonc"


@pytest.fixture(params=["sqlite", "postgres"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RunbaseStorage]:
    url = str(tmp_path / "mlos.db")
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")
    made = RunbaseStorage({"store": url})
    yield made
    made.store.close()
