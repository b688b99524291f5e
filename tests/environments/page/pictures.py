"""Pictures of each view of fixed data, and how far two pictures differ.

Another machine has other fonts, so pixels are not compared. Two measures are: the mean color of large tiles, which a wrong color
scheme changes; and blocks with something drawn in one picture and nothing near them in the other one, which a missing chart or a
broken column leaves.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect

import runbase
from runbase.space import Float, Int
from runbase.store.store import Store

from .conftest import train

FOLDER = Path(__file__).with_name("references")
SIZE = (1000, 650)
COLORS = 64
BLOCK = 10
"""Pixels of the side of a block."""
NEAR = 2
"""Blocks by which other fonts move what is drawn."""
CONTRAST = 40
"""Range of brightness (of 255) in a block from which on something is drawn in it."""
TILE = 50
"""Pixels of the side of a tile whose mean color is compared."""
WINDOW = (10, 15)
"""Blocks, down and across, of the window in which unmatched blocks are counted."""
MOST_UNMATCHED = 24
"""Unmatched blocks that a window may have."""
MOST_COLOR = 0.06
"""Mean difference of the colors of tiles; 1 is black against white."""
YIQ = np.array(
    [
        [0.29889531, 0.58662247, 0.11448223],
        [0.59597799, -0.27417610, -0.32180189],
        [0.21147017, -0.52261711, 0.31114694],
    ]
)
WEIGHTS = np.array([0.5053, 0.299, 0.1957])
GREATEST = 35215.0
"""The square of the distance of black and white in YIQ, as pixelmatch weights it."""
ANONYMOUS = """() => document.querySelectorAll('.pairs tr').forEach(row => {
  if (/^(machine|user)$/.test(row.cells[0].textContent)) row.cells[1].textContent = 'ada';
})"""
"""Replaces what tells of the machine."""
Pixels = NDArray[np.float64]
Blocks = NDArray[np.bool_]
QUERY = "select name, seconds, number from run_summary where experiment = 'digits' order by number"
REPORT = (
    "# Losses\n\nThe runs of **digits**.\n\n```runbase\ncurves: val/loss\nexperiment: digits\n```\n"
)


class Difference:
    """How far a picture is from its reference.

    Attributes:
        color: the mean difference of the colors of tiles, from 0 to 1.
        unmatched: blocks in which only one of the pictures has something.
        worst: the greatest number of them in a window.
    """

    def __init__(self, reference: Image.Image, picture: Image.Image) -> None:
        first, second = _pixels(reference), _pixels(picture)
        apart = ((_means(first) - _means(second)) @ YIQ.T) ** 2 @ WEIGHTS
        self.color = float(np.sqrt(apart / GREATEST).mean())
        one, two = _drawn(first), _drawn(second)
        self.unmatched = (one & ~_grown(two)) | (two & ~_grown(one))
        self.worst = _most_in_a_window(self.unmatched)
        self._pictures = reference.convert("RGB"), picture.convert("RGB")

    @property
    def is_small(self) -> bool:
        """Whether the pictures show the same."""
        return self.color <= MOST_COLOR and self.worst <= MOST_UNMATCHED

    def __str__(self) -> str:
        return (
            f"colors differ by {self.color:.3f} (at most {MOST_COLOR}), and {self.worst} blocks of a window of "
            f"{WINDOW[0] * WINDOW[1]} are drawn in one of them only (at most {MOST_UNMATCHED})"
        )

    def save(self, path: Path) -> None:
        """Save the reference, the picture, and where they differ, from top to bottom."""
        width, height = SIZE
        marks = np.kron(self.unmatched, np.ones((BLOCK, BLOCK), dtype=bool))
        faded = np.asarray(self._pictures[1]).astype(np.float64) * 0.4 + 150
        faded[marks] = (220, 20, 60)
        whole = Image.new("RGB", (width, height * 3))
        for place, part in enumerate(
            (*self._pictures, Image.fromarray(faded.clip(0, 255).astype(np.uint8)))
        ):
            whole.paste(part, (0, place * height))
        whole.save(path)


def _pixels(picture: Image.Image) -> Pixels:
    assert picture.size == SIZE, picture.size
    return np.asarray(picture.convert("RGB"), dtype=np.float64)


def _means(pixels: Pixels) -> Pixels:
    rows, columns = pixels.shape[0] // TILE, pixels.shape[1] // TILE
    return pixels.reshape(rows, TILE, columns, TILE, 3).mean(axis=(1, 3))


def _drawn(pixels: Pixels) -> Blocks:
    """Return the blocks in which something is drawn."""
    rows, columns = pixels.shape[0] // BLOCK, pixels.shape[1] // BLOCK
    bright = (pixels @ YIQ[0]).reshape(rows, BLOCK, columns, BLOCK)
    return bright.max(axis=(1, 3)) - bright.min(axis=(1, 3)) > CONTRAST


def _grown(blocks: Blocks) -> Blocks:
    """Return the blocks, and those near to them."""
    padded = np.pad(blocks, NEAR)
    side = 2 * NEAR + 1
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side)).any(axis=(2, 3))


def _most_in_a_window(blocks: Blocks) -> int:
    return int(np.lib.stride_tricks.sliding_window_view(blocks, WINDOW).sum(axis=(2, 3)).max())


# The data and the views


def fill(home: Path) -> None:
    """Log runs with fixed values, and run a search over a fixed grid."""
    for number in range(5):
        train(home, number, name=f"run-{number}")
    with runbase.open(home=home) as store:
        store.update_experiment("digits", objectives={"val/loss": "min"})
        space = {"lr": Float(1e-4, 1.0, log=True), "width": Int(10, 50)}
        search = store.create_experiment("search", objectives={"loss": "min"}, space=space)
        for exponent in range(-4, 1):
            for width in range(10, 60, 10):
                search.new_trials([{"lr": 10.0**exponent, "width": width}])
                trial = search.claim_trial("node1")
                assert trial is not None
                loss = (exponent + 2) ** 2 + ((width - 30) / 10) ** 2
                trial.finish("COMPLETED", metrics={"loss": loss})
        store.storage.put_document("report", "Losses", "ada", {"text": REPORT}, None)


def views(store: Store) -> dict[str, tuple[str, Callable[[Page], None]]]:
    """Return view → its path, and what waits until all of it is there."""
    ids = {run.name: run.id for run in store.runs(experiment="digits")}
    two = ",".join(ids[name] for name in ("run-1", "run-2"))
    (report,) = store.storage.documents("report", None)
    return {
        "home": ("/", _text("h2", "Experiments")),
        "runs": ("/e/digits", _curves(2)),
        "run": (f"/run/{ids['run-1']}", _text("h2", "Metrics")),
        "compare": (f"/compare?r={two}", _text("th", "parameters")),
        "trials": ("/e/search/trials", _text("h2", "Best trials")),
        "artifacts": ("/artifacts", _text("h1", "Artifacts")),
        "sql": (f"/sql?q={QUERY}", _text(".soft", "5 rows")),
        "report": (f"/report/{report.id}", _curves(1)),
        "settings": ("/settings", _text("h1", "Settings")),
    }


def _text(selector: str, text: str) -> Callable[[Page], None]:
    return lambda page: page.locator(selector).filter(has_text=text).first.wait_for()


def _curves(count: int) -> Callable[[Page], None]:
    """Wait until so many charts are drawn."""

    def wait(page: Page) -> None:
        expect(page.locator('.chart[data-curves]:not([data-curves="0"])')).to_have_count(count)

    return wait


def shot(page: Page) -> Image.Image:
    """Return a picture of the page once it does not change any more."""
    last = b""
    for _ in range(40):
        page.wait_for_timeout(250)  # two equal pictures in a row: nothing is drawn any more
        now = page.screenshot(animations="disabled", caret="hide")
        if now == last:
            break
        last = now
    return Image.open(io.BytesIO(last)).convert("RGB")


@contextmanager
def opened(page: Page, url: str, path: str, ready: Callable[[Page], None]) -> Iterator[Page]:
    """Open a view in a tab of the size of the pictures."""
    page.set_viewport_size({"width": SIZE[0], "height": SIZE[1]})
    page.goto(url + path)
    ready(page)
    page.evaluate(ANONYMOUS)
    page.mouse.move(SIZE[0] - 2, SIZE[1] - 2)
    yield page
