"""The page in Chromium: how soon it shows what it is asked for, beside its budgets and beside Trackio and MLflow.

`make bench-page` prints the tables. Peers run in environments of their own (see `peers`), with the same 200 runs of 6 metrics and
500 steps. Times include the browser's software rendering.
"""

import os
import random
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import urllib3
from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console
from rich.table import Table

import runbase
from benchmarks import peers
from benchmarks.growth import clone, long_curve
from benchmarks.stores import deliveries, fill
from runbase.server.serve import free_port, serving

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
Row = tuple[str, str, float, float | None]
ROUNDS = 5
SAME = 200, 6, 500
"""Runs, metrics and steps that all systems show."""
ROWS_READY = "() => document.querySelector('.grid [role=row][data-run]:not([data-run=\"\"])')"
DRAWN = "count => [...document.querySelectorAll('.chart')].some(one => Number(one.dataset.curves) >= count)"
TWO_FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
SCROLL = """async () => {
  const grid = document.querySelector('.grid'), times = [];
  let last = performance.now();
  for (let turn = 0; turn < 200; turn++) {
    grid.scrollTop += 397; grid.scrollLeft = (turn * 53) % 3000;
    await new Promise(done => requestAnimationFrame(done));
    const now = performance.now(); times.push(now - last); last = now;
  }
  return times.sort((a, b) => a - b)[190];
}"""


class Tab:
    """A fresh tab with a size and a count of what it loads."""

    def __init__(self, browser: Browser) -> None:
        self.context = browser.new_context(viewport={"width": 1400, "height": 860})
        self.page: Page = self.context.new_page()
        self.bytes = self.requests = 0
        session = self.context.new_cdp_session(self.page)
        session.send("Network.enable")
        session.on("Network.loadingFinished", self._loaded)
        session.on("Network.dataReceived", self._streamed)
        self.streamed = 0

    def _loaded(self, event: Any) -> None:
        self.requests += 1
        self.bytes += int(event["encodedDataLength"])

    def _streamed(self, event: Any) -> None:
        self.streamed += int(event["encodedDataLength"])


@contextmanager
def tab(browser: Browser) -> Iterator[Tab]:
    """Open a tab during a block."""
    opened = Tab(browser)
    opened.page.set_default_timeout(300_000)
    try:
        yield opened
    finally:
        opened.context.close()


def until(browser: Browser, url: str, ready: Callable[[Page], Any]) -> tuple[float, float]:
    """Milliseconds from the address to what is waited for, and kilobytes until then: medians of fresh tabs."""
    took, loaded = [], []
    for _ in range(ROUNDS):
        with tab(browser) as one:
            began = time.perf_counter()
            one.page.goto(url)
            ready(one.page)
            took.append((time.perf_counter() - began) * 1e3)
            loaded.append(one.bytes / 1e3)
    return statistics.median(took), statistics.median(loaded)


def rows(page: Page) -> None:
    """Wait until the table shows rows."""
    page.wait_for_function(ROWS_READY)


def drawn(count: int) -> Callable[[Page], None]:
    """Wait until a chart has so many curves."""
    return lambda page: page.wait_for_function(DRAWN, arg=count)  # type: ignore[return-value]


def same_runs(home: Path) -> None:
    """The runs that all systems show."""
    runs, metrics, steps = SAME
    with runbase.open(home=home) as store:
        fill(store, deliveries(runs, params=20, metrics=metrics, steps=steps))


