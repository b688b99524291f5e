"""Draws the pictures of the web page for `tools/pictures.py`, in Chromium.

`python tools/page_pictures.py` draws the pictures with which tests/environments/page compares the views.

The runs are those of the tutorial. This module adds a small search with fixed parameters and seeds, a run that was lost, an active run
and a report, so that a picture that is drawn again shows the same content.
"""

import io
import math
import random
import shutil
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

import numpy as np
from playwright.sync_api import Page, expect, sync_playwright

import runbase
from runbase.server.page import is_built
from runbase.server.serve import serving
from runbase.space import Categorical, Float, Int
from runbase.store.store import Store
from runbase.trials.experiment import Experiment

SIZE = {"width": 1300, "height": 800}
COLORS = 256
OPTIONS = ["--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking"]
SEARCH = "search"
TRIALS = 60
RUNNERS = ("node1", "node2", "node3")
QUERY = """select r.name, min(m.step) as step
from metrics m join run_summary r on r.id = m.run_id
where r.experiment = 'digits' and m.key = 'val/accuracy' and m.value >= 0.9
group by r.name
order by step"""
REPORT = """# Width of the hidden layer

Wider networks reach a lower loss. At a width of 128, a higher learning rate brings the same loss in a third of the steps.

```runbase
curves: val/loss
experiment: digits
y: log
```

```runbase
table: name, params.hidden, params.lr, metrics."val/loss", metrics."val/accuracy"
experiment: digits
sort: metrics."val/loss"
```
"""
ANONYMOUS = """() => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    texts.currentNode.data = texts.currentNode.data
      .replace(/^\\S+, process \\d+$/, "laptop, process 4711")
      .replace(/^process \\d+ on \\S+/, "process 4711 on laptop")
      .replace(/: process \\d+ on \\S+/, ": process 4711 on laptop");
  }
}"""
"""Replaces what differs on each machine."""

Prepare = Callable[[Page], None]
Params = dict[str, float | int | str]


def can_draw() -> bool:
    """Return whether the page is built and there is a browser."""
    return is_built() and _browser() is not None


def draw(home: Path, write: Callable[[str, bytes], None]) -> None:
    """Draw the pictures of the page.

    Args:
        home: the home of the tutorial's runs; runs are added to it.
        write: called with the name and the bytes of each picture.
    """
    with runbase.open(home=home) as store:
        _search(store)
        store.sync()
        with _active(home), serving(store) as url, _tab() as tab:
            for name, (path, prepare) in _pictures(store, url, tab).items():
                tab.goto(url + path)
                prepare(tab)
                tab.evaluate(ANONYMOUS)
                write(f"page-{name}.png", reduced(tab.screenshot()))


def _pictures(store: Store, url: str, tab: Page) -> dict[str, tuple[str, Prepare]]:
    """Return picture → path of the page, and what is done before the picture is taken."""
    ids = {run.name: run.id for run in store.runs()}
    three = ",".join(ids[name] for name in ("medium", "wide", "wide-fast"))
    best = store.runs("status = 'COMPLETED'", experiment=SEARCH, order_by='metrics."val/loss"')
    trials = ",".join(run.id for run in best)
    body = {"kind": "report", "name": "Width", "body": {"text": REPORT}}
    report = tab.request.post(f"{url}/api/documents", data=body).json()["id"]
    return {
        "home": ("/", _shows("h2", "Experiments")),
        "runs": (f"/e/digits?sel={three}", _point_at_curves),
        "run": (f"/run/{ids['wide']}", _shows("h2", "Metrics")),
        "compare": (f"/compare?r={three}", _shows("th", "parameters")),
        "parallel": (f"/compare?r={trials}&tab=parallel", _choose_trials),
        "trials": (f"/e/{SEARCH}/trials", _shows("h2", "Timeline")),
        "sql": (f"/sql?q={quote(QUERY)}", _run_query),
        "report": (f"/report/{report}?edit=1", _shows(".paper", "Wider networks")),
    }


def _shows(selector: str, text: str) -> Prepare:
    """Return a function that waits for a text, and for the curves of all charts."""

    def prepare(tab: Page) -> None:
        tab.locator(selector).filter(has_text=text).first.wait_for()
        _wait_for_curves(tab)

    return prepare


def _wait_for_curves(tab: Page) -> None:
    """Wait until the charts and sparks on the screen are drawn: nothing is asked for any more."""
    expect(tab.locator('.chart[data-curves="0"]')).to_have_count(0)
    tab.wait_for_timeout(400)  # the sparks of a table have no mark of their own


def _point_at_curves(tab: Page) -> None:
    """Hold the pointer over a chart, so that the values at the cursor are shown."""
    _wait_for_curves(tab)
    box = tab.locator('[data-metric="val/loss"] .chart').bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + box["height"] * 0.5)
    tab.locator(".readout").first.wait_for()


def _choose_trials(tab: Page) -> None:
    """Drag along the axis of the accuracy, so that the best trials are kept."""
    plot = tab.locator(".parallel")
    plot.wait_for()
    box = plot.bounding_box()
    assert box is not None
    right = box["x"] + box["width"] - 60
    tab.mouse.move(right, box["y"] + 48)
    tab.mouse.down()
    tab.mouse.move(right, box["y"] + 85, steps=4)
    tab.mouse.up()
    tab.mouse.move(box["x"] + 5, box["y"] + 5)


