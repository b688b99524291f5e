"""Help pages: groups that a newcomer understands, and examples that work."""

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import runbase
from runbase.cli.app import build
from tests.conftest import close_storages


def commands(group: Any = None, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the words and the object of each command, also of those in groups."""
    group = typer.main.get_command(build()) if group is None else group
    for name, command in group.commands.items():
        yield " ".join([*words, name]), command
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))


ALL = dict(commands())
EXAMPLES = [
    (name, line.strip())
    for name, command in ALL.items()
    for line in command.epilog.splitlines()
    if line.startswith("    ")
]
READING = ("runs", "experiments", "show", "compare", "best", "query", "plot", "sql", "schema")
CHANGING = ("tag", "note", "rename", "view", "gc")


def parts(line: str) -> list[str]:
    """The words of an example without its redirections."""
    words = shlex.split(line)
    places = [n for n, word in enumerate(words) if word in (">", "<")]
    return words[: min(places, default=len(words))]


@pytest.mark.parametrize("name", ALL)
def test_each_example_is_a_line_at_80_columns(name: str) -> None:
    page = CliRunner().invoke(build(), [*name.split(), "--help"], env={"COLUMNS": "80"}).output
    shown = [line.strip() for line in page.splitlines()]
    assert "Examples:" in shown
    mine = [line for word, line in EXAMPLES if word == name]
    assert len(mine) >= 1
    assert all(line.startswith("runbase ") for line in mine)
    assert set(mine) <= set(shown)


@pytest.mark.parametrize(("name", "line"), EXAMPLES)
def test_each_example_has_options_that_exist(name: str, line: str) -> None:
    words = parts(line)[1:]
    command: Any = typer.main.get_command(build())
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(name, words)  # raises for an unknown option


def test_the_groups_are_those_of_tasks() -> None:
    page = CliRunner().invoke(build(), ["--help"], env={"COLUMNS": "80"}).output
    groups = [line.strip("╭╮─ ") for line in page.splitlines() if line.startswith("╭")]
    assert groups == [
        "Options",
        "Start here",
        "See results",
        "Change records",
        "Run trials",
        "Import and export",
        "Set up and maintain",
        "Serve a team",
    ]


@pytest.fixture
def filled(home: Path, tmp_path: Path) -> Path:
    """The experiments and runs that the examples name."""
    (tmp_path / "model.pt").write_bytes(b"weights")
    for name, lr in (("brisk-heron-42", 0.001), ("calm-otter-7", 0.1)):
        for experiment in ("mnist", "cifar"):
            if experiment == "mnist" or lr == 0.1:
                name = name if experiment == "mnist" else "other-run-1"  # noqa: PLW2901
                run = runbase.start_run(
                    experiment, name=name, params={"lr": lr}, home=home, capture=False
                )
                for step in range(3):
                    run.log({"train/loss": 1 / (step + 1), "val/acc": step / 3}, step=step)
                    run.log({"val/loss": 1 / (step + 1), "loss": 1.0}, step=step)
                run.tag(stage="prod")
                run.log_artifact(tmp_path / "model.pt", kind="checkpoint")
                run.finish()
    with runbase.open(home=home) as store:
        store.update_experiment("mnist", objectives=[runbase.Objective(metric="val/loss")])
    close_storages()
    return home


@pytest.mark.parametrize("kinds", [READING, CHANGING])
def test_examples_work(kinds: tuple[str, ...], filled: Path, tmp_path: Path) -> None:
    lines = dict.fromkeys(line for name, line in EXAMPLES if name.split()[0] in kinds)
    assert len(lines) > 5
    for line in lines:
        words = parts(line)[1:]
        if "01a1" in line or "-f" in words:  # an id, and a file of the user
            continue
        done = CliRunner().invoke(build(), words, input="a note")
        assert done.exit_code == 0, (line, done.output, done.exception)
