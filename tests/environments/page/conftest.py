"""A browser, a server with runs of all kinds, and tabs that fail a test whose page does what it must not."""

import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

import runbase
from runbase.server.serve import serving
from runbase.store.store import Store

OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HOSTILE = (
    "<img src=x onerror=window.hacked=1><script>window.hacked=1</script>'\"};window.hacked=1//"
)
"""What must never run, wherever somebody logs it."""
WAIT = 60_000
"""Milliseconds for what is sure to appear."""
expect.set_options(timeout=WAIT)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    assert program is not None, "these tests need Chromium: apt install chromium"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield running
        running.close()


def train(home: Path, number: int, **options: Any) -> str:
    """Log a run of 600 steps with media; returns its id."""
    dice = np.random.default_rng(number)
    params = {
        "lr": 10.0 ** -(1 + number % 4),
        "optimizer": "adam" if number % 2 else "sgd",
        "seed": number,
    }
    with runbase.start_run("digits", home=home, params=params, capture=False, **options) as run:
        for step in range(600):
            loss = 2 * math.exp(-step / (100 + 40 * number)) + dice.normal() * 0.02
            run.log({"train/loss": loss, "epoch": step // 60}, step=step)
            if step % 60 == 59:
                run.log({"val/loss": loss + 0.1, "val/accuracy": 1 - loss / 3}, step=step)
                run.log_image(
                    "samples", dice.integers(0, 255, (16, 16, 3)).astype("uint8"), step=step
                )
                run.log_histogram("weights", dice.normal(size=200), step=step)
        run.log_table("confusion", [["cat", 0.9]], columns=["class", "precision"])
        run.log_text("said", "plain **bold**")
        return run.id


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    """Six runs, one that failed, one with hostile texts everywhere."""
    for number in range(6):
        train(home, number, name=f"run-{number}", tags={"baseline": None} if number == 0 else {})
    with (
        pytest.raises(ValueError, match="shapes"),
        runbase.start_run("digits", home=home, name="broken", capture=False) as run,
    ):
        run.log({"train/loss": float("nan")})
        raise ValueError("shapes differ")
    with runbase.start_run(
        "digits",
        home=home,
        name=HOSTILE,
        params={"x": HOSTILE, HOSTILE[:20]: 1},
        tags={"t": HOSTILE},
        notes=f"{HOSTILE}\n\n[link](javascript:window.hacked=1) <svg onload=window.hacked=1>",
        capture=False,
    ) as run:
        run.log({"train/loss": 1.0})
        run.log_text("said", HOSTILE)
        run.log_table("confusion", [[HOSTILE]], columns=[HOSTILE])
        (Path("evil.html")).write_text(f"<html>{HOSTILE}</html>")
        run.log_artifact("evil.html")
    with runbase.open(home=home) as opened:
        opened.update_experiment("digits", objectives={"val/loss": "min"})
        yield opened


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with serving(store) as address:
        yield address


@pytest.fixture
def tab(browser: Browser, url: str) -> Iterator[Callable[..., Page]]:
    """Opens tabs. At the end: no error, no refused script, no request to another origin, nothing hostile ran."""
    problems: list[str] = []
    pages: list[Page] = []

    def open_tab(path: str = "/", **options: Any) -> Page:
        allowed = options.pop("allowed", ())
        context = browser.new_context(
            **{"viewport": {"width": 1300, "height": 800}, "reduced_motion": "reduce", **options}
        )
        context.set_default_timeout(WAIT)
        page = context.new_page()

        def said(kind: str, text: str) -> None:
            if kind == "error" and not any(word in text for word in allowed):
                problems.append(text)

        page.on("console", lambda message: said(message.type, message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: (problems.append(dialog.message), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                request.url.startswith((url, "data:", "blob:"))
                or problems.append(f"request to {request.url}")
            ),
        )
        page.goto(url + path)
        pages.append(page)
        return page

    yield open_tab
    for page in pages:
        if not page.is_closed():
            assert page.evaluate("window.hacked") is None
            page.context.close()
    assert problems == []