def _run_query(tab: Page) -> None:
    tab.locator("textarea").press("Control+Enter")
    tab.get_by_text("3 rows").wait_for()
    tab.locator(".result-chart select").first.select_option("bars")


@contextmanager
def _tab() -> Generator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_browser(), args=OPTIONS)
        context = browser.new_context(
            viewport=SIZE, color_scheme="light", reduced_motion="reduce", locale="en-GB"
        )
        yield context.new_page()
        browser.close()


def _browser() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


def _search(store: Store) -> None:
    """Run a search with fixed parameters: three runners, one failed trial, some that wait."""
    dice = random.Random(7)
    experiment = store.create_experiment(
        SEARCH,
        objectives={"val/loss": "min"},
        space={
            "lr": Float(1e-5, 1e-1, log=True),
            "width": Int(16, 512),
            "dropout": Float(0, 0.6),
            "optimizer": Categorical(["adam", "sgd"]),
        },
    )
    _queue(experiment, [_params(dice, number / TRIALS) for number in range(TRIALS)], 1)
    with ThreadPoolExecutor(len(RUNNERS)) as pool:
        for _ in pool.map(lambda runner: _work(store, runner), RUNNERS):
            pass
    _queue(experiment, [_params(dice, 1) for _ in range(5)], TRIALS + 1)


def _queue(experiment: Experiment, params: list[Params], first: int) -> None:
    names = [f"trial-{number}" for number in range(first, first + len(params))]
    experiment.new_trials(params, names=names)


def _params(dice: random.Random, closeness: float) -> Params:
    """Return parameters: the later a trial, the closer to the best ones, as samplers do."""
    spread = 1.1 - closeness
    return {
        "lr": float(f"{10 ** (-2.6 + dice.gauss(0, 0.9 * spread)):.2g}"),
        "width": min(max(round(2 ** (7 + dice.gauss(0, 1.4 * spread))), 16), 512),
        "dropout": round(min(abs(dice.gauss(0.2, 0.2 * spread)), 0.6), 2),
        "optimizer": "adam" if dice.random() < 0.5 + closeness / 2.5 else "sgd",
    }


def _work(store: Store, runner: str) -> None:
    """Claim trials until none is left."""
    while True:
        trial = store.experiment(SEARCH).claim_trial(runner, lease=600)
        if trial is None:
            return
        loss = _loss(trial.params, trial.number)
        time.sleep(0.02 + 0.0002 * float(trial.params["width"]))
        if loss > 1.6:
            trial.finish("FAILED", error="ValueError: the loss is not a number")
        else:
            trial.finish("COMPLETED", metrics={"val/loss": loss, "val/accuracy": math.exp(-loss)})


def _loss(params: dict[str, float], number: int) -> float:
    """Return a loss with one minimum, in which the learning rate counts most."""
    away = (
        0.5 * (math.log10(params["lr"]) + 2.6) ** 2 + 0.03 * (math.log2(params["width"]) - 7) ** 2
    )
    away += (params["dropout"] - 0.2) ** 2 + (0 if params["optimizer"] == "adam" else 0.12)
    return round(0.08 + away + random.Random(number).uniform(0, 0.03), 4)


@contextmanager
def _active(home: Path) -> Generator[None]:
    """Keep a run active during a block."""
    with runbase.start_run("pretrain", name="nightly", home=home, capture=False) as run:
        for step in range(200):
            run.log({"train/loss": 2 * math.exp(-step / 80)}, step=step, progress=step / 500)
        run.flush()
        yield


def reduced(picture: bytes, most: int = COLORS) -> bytes:
    """Return a picture as PNG with its most frequent colors, so that areas of one color stay exact."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as image:
        pixels = np.asarray(image.convert("RGB"), dtype=np.int64)
    codes = (pixels << np.array([16, 8, 0])).sum(axis=2)
    found, places, counts = np.unique(codes, return_inverse=True, return_counts=True)
    colors = found[:, None] >> np.array([16, 8, 0]) & 255
    kept = colors[np.argsort(counts)[::-1][:most]]
    nearest = ((colors[:, None] - kept) ** 2).sum(axis=2).argmin(axis=1).astype(np.uint8)
    reduced = Image.fromarray(nearest[places].reshape(codes.shape))
    reduced.putpalette(kept.astype(np.uint8).tobytes())
    out = io.BytesIO()
    reduced.save(out, "PNG", optimize=True)
    return out.getvalue()


def renew() -> None:
    """Draw the pictures with which the tests compare the views."""
    from tests.environments.page import pictures

    with TemporaryDirectory() as folder, _tab() as tab:
        pictures.fill(Path(folder) / ".runbase")
        with runbase.open(home=Path(folder) / ".runbase") as store, serving(store) as url:
            for name, (path, ready) in pictures.views(store).items():
                with pictures.opened(tab, url, path, ready):
                    out = io.BytesIO()
                    pictures.shot(tab).save(out, "PNG")
                target = pictures.FOLDER / f"{name}.png"
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(reduced(out.getvalue(), pictures.COLORS))
                print(f"wrote {target.relative_to(Path.cwd())}, {target.stat().st_size} bytes")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # for `tests`
    renew()
