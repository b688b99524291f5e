"""The documentation says what the code does: its code runs, its SQL answers, its links lead somewhere."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from tools.reference import schema, settings

import runbase
from runbase.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page} links to {target}"


def test_generated_pages_are_current() -> None:
    """Behind? `python tools/reference.py` writes them."""
    assert (ROOT / "docs/reference/settings.md").read_text() == settings()
    assert (ROOT / "docs/reference/schema.md").read_text() == schema()


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs/reference/cli.md").read_text()
    group: Any = typer.main.get_command(app)
    assert group.commands
    for name, command in group.commands.items():
        section = text.split(f"## `runbase {name}`")[1].split("\n## ")[0]
        for parameter in command.params:
            for option in parameter.opts:
                assert option in section, f"runbase {name} {option} is not documented"


def test_every_public_name_is_documented() -> None:
    text = (ROOT / "docs/reference/python.md").read_text()
    for name in ("start_run", "track", "open", "init", "log", "tag"):
        assert name in text
    for name in runbase.__all__:
        if isinstance(getattr(runbase, name), type) and issubclass(
            getattr(runbase, name), runbase.RunbaseError
        ):
            assert name in text, f"{name} is not documented"


def test_every_method_of_the_store_and_of_runs_is_documented() -> None:
    text = (ROOT / "docs/reference/python.md").read_text()
    for owner in (runbase.Store, runbase.Run):
        for name in set(dir(owner)) - {"close", "end_because", "url", "home", "address"}:
            if not name.startswith("_"):
                assert re.search(rf"\b{name}\b", text), f"{owner.__name__}.{name} is not documented"


def test_the_tutorial_works(home: Path, tmp_path: Path) -> None:
    train, read = blocks("docs/tutorial/first-run.md", "python")
    (tmp_path / "train.py").write_text(train)
    done = subprocess.run(
        [sys.executable, "train.py"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "done\n"
    names: dict[str, Any] = {"runbase": runbase}
    exec(read, names)  # our own page
    assert len(names["loss"].values) == 1000
    assert len(names["chart"]) == 200
    for command in re.findall(
        r"^\$ (runbase (?:plot|sql|runs).*?)(?:\s+#.*)?$",
        (ROOT / "docs/tutorial/first-run.md").read_text(),
        re.MULTILINE,
    ):
        line = command.replace("runbase", f"{sys.executable} -m runbase", 1)
        subprocess.run(["sh", "-c", line], check=True, capture_output=True, cwd=tmp_path)


def test_the_readmes_lines_work(home: Path, tmp_path: Path) -> None:
    (code,) = blocks("README.md", "python")
    (tmp_path / "model.pt").write_bytes(b"weights")
    names: dict[str, Any] = {"batches": range(5), "loss": 0.25}
    exec(code, names)  # our own page
    assert names["best"][0].tags == {"baseline": None}


HOW_TOS = sorted(
    p.name for p in (ROOT / "docs/how-to").glob("*.md") if "```python" in p.read_text()
)


@pytest.mark.parametrize("page", HOW_TOS)
def test_how_tos_run(page: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "part.txt").write_text("text")
    runbase.start_run("docs", name="brisk-heron-42").finish()
    names: dict[str, Any] = {"__name__": "page"}
    for block in blocks(f"docs/how-to/{page}", "python"):
        exec(block, names)  # our own page


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