def ours(browser: Browser, folder: Path) -> Iterator[Row]:
    """The budgets of the page."""
    with runbase.open(home=folder / "same") as store, serving(store) as url:
        took, loaded = until(browser, f"{url}/runs", rows)
        yield "open, 200 runs: rows visible", "ms", took, 250.0
        yield "open, 200 runs: loaded", "kB", loaded, None
        run = store.runs(limit=1)[0].id
        took, _ = until(
            browser, f"{url}/run/{run}", lambda page: page.wait_for_selector("table.list")
        )
        yield "one run", "ms", took, 200.0
        took, loaded = until(browser, f"{url}/runs?n=50", drawn(50))
        yield "50 curves × 500 points, from the address to drawn", "ms", took, None
    with runbase.open(home=folder / "many") as store:
        fill(store, deliveries(1000, params=120, metrics=80))
        clone(store, range(1, 10))
        keys = [f"params.p{n}" for n in range(120)] + [f"metrics.m{n}" for n in range(80)]
        with serving(store) as url:
            took, _ = until(browser, f"{url}/runs", rows)
            yield "open, 10,000 runs: rows visible", "ms", took, 400.0
            with tab(browser) as one:
                one.page.goto(f"{url}/runs?cols=name~{'~'.join(keys)}")
                rows(one.page)
                one.page.wait_for_timeout(3000)
                yield (
                    "scroll 10,000 × 200: 95 % of frames within",
                    "ms",
                    one.page.evaluate(SCROLL),
                    17.0,
                )
                one.page.wait_for_timeout(2000)
                before = one.streamed
                one.page.wait_for_timeout(20_000)
                yield "idle: received a second", "B", (one.streamed - before) / 20, 10.0
    with runbase.open(home=folder / "long") as store:
        for _ in range(100):
            long_curve(store, 1_000_000)
        with serving(store) as url:
            took, _ = until(browser, f"{url}/runs?n=100", drawn(100))
            yield "100 curves × 1,000,000 points: open to drawn", "ms", took, 500.0
            zooms: list[float] = []
            with tab(browser) as one:
                one.page.goto(f"{url}/runs?n=100")
                drawn(100)(one.page)
                for turn in range(ROUNDS):
                    one.page.wait_for_timeout(500)
                    start = 100_000 * (turn + 1)
                    began = time.perf_counter()
                    with one.page.expect_response(lambda answer: "/api/curves" in answer.url):
                        one.page.evaluate(
                            "range => { history.pushState(null, '', location.pathname + range); dispatchEvent(new PopStateEvent('popstate')); }",
                            f"?n=100&range={start}~{start + 100_000}",
                        )
                    one.page.evaluate(TWO_FRAMES)
                    zooms.append((time.perf_counter() - began) * 1e3)
            yield "zoom to 100,000 of them: drawn", "ms", statistics.median(zooms), 250.0


def live(browser: Browser, folder: Path) -> Iterator[Row]:
    """Bytes a second while 100 runs log once a second."""
    home = folder / "live"
    os.environ["RUNBASE_SYSTEM_METRICS"] = "false"  # only what the runs log
    with runbase.open(home=home) as store, serving(store) as url:
        runs = [
            runbase.start_run("live", home=home, name=f"live-{n}", capture=False)
            for n in range(100)
        ]
        stop, dice = threading.Event(), random.Random(0)

        def work() -> None:
            step = 0
            while not stop.wait(1.0):
                for run in runs:
                    run.log({"loss": dice.random()}, step=step)
                step += 1

        thread = threading.Thread(target=work)
        thread.start()
        with tab(browser) as one:
            one.page.goto(f"{url}/e/live?n=10")
            rows(one.page)
            one.page.wait_for_timeout(5000)
            before = one.streamed
            one.page.wait_for_timeout(20_000)
            yield (
                "live, 100 runs at 1 Hz: received a second",
                "kB",
                (one.streamed - before) / 20e3,
                1.0,
            )
        stop.set()
        thread.join()
        for run in runs:
            run.finish()


