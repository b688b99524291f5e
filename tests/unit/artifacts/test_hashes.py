"""Hashes of files that are kept while the file is the same."""

import hashlib
import os
from pathlib import Path

import pytest

from runbase.artifacts import hashes
from runbase.artifacts.hashes import digest, digest_once


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read, in order."""
    found: list[Path] = []

    def counted(path: Path) -> str:
        found.append(path)
        return digest(path)

    monkeypatch.setattr(hashes, "digest", counted)
    return found


def test_a_file_is_read_once_until_it_changes(
    tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "SETTLED", -60)
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    assert {digest_once(file) for _ in range(5)} == {sha256(b"one")}
    assert len(read) == 1
    before = file.stat()
    times = before.st_atime_ns, before.st_mtime_ns
    while file.stat().st_ctime_ns == before.st_ctime_ns:  # a tick of the kernel's clock takes 4 ms
        file.write_bytes(b"two")
        os.utime(file, ns=times)  # as programs do that copy times: the time of the inode tells
    assert digest_once(file) == sha256(b"two")
    file.replace(tmp_path / "moved")
    file.write_bytes(b"six")
    os.utime(file, ns=times)
    assert digest_once(file) == sha256(b"six")
    assert len(read) == 3


def test_the_hash_of_a_file_that_just_changed_is_not_kept(tmp_path: Path, read: list[Path]) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    assert digest_once(file) == digest_once(file) == sha256(b"one")
    assert len(read) == 2


def test_the_hashes_used_last_are_kept(
    tmp_path: Path, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hashes, "SETTLED", -60)
    monkeypatch.setattr(hashes, "MOST", 2)
    monkeypatch.setattr(hashes, "_kept", {})
    files = [tmp_path / name for name in "abc"]
    for file in files:
        file.write_text(file.name)
    for file in (files[0], files[1], files[0], files[2], files[0], files[1]):
        digest_once(file)
    assert [file.name for file in read] == ["a", "b", "c", "b"]
