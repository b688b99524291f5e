"""What the page shows is what was logged: spikes, NaN, hostile texts; and everybody can use it."""

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from playwright.sync_api import Page, expect

import runbase
from runbase.store.store import Store

from .conftest import HOSTILE
from .test_flows import charts, rows

Tab = Callable[..., Page]
AXE = Path(__file__).parents[3] / "ui" / "node_modules" / "axe-core" / "axe.min.js"
POINTS = 1_000_000
SPIKE = 777_777


@pytest.fixture
def spiky(store: Store, home: Path) -> str:
    """A million points of noise, with one spike and one NaN."""
    values = np.random.default_rng(1).normal(size=POINTS)
    values[SPIKE], values[SPIKE // 2] = 50.0, np.nan
    with runbase.start_run("spikes", home=home, name="spiky", capture=False) as run:
        for step, value in enumerate(values.tolist()):
            run.log({"noise": value}, step=step)
    store.sync()
    return run.id


def test_a_spike_is_drawn_at_every_zoom(tab: Tab, spiky: str) -> None:
    """The chart's own range of y includes the spike, and so do its pixels."""
    half = POINTS // 2
    while half >= 20:
        start, end = max(SPIKE - half, 0), SPIKE + half // 3
        page = tab(f"/run/{spiky}/charts?range={start}~{end}")
        chart = page.locator('[data-metric="noise"] .chart')
        expect(chart).to_have_attribute("data-curves", "1")
        page.wait_for_function(
            "() => Number(document.querySelector('[data-metric=noise] .chart').dataset.y.split(',')[1]) > 50"
        )
        assert inked(page, 0.0, 0.12) > 0, (
            f"nothing is drawn near the top between {start} and {end}"
        )
        page.context.close()
        half //= 20
    page = tab(f"/run/{spiky}/charts")
    expect(page.locator('[data-metric="noise"]').get_by_text("1 NaN")).to_be_visible()


def inked(page: Page, top: float, bottom: float) -> int:
    """How many pixels of a curve lie between two heights of the chart (shares from the top)."""
    count = page.evaluate(
        """([top, bottom]) => {
          const canvas = document.querySelector('[data-metric=noise] canvas');
          const context = canvas.getContext('2d');
          const [y, height] = [canvas.height * top, canvas.height * (bottom - top)];
          const { data } = context.getImageData(canvas.width * 0.12, y, canvas.width * 0.87, height);
          let found = 0;
          for (let i = 0; i < data.length; i += 4) {
            const [r, g, b, a] = data.slice(i, i + 4);
            if (a > 40 && Math.max(r, g, b) - Math.min(r, g, b) > 60) found++;
          }
          return found;
        }""",
        [top, bottom],
    )
    return int(count)


def test_zoom_by_dragging_shows_the_exact_points(tab: Tab, spiky: str) -> None:
    page = tab(f"/run/{spiky}/charts?range={SPIKE - 2000}~{SPIKE + 2000}")
    chart = page.locator('[data-metric="noise"] .chart')
    expect(chart).to_have_attribute("data-curves", "1")
    box = chart.bounding_box()
    assert box is not None
    middle = box["x"] + 46 + (box["width"] - 56) / 2
    page.mouse.move(middle - 20, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(middle + 20, box["y"] + 70, steps=4)
    page.mouse.up()
    page.wait_for_function("() => !location.search.includes('range=775777')")
    page.mouse.move(middle, box["y"] + 60)
    expect(page.locator(".readout")).to_contain_text("spiky")
    page.go_back()
    expect(chart).to_have_attribute("data-x", f"{SPIKE - 2000},{SPIKE + 2000}")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/e/digits",
        "/run/{}",
        "/run/{}/media",
        "/run/{}/artifacts",
        "/run/{}/history",
        "/run/{}/raw",
        "/compare?r={}&tab=media",
        "/artifacts",
        "/lineage/{}",
    ],
)
def test_texts_that_people_log_are_shown_and_never_run(tab: Tab, store: Store, path: str) -> None:
    hostile = store.runs("name like '<img%'")[0].id
    page = tab(path.format(hostile))
    expect(page.locator("main > *").first).to_be_visible()
    page.wait_for_timeout(500)  # for what it would do
    if path == "/run/{}":
        expect(page.get_by_role("heading").first).to_contain_text("<img")
        assert (
            page.locator(".markdown script, .markdown svg[onload], .markdown [onerror]").count()
            == 0
        )
        assert page.locator('a[href^="javascript"]').count() == 0


