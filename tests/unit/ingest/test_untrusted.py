"""Untrusted files: YAML with limits, CSV with damaged rows, paths that leave a folder."""

from runbase.ingest.untrusted import csv_rows


def test_csv_rows_go_on_behind_a_bad_one() -> None:
    problems: list[str] = []
    lines = ["a,b\n", "1,2\n", "x" * 200_000 + ",3\n", "4,5\n"]
    assert list(csv_rows(lines, problems.append)) == [{"a": "1", "b": "2"}, {"a": "4", "b": "5"}]
    assert len(problems) == 1
