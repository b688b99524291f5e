"""The pages about training tools do what they say, with the tools, and runs come out."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

import runbase
from tests.pages import Reader, blocks_of, path_with_programs

DOCS = Path(__file__).parents[3] / "docs" / "how-to"
PAGES = [
    *sorted(page for page in (DOCS / "integrations").glob("*.md") if page.name != "index.md"),
    DOCS / "scikit-learn.md",
    DOCS / "optuna.md",
]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = blocks_of(page)
    for block in blocks:
        if block.mark == "needs":
            missing = [name for name in block.reason.split(", ") if find_spec(name) is None]
            assert not missing, "make test-integrations installs what the pages need"
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PATH", path_with_programs())
    Reader(tmp_path).follow(blocks)
    if (run := runbase.current_run()) is not None:
        run.finish()
    with runbase.open() as store:
        runs = store.runs()
        assert runs
        assert {run.status.value for run in runs} <= {"COMPLETED", "PRUNED"}
        assert any(run.metrics for run in runs) or page.stem == "python-logging"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_says_what_is_recorded(page: Path) -> None:
    text = page.read_text()
    for part in ("Recorded", "Options", "Failure"):
        assert re.search(rf"\*\*{part}|## {part}", text), part
