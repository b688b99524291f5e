"""Files of a run: names that stay in its folder, complete copies, hashes."""

import hashlib
import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbase.artifacts.files import copy, describe, safe_name, sources
from runbase.artifacts.hashes import digest
from runbase.errors import InvalidValue


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.pt", "model.pt"),
        ("a//b/./c", "a/b/c"),
        ("a\\b", "a/b"),
        ("a..b", "a..b"),
        ("caf\udce9", "caf%e9"),
    ],
)
def test_a_name_becomes_a_relative_path(name: str, expected: str) -> None:
    assert safe_name(name) == expected


@pytest.mark.parametrize(
    "name", ["", ".", "..", "/abs", "../x", "a/../../b", "..\\x", "\\x", "a/.."]
)
def test_a_name_that_may_leave_the_folder_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="name of an artifact"):
        safe_name(name)


PARTS = st.sampled_from(["..", ".", "/", "\\", "a", "\0", "%", " "]) | st.text(max_size=3)


@settings(deadline=None)
@given(st.lists(PARTS, max_size=8).map("".join))
def test_an_accepted_name_stays_inside_any_folder(name: str) -> None:
    try:
        path = PurePosixPath(safe_name(name))
    except InvalidValue:
        return
    assert path.parts
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert "\0" not in str(path)
    assert safe_name(str(path)) == str(path)


def test_the_files_of_a_folder_keep_their_paths_below_it(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.txt").write_text("b")
    (folder / "deep" / "a.txt").write_text("a")
    found = list(sources(folder, "results"))
    assert found == [
        (folder / "b.txt", "results/b.txt"),
        (folder / "deep" / "a.txt", "results/deep/a.txt"),
    ]
    assert list(sources(folder / "b.txt", "renamed")) == [(folder / "b.txt", "renamed")]


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path / "missing"):
        with pytest.raises(InvalidValue, match=path.name):
            list(sources(path, "x"))


def test_a_copy_has_the_size_and_the_hash_of_its_source(tmp_path: Path) -> None:
    content = os.urandom(2**20 + 7)
    source = tmp_path / "source.json"
    source.write_bytes(content)
    copied = copy(source, tmp_path / "run", "deep/copy.json")
    assert (tmp_path / "run" / "deep" / "copy.json").read_bytes() == content
    expected = hashlib.sha256(content).hexdigest()
    assert (copied.path, copied.size, copied.sha256) == ("deep/copy.json", len(content), expected)
    assert copied.mime == "application/json"
    assert digest(source) == expected
    assert describe(source) == (len(content), expected, "application/json")


def test_a_copy_of_a_missing_file_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy(tmp_path / "missing", tmp_path / "run", "x")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_copy_leaves_its_folder_under_no_name(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("x")
    with pytest.raises(InvalidValue):
        copy(source, tmp_path / "run", "../stolen")
    assert list(tmp_path.iterdir()) == [source]
