"""Tables on a terminal: which columns fit, how text is broken, and what is never broken."""

import pytest

from runbase.cli import tables
from runbase.cli.tables import Column


def columns() -> list[Column]:
    return [
        Column("run", ["calm-otter-7", "x"]),
        Column("lr", ["0.1", "0.001"], right=True, rank=2),
        Column("status", ["COMPLETED", "FAILED"], rank=1),
        Column("val/loss", ["[bold]0.5 ★[/]", "0.25  "], right=True, rank=3),
    ]


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (None, ["run", "lr", "status", "val/loss"]),
        (40, ["run", "lr", "status", "val/loss"]),
        (39, ["run", "lr", "status"]),
        (30, ["run", "lr", "status"]),
        (29, ["run", "status"]),
        (23, ["run", "status"]),
        (20, ["run", "lr"]),
        (5, ["run"]),
    ],
)
def test_the_columns_of_greatest_rank_are_left_out(width: int | None, titles: list[str]) -> None:
    assert [column.title for column in tables.fit(columns(), width)] == titles


def test_lines_are_aligned_by_what_is_seen() -> None:
    shown = tables.lines(columns(), indent=1)
    assert shown[1] == " calm-otter-7    0.1  COMPLETED     [bold]0.5 ★[/]"
    assert shown[2] == " x             0.001  FAILED       0.25"


def test_a_cell_is_one_line_without_markup_of_its_own() -> None:
    assert tables.width_of(tables.cell("a[bold]\nb\tc")) == len("a[bold]\\nb\\tc")
    assert tables.cell("\x1b[2J") == "\\x1b[2J"
    assert tables.cell("abcdefghij", 7) == "abc…hij"
    assert tables.cell("abcdefg", 7) == "abcdefg"


def test_text_is_broken_at_blanks_and_in_paths() -> None:
    assert tables.wrapped("one two three", 8) == ["one two", "three"]
    assert tables.wrapped("/data/runs/mnist/01a1", 12) == ["/data/runs/", "mnist/01a1"]
    assert tables.wrapped("a-very-long-word here", 8) == ["a-very-long-word", "here"]
    assert tables.wrapped("one two\nthree", None) == ["one two", "three"]
    assert tables.wrapped("", 8) == [""]
    assert tables.wrapped("01a21de82b8e7ec5", 8) == ["01a21de82b8e7ec5"]


def test_a_line_is_cut_by_what_is_seen() -> None:
    assert tables.cut("abcdefgh", 5) == "abcd…"
    assert tables.cut("日本語日本語", 6) == "日本…"
    assert tables.cut("a\nb", None) == "a\\nb"
