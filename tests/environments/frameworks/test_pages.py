"""The page about PyTorch does what it says, with PyTorch."""

from pathlib import Path

import pytest

from tests.pages import Reader, blocks_of, path_with_programs

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "pytorch.md"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", path_with_programs())
    Reader(tmp_path).follow(blocks_of(PAGE))