MLFLOW = """
import sys, random, mlflow
from mlflow.entities import Metric, Param
mlflow.set_tracking_uri(sys.argv[1])
client, dice = mlflow.MlflowClient(), random.Random(0)
for n in range(200):
    run = client.create_run("0", run_name=f"run-{n}").info.run_id
    client.log_batch(run, params=[Param(f"p{k}", str(dice.random())) for k in range(20)])
    for k in range(6):
        client.log_batch(run, metrics=[Metric(f"m{k}", dice.random(), 1700000000000 + s, s) for s in range(500)])
    client.set_terminated(run)
"""
TRACKIO = """
import random, trackio
dice = random.Random(0)
for n in range(200):
    trackio.init(project="same", name=f"run-{n}", config={f"p{k}": dice.random() for k in range(20)})
    for s in range(500):
        trackio.log({f"m{k}": dice.random() for k in range(6)}, step=s)
    trackio.finish()
"""


@contextmanager
def server_of(command: list[str], url: str, environ: dict[str, str]) -> Iterator[str]:
    """Run a peer's server during a block."""
    process = subprocess.Popen(
        command,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 180
    try:
        while time.monotonic() < deadline:
            with suppress(urllib3.exceptions.HTTPError):
                urllib3.request("GET", url, retries=False, timeout=2)
                break
            time.sleep(0.2)
        yield url
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def of_peer(name: str, browser: Browser, folder: Path) -> Iterator[tuple[str, str, float]]:
    """The first view of a peer with the same runs."""
    python = peers.python(name)
    if python is None:
        return
    folder.mkdir()
    port = free_port(47000, 1000)
    url = f"http://127.0.0.1:{port}"
    environ = {
        **os.environ,
        "TRACKIO_DIR": str(folder),
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_ANALYTICS_ENABLED": "0",
    }
    if name.startswith("mlflow"):
        database = f"sqlite:///{folder}/m.db"
        subprocess.run(
            [python, "-c", MLFLOW, database], check=True, cwd=folder, capture_output=True
        )
        command = [
            str(python),
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            database,
            "--port",
            str(port),
        ]
        address = f"{url}/#/experiments/0/runs"
    else:
        subprocess.run(
            [python, "-c", TRACKIO], check=True, cwd=folder, env=environ, capture_output=True
        )
        command = [
            str(python),
            "-c",
            "import trackio; trackio.show(project='same', open_browser=False, block_thread=True)",
        ]
        address = url
    with server_of(command, url, environ):
        took, loaded = [], []
        for _ in range(3):
            with tab(browser) as one:
                began = time.perf_counter()
                one.page.goto(address)
                one.page.get_by_text("run-1", exact=False).first.wait_for(timeout=180_000)
                took.append((time.perf_counter() - began) * 1e3)
                one.page.wait_for_timeout(5000)
                loaded.append(one.bytes / 1e3)
        yield name, "ms", statistics.median(took)
        yield f"{name}: loaded in 5 more seconds", "kB", statistics.median(loaded)


def report() -> None:
    """Print the tables."""
    console = Console()
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("this benchmark needs Chromium: apt install chromium")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        same_runs(folder / "same")
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        table = Table("the page", "unit", "measured", "budget")
        for what, unit, figure, budget in chain(ours(browser, folder), live(browser, folder)):
            console.print(f"{what}: {figure:.1f} {unit}", style="dim")
            table.add_row(what, unit, f"{figure:,.1f}", "" if budget is None else f"{budget:,.0f}")
        console.print(table)
        beside = Table("200 runs × 6 metrics × 500 steps", "unit", "measured")
        with runbase.open(home=folder / "same") as store, serving(store) as url:
            took, loaded = until(browser, f"{url}/runs", rows)
            beside.add_row("runbase: first run visible", "ms", f"{took:,.0f}")
            beside.add_row("runbase: loaded", "kB", f"{loaded:,.0f}")
        for peer in ("trackio", "mlflow (SQLite)"):
            try:
                for what, unit, figure in of_peer(peer, browser, folder / peer.split()[0]):
                    beside.add_row(what, unit, f"{figure:,.0f}")
            except (subprocess.CalledProcessError, OSError) as error:
                console.print(f"{peer}: {error}", style="red")
        console.print(beside)
        browser.close()


if __name__ == "__main__":
    report()
