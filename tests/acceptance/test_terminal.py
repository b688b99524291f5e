"""What commands print on a terminal of 80 and of 120 columns, and on a pipe."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
WIDTHS = pytest.mark.parametrize("width", [80, 120])
NAME = "careful-albatross-"


def fits(text: str, width: int) -> bool:
    return all(len(line) <= width for line in text.splitlines())


def heads(text: str) -> list[str]:
    return text.splitlines()[0].split()


@WIDTHS
def test_runs_leave_out_columns_and_break_none(terminal: Cli, lab: Path, width: int) -> None:
    text = terminal(width, "runs", "-n", "14", "--home", str(lab))
    assert fits(text, width)
    rows = text.splitlines()
    names = [line.split()[0] for line in rows[1:15]]
    assert names[:2] == ["careful-albatross-13", "careful-albatross-12"]
    assert {"run", "experiment", "status", "train/loss"} <= set(heads(text))
    assert "data/root" not in text  # the same in every run
    more, rest = rows[15:]
    assert re.fullmatch(r"\+\d+ more columns, choose with -c KEY", more)
    assert rest == "+2 more runs, show with -n 16"
    shown = len(heads(text))
    wide = heads(terminal(2000, "runs", "-n", "14", "--home", str(lab)))
    assert f"+{len(wide) - shown} more columns" in more


def test_the_experiment_is_left_out_first_if_it_is_the_same(terminal: Cli, lab: Path) -> None:
    one = terminal(80, "runs", "-e", "vit", "--home", str(lab))
    assert "experiment" not in heads(one)
    assert {"run", "status", "started", "optimizer/lr"} <= set(heads(one))
    metrics = [name for name in heads(one) if "/loss" in name or "/acc" in name]
    assert metrics[0] == "train/loss"  # the objective of the experiment
    both = terminal(120, "runs", "name like '%-9' or name like '%-13'", "--home", str(lab))
    assert "experiment" in heads(both)


def test_what_a_filter_names_is_shown_first(terminal: Cli, lab: Path) -> None:
    sorted_by = terminal(80, "runs", "--sort", "layer7/weight_norm", "--home", str(lab))
    assert "layer7/weight_norm" in heads(sorted_by)
    where = 'metrics."layer9/weight_norm" > 0 and params.seed > 1'
    found = terminal(80, "runs", where, "--home", str(lab))
    assert {"layer9/weight_norm", "seed"} <= set(heads(found))


def test_a_pipe_has_all_columns_and_one_word_a_cell(cli: Cli, lab: Path) -> None:
    lines = cli("runs", "-n", "14", "--home", str(lab), COLUMNS="80").splitlines()
    names = lines[0].split()
    assert {"experiment", "tags", "seed", "val/acc", "layer40/weight_norm"} <= set(names)
    assert "more columns" not in "".join(lines)
    assert {len(line.split()) for line in lines} == {len(names)}
    place = names.index("started")
    assert all(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", x.split()[place]) for x in lines[1:]
    )
    assert any("★" in line for line in lines)
    assert not set("│┃━─┏╭|") & set("".join(lines))
    assert any(" NaN " in line for line in lines)


def test_the_first_line_of_a_pipe_is_enough(lab: Path) -> None:
    for words in (f"runs --home {lab}", f"show {NAME}8 --home {lab}", f"compare vit --home {lab}"):
        command = f"{sys.executable} -m runbase {words} | head -1"
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
        assert done.stdout.count("\n") == 1
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("params.optimizer/lr", "optimizer/lr"),
        ('params."optimizer/lr"', "optimizer/lr"),
        ("optimizer/lr", "optimizer/lr"),
        ("metrics.val/loss", "val/loss"),
        ('metrics."val/loss"', "val/loss"),
        ("val/loss", "val/loss"),
        ("val/loss.min", "val/loss.min"),
        ("tags.stage", "tags.stage"),
        ("tags", "tags"),
    ],
)
def test_a_column_and_a_sort_key_have_the_same_names(
    terminal: Cli, cli: Cli, lab: Path, name: str, title: str
) -> None:
    where = ["--home", str(lab)]
    text = terminal(80, "runs", "-c", name, "-n", "3", *where)
    assert title in heads(text)
    assert "more column" not in text
    if name != "tags":
        ranked = cli("query", "-c", "name", "--sort", name, "--json", *where)
        by_value = cli("query", "-c", f"name,{name}", "--sort", "name", "--json", *where)
        by_value = [row for row in by_value if row[name] is not None]
        assert len(by_value) in (5, 14)
        values = {row["name"]: row[name] for row in by_value}
        order = [values[row["name"]] for row in ranked if row["name"] in values]
        assert order == sorted(order)


@WIDTHS
def test_chosen_columns_are_never_left_out(terminal: Cli, lab: Path, width: int) -> None:
    chosen = [f"layer{n}/weight_norm" for n in range(1, 12)]
    text = terminal(width, "runs", "-c", ",".join(chosen), "-n", "2", "--home", str(lab))
    assert heads(text) == ["run", *chosen]
    assert len(text.splitlines()[1].split()) >= 12
    text = terminal(80, "runs", "-c", "experiment,data/root", "-n", "2", "--home", str(lab))
    assert {"run", "experiment", "data/root"} <= set(heads(text))
    assert "/scratch/shared/datasets/imagenet-1k/2012/train" in text


def test_an_unknown_column_names_the_nearest(cli: Cli, lab: Path) -> None:
    for command in ("runs", "query"):
        where = ["--home", str(lab)]
        said = cli(command, "-c", "val/los", *where, code=2)
        assert "no column is named 'val/los'; did you mean 'metrics.\"val/loss\"'" in said
        said = cli(command, "-c", 'metrics."val/los"', *where, code=1)
        assert "no run has a metric 'val/los'; did you mean 'val/loss'" in said
        said = cli(command, "-c", "params.sed", *where, code=1)
        assert "no run has a parameter 'sed'; did you mean 'seed'?" in said
        said = cli(command, "--sort", "val/los desc", *where, code=2)
        assert "did you mean 'metrics.\"val/loss\"'" in said
    said = cli("runs", "params.optimizer/lr < 1", "--home", str(lab), code=2)
    assert "did you mean 'params.\"optimizer/lr\"'? A key with slashes needs quotes" in said


def test_tags_are_shown(terminal: Cli, cli: Cli, lab: Path) -> None:
    text = terminal(120, "runs", "-c", "tags", "--home", str(lab))
    assert "baseline, stage=s12" in text
    assert "tags" in heads(terminal(160, "runs", "-e", "vit", "--home", str(lab)))
    assert "tags" not in heads(terminal(160, "runs", "name like 'eval%'", "--home", str(lab)))
    rows = cli("query", "-c", "name,tags", "--json", "--home", str(lab))
    assert {"name": NAME + "12", "tags": "baseline, stage=s12"} in rows


@WIDTHS
def test_query_and_experiments_fit(terminal: Cli, lab: Path, width: int) -> None:
    text = terminal(width, "query", "--home", str(lab))
    assert fits(text, width)
    assert heads(text)[:2] == ["name", "status"] or heads(text)[:2] == ["name", "experiment"]
    assert "metrics.train/loss" in heads(text)
    assert re.search(r"\n\+\d+ more columns, choose with -c KEY, or print all with --csv\n", text)
    text = terminal(width, "experiments", "--home", str(lab))
    assert fits(text, width)
    assert heads(text) == ["experiment", "status", "runs", "updated", "best"]
    assert "train/loss=9.5" in text


def test_no_colour_on_request(terminal: Cli, lab: Path) -> None:
    colour = re.compile(r"\x1b\[(?:\d+;)*(?:3|4|9)\d")
    for words in (["runs"], ["show", NAME + "8"], ["compare", "vit"]):
        line = [*words, "--home", str(lab)]
        assert colour.search(terminal(100, *line, colours=True))
        assert not colour.search(terminal(100, *line, colours=True, NO_COLOR="1"))


def test_no_progress_bar_flickers(terminal: Cli, lab: Path) -> None:
    assert "reading journals" not in terminal(80, "runs", "--home", str(lab))
