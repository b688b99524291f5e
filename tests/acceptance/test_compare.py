"""`runbase compare`: the runs of an experiment or a filter, in blocks that fit the terminal."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
NAME = "careful-albatross-"


@pytest.mark.parametrize("width", [80, 120])
def test_an_experiment_is_its_newest_runs_in_blocks(terminal: Cli, lab: Path, width: int) -> None:
    text = terminal(width, "compare", "imagenet-resnet50-baseline", "--home", str(lab))
    assert [line for line in text.splitlines() if len(line) > width] == []
    statuses = [line.split()[1:] for line in text.splitlines() if line.startswith("status")]
    assert sum(map(len, statuses)) == 8
    assert len(statuses) == {80: 2, 120: 1}[width]
    lines = text.splitlines()
    begin = lines.index("Parameters")
    assert [line.split()[0] for line in lines[begin + 1 : begin + 3]] == ["optimizer/lr", "seed"]
    assert lines[begin + 4] == "Metrics"
    assert lines[begin + 5].split()[0] == "val/acc"
    assert "data/root" not in text
    assert lines[-3:] == [
        "+31 equal parameters, show with --all",
        "+30 more metrics, show with --all",
        "+3 older runs, show with -n 11",
    ]


def test_a_filter_selects_the_runs(terminal: Cli, cli: Cli, lab: Path) -> None:
    text = terminal(120, "compare", "params.seed >= 11", "--home", str(lab))
    assert len(next(x for x in text.splitlines() if x.startswith("status")).split()) == 4
    assert "older" not in text
    found = cli("compare", "params.seed >= 11", "--json", "--home", str(lab))
    assert [item["name"] for item in found["items"]] == [f"{NAME}{n}" for n in (13, 12, 11)]
    assert "no run matches the filter" in cli(
        "compare", "params.seed > 99", "--home", str(lab), code=1
    )


def test_a_pipe_has_all_runs_and_metrics(cli: Cli, lab: Path) -> None:
    text = cli("compare", "imagenet-resnet50-baseline", "--home", str(lab), COLUMNS="80")
    [heading, status, *_] = text.splitlines()
    assert heading.split()[-1] == NAME + "0"
    assert len(status.split()) == 12
    assert "layer40/weight_norm" in text
    assert "more metrics" not in text
    few = cli("compare", "imagenet-resnet50-baseline", "-n", "2", "--home", str(lab))
    assert "+9 older runs, show with -n 11" in few


def test_directions_are_those_of_the_objectives(cli: Cli, lab: Path) -> None:
    text = cli("compare", "vit", "--home", str(lab))
    row = next(line for line in text.splitlines() if "train/loss" in line)
    assert re.search(r"9\.5★", row)
    assert text.index("train/loss") < text.index("val/loss")


def test_long_keys_and_values_are_shortened(terminal: Cli, lab: Path) -> None:
    names = [f"{NAME}{n}" for n in (1, 2)]
    text = terminal(60, "compare", *names, "--all", "--home", str(lab))
    assert [line for line in text.splitlines() if len(line) > 60] == []
    assert re.search(r"data/root +/\S+…\S+ +/\S+…\S+\n", text)
