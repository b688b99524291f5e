"""Incomplete downloads: kept after an exception, continued by one process at a time."""

import os
from pathlib import Path

import pytest

from runbase.artifacts.partial import resumable

SHA256 = "ab" * 32


def test_what_was_written_before_an_error_is_continued(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file"
    with pytest.raises(RuntimeError), resumable(target, SHA256) as partial:
        partial.write_bytes(b"half")
        raise RuntimeError
    assert not target.exists()
    with resumable(target, SHA256) as partial:
        assert partial.read_bytes() == b"half"
        with partial.open("ab") as file:
            file.write(b" and half")
    assert target.read_bytes() == b"half and half"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize("sha256", [SHA256, None, "../escaped"])
def test_an_attempt_that_got_nothing_leaves_nothing(tmp_path: Path, sha256: str | None) -> None:
    with pytest.raises(RuntimeError), resumable(tmp_path / "file", sha256):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_two_at_once_write_files_of_their_own(tmp_path: Path) -> None:
    target = tmp_path / "file"
    with resumable(target, SHA256) as first, resumable(target, SHA256) as second:
        assert first != second
        first.write_bytes(b"whole")
        second.write_bytes(b"whole")
    assert target.read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["file"]
