"""Each view looks as its reference picture does; and the comparison finds what must not happen to a view."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

import runbase
from runbase.server.serve import serving
from runbase.store.store import Store

from .conftest import WAIT
from .pictures import FOLDER, Difference, fill, opened, shot, views

NAMES = ["home", "runs", "run", "compare", "trials", "artifacts", "sql", "report", "settings"]
MOST_BYTES = 60_000


@pytest.fixture(scope="module")
def pictured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, str]]:
    home = tmp_path_factory.mktemp("pictured") / ".runbase"
    fill(home)
    with runbase.open(home=home) as store, serving(store) as url:
        yield store, url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(
        color_scheme="light", reduced_motion="reduce", locale="en-GB", timezone_id="UTC"
    )
    context.set_default_timeout(WAIT)
    yield context.new_page()
    context.close()


def reference(name: str) -> Image.Image:
    return Image.open(FOLDER / f"{name}.png").convert("RGB")


@pytest.mark.parametrize("name", NAMES)
def test_a_view_looks_as_before(
    pictured: tuple[Store, str], page: Page, name: str, tmp_path: Path
) -> None:
    store, url = pictured
    path, ready = views(store)[name]
    with opened(page, url, path, ready):
        found = Difference(reference(name), shot(page))
    if not found.is_small:
        place = tmp_path / f"{name}-difference.png"
        found.save(place)
        pytest.fail(
            f"the view {name} differs from {FOLDER / name}.png: {found}; see {place}. "
            "If this is meant: python tools/page_pictures.py"
        )
    assert (FOLDER / f"{name}.png").stat().st_size <= MOST_BYTES


FONTS = """() => {
  document.documentElement.style.setProperty('--sans', 'serif');
  document.documentElement.style.setProperty('--mono', 'monospace');
  window.dispatchEvent(new Event('resize'));
}"""
NO_CHART = "() => document.querySelector('.chart canvas').remove()"
NO_COLUMN = "() => document.querySelectorAll('.list tr > :nth-child(3)').forEach(one => one.style.visibility = 'hidden')"
DARK = "() => { localStorage.setItem('theme', 'dark'); location.reload(); }"


@pytest.mark.parametrize(
    ("name", "change", "small"),
    [
        ("runs", FONTS, True),
        ("run", FONTS, True),
        ("trials", FONTS, True),
        ("runs", NO_CHART, False),
        ("report", NO_CHART, False),
        ("compare", NO_COLUMN, False),
        ("home", DARK, False),
        ("settings", DARK, False),
    ],
)
def test_the_comparison_allows_other_fonts_and_finds_faults(
    pictured: tuple[Store, str], page: Page, name: str, change: str, small: bool
) -> None:
    store, url = pictured
    path, ready = views(store)[name]
    with opened(page, url, path, ready):
        page.evaluate(change)
        ready(page)  # again: one change loads the page again
        found = Difference(reference(name), shot(page))
    assert found.is_small is small, str(found)
