"""The graph of related runs: readable labels, fitted to the window, moved and zoomed by keys and wheel."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

import runbase
from runbase.store.store import Store

Tab = Callable[..., Page]
BOXES = """selector => [...document.querySelectorAll(selector)].map(one => {
  const { left, right, top, bottom } = one.getBoundingClientRect();
  return [left, right, top, bottom];
})"""


@pytest.fixture
def related(store: Store, home: Path, tmp_path: Path) -> str:
    """A run with two data sets, four runs that use both, and one that uses what these made; returns the id of the first."""
    file = tmp_path / "some.bin"
    file.write_text("x")
    with runbase.start_run("lineage", home=home, name="prepare", capture=False) as first:
        for name in ("training-images.bin", "labels-of-training-images.bin"):
            first.log_artifact(file, name=name)
    for number in range(4):
        with runbase.start_run("lineage", home=home, name=f"train-{number}", capture=False) as run:
            run.use_artifact("prepare/training-images.bin", download=False)
            run.use_artifact("prepare/labels-of-training-images.bin", download=False)
            run.log_artifact(file, name=f"weights-{number}.bin")
    with runbase.start_run("lineage", home=home, name="evaluate", capture=False) as run:
        for number in range(4):
            run.use_artifact(f"train-{number}/weights-{number}.bin", download=False)
    store.sync()
    return first.id


def test_labels_of_relations_do_not_cover_each_other(tab: Tab, related: str) -> None:
    page = tab(f"/lineage/{related}")
    expect(page.locator(".graph .node")).to_have_count(6)
    expect(page.locator(".edge-label")).to_have_count(12)
    boxes = page.evaluate(BOXES, ".edge-label rect, .graph .node")
    for a, b in combinations(boxes, 2):
        apart = a[1] <= b[0] or b[1] <= a[0] or a[3] <= b[2] or b[3] <= a[2]
        assert apart, (a, b)
    area = page.evaluate(BOXES, ".graph-area")[0]
    assert min(box[0] for box in boxes) >= area[0]
    assert max(box[1] for box in boxes) <= area[1], "it is fitted to the width"


def test_the_graph_is_moved_and_zoomed(tab: Tab, related: str) -> None:
    page = tab(f"/lineage/{related}")
    expect(page.locator(".graph .node")).to_have_count(6)
    area = page.locator(".graph-area")
    node = page.locator(".node.here")

    def width() -> float:
        box = node.bounding_box()
        assert box is not None
        return box["width"]

    first = width()
    area.focus()
    page.keyboard.press("+")
    assert width() > first * 1.2
    page.keyboard.press("0")
    assert width() == pytest.approx(first)
    area.hover()
    page.mouse.wheel(0, -100)
    page.wait_for_function(
        "least => document.querySelector('.node.here').getBoundingClientRect().width > least",
        arg=first * 1.05,
    )
    page.keyboard.press("0")
    before = node.bounding_box()
    page.keyboard.press("ArrowRight")
    after = node.bounding_box()
    assert before is not None
    assert after is not None
    assert after["x"] < before["x"] - 30
    page.get_by_role("link", name="evaluate").press("Enter")
    expect(page.get_by_role("heading", name="evaluate")).to_be_visible()
