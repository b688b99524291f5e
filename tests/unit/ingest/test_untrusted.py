"""Untrusted files: YAML with limits, CSV with damaged rows, paths that leave a folder."""

from pathlib import Path

import pytest

from runbase.ingest import untrusted
from runbase.ingest.untrusted import csv_rows, is_inside, load_yaml


def test_csv_rows_go_on_behind_a_bad_one() -> None:
    problems: list[str] = []
    lines = ["a,b\n", "1,2\n", "x" * 200_000 + ",3\n", "4,5\n"]
    assert list(csv_rows(lines, problems.append)) == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]
    assert len(problems) == 1


def test_csv_columns_without_a_name_are_left_out() -> None:
    problems: list[str] = []
    rows = list(csv_rows(["a,,b\n", "1,2,3,4\n", "5\n"], problems.append))
    assert rows == [{"a": "1", "b": "3"}, {"a": "5", "b": None}]
    assert problems == []


def test_a_yaml_document_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: &x [1, 2.5, null]\nb: {c: *x}\n")
    assert load_yaml(path) == {"a": [1, 2.5, None], "b": {"c": [1, 2.5, None]}}


BILLION = "a0: &a0 [1, 1]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: [1, 2", "expected"),
        ("a: \x00", "special characters"),
        (BILLION, "expand"),
        ("a: &a [*a]", "contains itself"),
        ("[" * 150 + "]" * 150, "levels"),
        ("[" * 5000 + "]" * 5000, "deep"),
        ("!!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
    ids=["damaged", "NUL", "aliases", "cycle", "deep", "too deep", "object"],
)
def test_a_yaml_file_that_must_not_be_loaded_is_refused(
    tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=says):
        load_yaml(path)


def test_a_large_yaml_file_is_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(untrusted, "LARGEST_YAML", 10)
    path = tmp_path / "x.yaml"
    path.write_text("a: 1234567")
    assert load_yaml(path) == {"a": 1234567}
    path.write_text("a: 12345678")
    with pytest.raises(ValueError, match="MiB"):
        load_yaml(path)


def test_paths_are_inside_a_folder_after_links_are_resolved(tmp_path: Path) -> None:
    folder, outside = tmp_path / "in", tmp_path / "in-other"
    folder.mkdir()
    outside.mkdir()
    (folder / "file").write_text("x")
    (outside / "secret").write_text("x")
    (folder / "near").symlink_to("file")
    (folder / "far").symlink_to(outside)
    (folder / "cycle").symlink_to("cycle")
    (tmp_path / "alias").symlink_to(folder)
    assert is_inside(folder, folder)
    assert is_inside(folder / "file", folder)
    assert is_inside(folder / "near", folder)
    assert is_inside(folder / "missing" / "file", folder)
    assert is_inside(tmp_path / "alias" / "file", folder)
    assert is_inside(folder / "file", tmp_path / "alias")
    assert not is_inside(outside, folder)
    assert not is_inside(folder / "far" / "secret", folder)
    assert not is_inside(folder / ".." / "in-other", folder)
    assert not is_inside(folder / "cycle", folder)
    assert not is_inside(folder / "a\0b", folder)