def test_logged_html_cannot_run_as_a_page_of_the_server(tab: Tab, store: Store, url: str) -> None:
    run = store.runs("name like '<img%'")[0].id
    page = tab(
        f"/api/runs/{run}/files/evil.html", allowed=("sandbox", "Refused", "Content Security")
    )
    assert page.evaluate("window.hacked") is None
    assert HOSTILE[:10] in page.content().replace("&lt;", "<")


VIEWS = [
    "/", "/e/digits", "/run/{}", "/run/{}/charts", "/run/{}/media?with=previous", "/run/{}/logs", "/run/{}/system", "/run/{}/code",
    "/run/{}/history", "/compare?r={}", "/compare?r={}&tab=seeds", "/compare?r={}&tab=scatter", "/compare?r={}&tab=media", "/e/digits/trials",
    "/artifacts", "/lineage/{}", "/sql", "/reports", "/settings", "/settings?tab=trash",
]  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", VIEWS)
def test_everybody_can_use_it(tab: Tab, store: Store, path: str, scheme: str) -> None:
    """No serious finding of axe, in any view, light and dark."""
    page = tab(path.format(store.run("run-1").id), color_scheme=scheme)
    expect(page.locator("main > *").first).to_be_visible()
    page.wait_for_timeout(500)  # for what comes after the first answer
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    serious = [
        (one["id"], [node["html"][:150] for node in one["nodes"]][:4])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == [], json.dumps(serious, indent=1)


def test_the_grid_is_one_for_screen_readers(tab: Tab) -> None:
    page = tab("/e/digits?sort=name desc")
    rows(page, 8)
    grid = page.get_by_role("grid", name="runs of digits")
    assert grid.get_attribute("aria-rowcount") == "9"
    assert (
        page.get_by_role("columnheader", name="run", exact=True).get_attribute("aria-sort")
        == "descending"
    )
    grid.focus()
    page.keyboard.press("j")
    page.keyboard.press("x")
    row = page.locator("#row-1")
    expect(row).to_have_attribute("aria-selected", "true")
    assert grid.get_attribute("aria-activedescendant") == "row-1"


def test_keyboard_only(tab: Tab) -> None:
    """From the address to the second run's logs without a mouse."""
    page = tab("/")
    page.get_by_role("heading", name="Home").wait_for()
    page.keyboard.press("g")
    page.keyboard.press("r")
    rows(page, 8)
    page.keyboard.press("/")
    page.keyboard.type("name like 'run-%'")
    page.keyboard.press("Enter")
    rows(page, 6)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('role')") == "grid":
            break
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="run-4")).to_be_visible()
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent").strip() == "Logs":
            break
    page.keyboard.press("Enter")
    page.wait_for_url("**/logs")


@pytest.mark.parametrize("path", ["/", "/run/{}"])
def test_a_telephone_can_read_it(tab: Tab, store: Store, path: str) -> None:
    page = tab(path.format(store.run("run-1").id), viewport={"width": 400, "height": 800})
    expect(page.locator("h1").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    wide = page.evaluate(
        "[...document.querySelectorAll('main h1, main h2, main nav, main p')].filter(one => one.getBoundingClientRect().right > 401).length"
    )
    assert wide == 0


def test_pictures_of_curves_can_be_saved(tab: Tab, tmp_path: Path) -> None:
    page = tab("/e/digits")
    charts(page, "val/loss", 6)
    card = page.locator('[data-metric="val/loss"]')
    card.get_by_role("button", name="more").click()
    with page.expect_download() as started:
        card.get_by_text("Save as CSV").click()
    text = Path(started.value.path()).read_text()
    assert text.splitlines()[0] == "run,step,min,max"
    assert len(text.splitlines()) == 61
    card.get_by_role("button", name="more").click()
    with page.expect_download() as started:
        card.get_by_text("Save as PNG").click()
    assert Path(started.value.path()).read_bytes().startswith(b"\x89PNG")
    card.get_by_role("button", name="more").click()
    with page.expect_download() as started:
        card.get_by_text("Save as SVG").click()
    picture = ElementTree.fromstring(Path(started.value.path()).read_text())
    paths = picture.findall(".//{http://www.w3.org/2000/svg}g/{http://www.w3.org/2000/svg}path")
    assert len({path.get("stroke") for path in paths}) >= 6


def test_an_experiment_that_begins_later_appears(tab: Tab, home: Path) -> None:
    page = tab("/e/later", allowed=("404",))
    page.get_by_role("heading", name="No such experiment").wait_for()
    with runbase.start_run("later", home=home, name="begun", capture=False) as run:
        run.log({"loss": 1.0})
    page.locator('[role="rowheader"]', has_text="begun").wait_for(state="attached")
