"""The plots of a search: an objective over two parameters, and the timeline of runners and hosts."""

import io
from collections.abc import Callable

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from runbase.space import Categorical, Float, Int
from runbase.store.store import Store

Tab = Callable[..., Page]


@pytest.fixture
def search(store: Store) -> str:
    """A search over a grid with its best loss in the middle; one trial failed. Two more are in an experiment of their own."""
    space = {
        "lr": Float(1e-4, 1.0, log=True),
        "width": Int(10, 50),
        "kind": Categorical(["a", "b"]),
    }
    experiment = store.create_experiment("search", objectives={"loss": "min"}, space=space)
    for exponent in range(-4, 1):
        for width in range(10, 60, 10):
            params = {"lr": 10.0**exponent, "width": width, "kind": "ab"[width % 20 > 0]}
            experiment.new_trials([params])
            trial = experiment.claim_trial(f"runner-{width % 3}")
            assert trial is not None
            if (exponent, width) == (0, 50):
                trial.finish("FAILED", error="ValueError: no number")
            else:
                loss = (exponent + 2) ** 2 + ((width - 30) / 10) ** 2
                trial.finish("COMPLETED", metrics={"loss": loss})
    few = store.create_experiment("few", objectives={"loss": "min"})
    for number in range(2):
        few.new_trials([{"a": number, "b": -number}])
        trial = few.claim_trial("runner")
        assert trial is not None
        trial.finish("COMPLETED", metrics={"loss": 1.0})
    return "search"


def pixel(page: Page, across: float, down: float) -> tuple[int, ...]:
    """The colour at a place of the contour plot, in shares of the space between its axes (which are about 60, 84 and 40 wide)."""
    with Image.open(io.BytesIO(page.locator(".contour .plot").screenshot())) as image:
        left, right, bottom = 60, image.width - 84, image.height - 40
        place = (int(left + across * (right - left)), int(10 + down * (bottom - 10)))
        found = image.convert("RGB").getpixel(place)
    assert isinstance(found, tuple)
    return found


def test_a_contour_is_bright_where_the_objective_is_best(tab: Tab, search: str) -> None:
    page = tab(f"/e/{search}/trials")
    plot = page.locator(".contour .plot")
    expect(plot).to_have_attribute("aria-label", "loss over lr and width: 24 trials, 1 failed")
    page.mouse.move(5, 5)
    middle, corner = pixel(page, 0.47, 0.53), pixel(page, 0.02, 0.97)
    assert sum(middle) > sum(corner) + 150, (middle, corner)
    page.get_by_label("parameter upwards").select_option("kind")
    expect(plot).to_have_attribute("aria-label", "loss over lr and kind: 24 trials, 1 failed")
    page.wait_for_url("**contour=lr%7Ekind")
    page.get_by_label("parameter to the right").select_option("kind")  # they change places
    expect(plot).to_have_attribute("aria-label", "loss over kind and lr: 24 trials, 1 failed")
    box = plot.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 5)


def test_a_contour_says_when_there_are_too_few_trials(tab: Tab, search: str) -> None:
    page = tab("/e/few/trials")
    expect(page.locator(".contour")).to_contain_text("needs at least 4 completed trials")
    expect(page.locator(".contour")).to_contain_text("there are 2")


def test_the_timeline_by_host(tab: Tab, search: str) -> None:
    page = tab(f"/e/{search}/trials")
    timeline = page.get_by_role("img", name="25 trials of 3 runners over")
    expect(timeline).to_be_visible()
    page.get_by_label("lanes of the timeline").select_option("host")
    expect(page.get_by_role("img", name="25 trials of 1 host over")).to_be_visible()
    assert "lanes=host" in page.url


def test_metrics_with_one_value_a_run_are_bars(tab: Tab, search: str) -> None:
    page = tab(f"/e/{search}")
    chart = page.locator('[data-metric="loss"] .chart')
    expect(chart).to_have_attribute("data-curves", "24")
    expect(chart.locator("tr")).to_have_count(24)
    widths = chart.locator("tr").evaluate_all(
        "all => all.map(row => [row.lastChild.textContent, parseFloat(row.querySelector('i').style.width)])"
    )
    assert {width for text, width in widths if text == "8"} == {100}
    assert {width for text, width in widths if text == "2"} == {25}
    page.locator('select:has(option:text-is("symlog"))').select_option("symlog")
    expect(page.locator('[data-metric="loss"] canvas').first).to_be_visible()


@pytest.mark.parametrize("path", ["/e/missing", "/e/missing/trials"])
def test_an_experiment_that_does_not_exist(tab: Tab, path: str) -> None:
    page = tab(path, allowed=("404",))
    expect(page.get_by_role("heading", name="No such experiment")).to_be_visible()
    expect(page.locator(".toast.bad")).to_have_count(0)
