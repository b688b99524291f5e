"""The documentation says what the code does: its commands and its code run, its SQL answers, its links lead somewhere."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from tools.reference import schema, settings

import runbase
import runbase.model
from runbase.cli.app import build
from runbase.trials.experiment import Experiment
from tests.pages import PageError, Reader, blocks_of, check_commands, path_with_programs

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
GENERATED = {"docs/reference/cli.md", "docs/reference/schema.md"}
"""Pages whose blocks are examples and definitions from the code; the options in them are checked."""
WITH_RUNS = re.compile(r"README\.md|docs/(how-to|explanation)/.*")
"""Pages whose reader has a script and two runs already; readers of the others begin with nothing."""

TRAIN = '''"""Train nothing, and log it: stands for the script of the reader."""

import sys

import runbase

arguments = dict(a.lstrip("-").split("=") for a in sys.argv[1:] if a.startswith("--") and "=" in a)
with runbase.start_run("mnist", params=arguments) as run:
    for step in range(3):
        run.log({"loss": 1 / (step + 1), "train/loss": 1 / (step + 1)}, step=step)
'''


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: str, language: str) -> list[str]:
    return [block.text for block in blocks_of(ROOT / page) if block.language == language]


def furnish(folder: Path) -> None:
    """A script, a model, some data, and two runs with the names that the pages use."""
    (folder / "train.py").write_text(TRAIN)
    (folder / "model.pt").write_bytes(b"weights")
    (folder / "data").mkdir()
    (folder / "data" / "part.txt").write_text("text")
    for name, lr in (("brisk-heron-42", 0.001), ("calm-otter-7", 0.01)):
        with runbase.start_run(
            "mnist", name=name, params={"lr": lr, "width": 64}, tags=["baseline"]
        ) as run:
            for step in range(20):
                loss = lr / (step + 1)
                values = {"train/loss": loss, "val/loss": loss, "val/acc": 1 - loss, "loss": loss}
                run.log(values, step=step)
            run.log_checkpoint(folder / "model.pt", step=19, metrics={"val/loss": loss})


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", [p for p in PAGES if name_of(p) not in GENERATED], ids=name_of)
def test_a_reader_can_follow(
    page: Path,
    home: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = blocks_of(page)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / ".cache"))
    monkeypatch.setenv("PATH", path_with_programs())
    if WITH_RUNS.fullmatch(name_of(page)):
        furnish(tmp_path)
    server = {}
    if any("postgresql://ada@" in block.text for block in found if block.mark != "not run"):
        url = request.getfixturevalue("postgres")
        server = {
            "postgresql://ada@db.lab/research?schema=runs": url,
            "postgresql://ada@db.lab/research": url,
        }
    Reader(tmp_path, {}, server).follow(found)


@pytest.mark.parametrize("page", sorted(GENERATED))
def test_generated_examples_name_options_that_exist(page: str) -> None:
    found = blocks_of(ROOT / page)
    assert found
    for block in found:
        if block.language == "bash":
            check_commands(block)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("```bash\nrunbase runs --sorted x\n```", "no option '--sorted'"),
        ("```bash\nrunbase ui --no-port\n```", "no option '--no-port'"),
        ("```bash\nrunbase list\n```", "no command 'list'"),
        ("```bash\n$ runbase runs\n```", "has a prompt"),
        ("```bash\nfalse\n```", "ended with 1"),
        ("```console\n$ ls\n```", "which nothing runs"),
        ("```\nls\n```", "of no language"),
        ("<!-- not run -->\n```bash\nls\n```", "needs a reason"),
        ("<!-- not run: it fails -->\n```bash\nrunbase list\n```", "no command 'list'"),
        ("<!-- runs until stopped -->\n```bash\ntrue\n```", "ended by itself"),
    ],
)
def test_a_page_that_is_wrong_is_found(text: str, message: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# A page\n\n{text}\n")
    with pytest.raises(PageError, match=re.escape(message)):
        Reader(tmp_path).follow(blocks_of(page))


def test_generated_pages_are_current() -> None:
    """Behind? `python tools/reference.py` writes them."""
    assert (ROOT / "docs/reference/settings.md").read_text() == settings()
    assert (ROOT / "docs/reference/schema.md").read_text() == schema()


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text()
    group: Any = typer.main.get_command(build())
    assert group.commands
    for name, command in group.commands.items():
        section = text.split(f"## `runbase {name}`")[1].split("\n## ")[0]
        for parameter in command.params:
            for option in parameter.opts:
                assert option in section, f"runbase {name} {option} is not documented"


def documented() -> set[str]:
    """The names whose docstrings the pages of the Python reference show."""
    pages = (ROOT / "docs/reference/python").glob("*.md")
    return {name for page in pages for name in re.findall(r"^::: (\S+)", page.read_text(), re.M)}


def test_every_public_name_is_documented() -> None:
    assert {f"runbase.{name}" for name in runbase.__all__} <= documented()


def test_every_method_of_stores_runs_and_experiments_is_documented() -> None:
    inherited = {name for name in dir(runbase.model.Experiment) if not name.startswith("_")}
    for owner, path, others in (
        (runbase.Store, "runbase.Store", {"url", "home", "address"}),
        (runbase.Run, "runbase.Run", {"end_because"}),
        (Experiment, "runbase.trials.experiment.Experiment", inherited),
    ):
        methods = {name for name in set(dir(owner)) - others if not name.startswith("_")}
        assert {f"{path}.{name}" for name in methods} <= documented()


@pytest.mark.parametrize("record", ["Run", "Experiment", "Metric", "Artifact", "Change"])
def test_every_field_of_a_record_is_documented(record: str) -> None:
    kind: Any = getattr(runbase.model, record)
    listed = re.findall(r"^ {4,8}(\w+): ", kind.__doc__.partition("Attributes:")[2], re.M)
    assert listed == list(kind.__struct_fields__)


def test_every_status_is_in_the_table_of_its_phase() -> None:
    page = (ROOT / "docs/reference/python/records.md").read_text()
    for status in runbase.Status:
        (row,) = re.findall(rf"^\| {status.phase} \|.*$", page, re.M)
        assert re.search(rf"\b{status}\b", row), status


def test_own_schema_applies(home: Path, tmp_path: Path, postgres: str) -> None:
    (code, *_) = blocks("docs/how-to/own-schema.md", "sql")
    for url in (tmp_path / "own.db", postgres):
        with runbase.open(url, sync=False) as store:
            store.setup(("001_cost.sql", code))
            assert list(store.sql("select euros from run_costs")) == []


def test_filters_of_the_docs_are_filters(home: Path) -> None:
    page = "docs/reference/filters.md"
    runbase.start_run("docs", home=home, capture=False).finish()
    (examples,) = blocks(page, "sql")
    (errors,) = blocks(page, "text")
    with runbase.open(home=home) as store:
        for line in examples.strip().splitlines():
            store.runs(line)
        names = re.findall(r"`([a-z_]+(?:\.[a-z_]+)*)`", (ROOT / page).read_text())
        for name in set(names) - NO_NAMES:
            store.runs(order_by=name)
        for wrong in ("metrics.los < 1 and", "stauts = 'FAILED'"):
            with pytest.raises(runbase.FilterError) as caught:
                store.runs(wrong)
            assert str(caught.value) in errors


NO_NAMES = {"a", "asc", "b", "current_date", "cursor", "desc", "false", "like", "ilike", "true"} | {
    *("tags", "config", "metrics", "runs", "store.runs"),
}
"""Words of the page that are no names of columns."""
