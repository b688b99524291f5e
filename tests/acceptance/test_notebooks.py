"""The example notebooks, executed as a person would, in an empty folder."""

from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pytest

from tests.patience import PATIENCE

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples" / "notebooks").glob("*.ipynb"))


def outputs(book: Any, kind: str) -> list[str]:
    return [
        str(output["data"][kind])
        for cell in book.cells
        for output in cell.get("outputs", [])
        if kind in output.get("data", {})
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, home: Path, tmp_path: Path) -> None:
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    assert not any(cell.get("outputs") for cell in book.cells), "outputs are not committed"
    client = nbclient.NotebookClient(
        book, timeout=PATIENCE, resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    pages = outputs(book, "text/html")
    if path.stem.startswith("1"):
        assert len(pages) == 3
        assert 'class="n best"' in pages[0]
        assert "params" in pages[0]
        assert "penalty" in pages[1]
        assert "<svg" in pages[2]
        assert len(outputs(book, "image/png")) == 1
    elif path.stem.startswith("2"):
        assert (tmp_path / "points.parquet").stat().st_size > 1000
        assert len(pages) == 3
    else:
        assert "ship it" in pages[1]
        assert any("001_review.sql" in text for text in outputs(book, "text/plain"))


def test_all_three_are_there() -> None:
    assert len(NOTEBOOKS) == 3


def test_a_run_is_not_announced_in_red(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBASE_QUIET", "")
    code = "import runbase\nwith runbase.start_run('nb') as run:\n    run.log({'x': 1})"
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    resources = {"metadata": {"path": tmp_path}}
    nbclient.NotebookClient(book, timeout=PATIENCE, resources=resources).execute()
    streams = {output["name"]: output["text"] for output in book.cells[0]["outputs"]}
    assert set(streams) == {"stdout"}
    assert "of nb → " in streams["stdout"]
