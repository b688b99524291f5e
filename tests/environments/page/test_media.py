"""Media of a run and of several ones: one step for all, changes against each other, images zoomed together."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

import runbase
from runbase.store.store import Store

Tab = Callable[..., Page]


@pytest.fixture
def three(store: Store, home: Path) -> list[str]:
    """Two runs whose images, tables and texts differ in what the tests look for; of one key at three steps."""
    found: list[str] = []
    for number in range(2):
        with runbase.start_run("seen", home=home, name=f"seen-{number}", capture=False) as run:
            for step in (10, 20, 30):
                shade = np.full((40, 60, 3), 60 + 100 * number, dtype="uint8")
                run.log_image("shade", shade, step=step)
                rows: list[list[object]] = [["cat", 0.5], ["owl", step / 100 + number]]
                run.log_table("scores", rows, columns=["class", "score"], step=step)
                run.log_text("said", f"same\nstep {step} of {number}\nsame too", step=step)
                run.log_histogram("weights", np.arange(5.0) * step, step=step)
            run.log_audio("tone", np.zeros(80, dtype="float32"), step=20, sample_rate=8000)
            found.append(run.id)
    store.sync()
    return found


def test_the_steps_of_a_run_by_slider_keys_and_play(tab: Tab, three: list[str]) -> None:
    page = tab(f"/run/{three[0]}/media")
    said = page.locator('[data-key="said"]')
    expect(said).to_contain_text("step 30 of 0")
    page.keyboard.press("ArrowLeft")
    expect(said).to_contain_text("step 20 of 0")
    page.wait_for_url("**step=20")
    page.get_by_role("slider", name="step").fill("0")
    expect(said).to_contain_text("step 10 of 0")
    for kind in ("shade", "scores", "weights", "tone"):
        expect(page.locator(f'[data-key="{kind}"]')).to_be_visible()
    page.get_by_role("button", name="play").click()
    expect(said).to_contain_text("step 30 of 0")
    page.get_by_label("compare with").select_option("previous")
    expect(said.locator(".removed")).to_have_text("\N{MINUS SIGN} step 20 of 0")
    expect(said.locator(".added")).to_have_text("+ step 30 of 0")
    page.wait_for_url(lambda address: "step=" not in address)  # it follows the last step again
    page.reload()
    expect(said.locator(".added")).to_have_text("+ step 30 of 0")


def test_texts_and_tables_against_the_baseline(tab: Tab, three: list[str]) -> None:
    page = tab(f"/compare?r={','.join(three)}&tab=media&step=20")
    expect(page.locator(".media-grid thead a")).to_have_text(["seen-0", "seen-1"])
    page.get_by_role("button", name="against seen-0").click()
    scores = page.locator('[data-key="scores"] > td').nth(1)
    expect(scores.locator(".removed")).to_contain_text("owl0.2")
    expect(scores.locator(".added")).to_contain_text("owl1.2")
    expect(scores.locator("tbody tr")).to_have_count(3)
    expect(page.locator('[data-key="said"]')).to_contain_text(
        "\N{MINUS SIGN} 1 of seen-0 @ 20, + 1 of seen-1 @ 20"
    )


def left_pixel(page: Page) -> int:
    """The red of the pixel at 30 % of the wiped image, as the screen shows it."""
    picture = page.locator(".wipe").screenshot()
    with Image.open(io.BytesIO(picture)) as image:
        pixel = image.convert("RGB").getpixel((int(image.width * 0.3), image.height // 4))
    assert isinstance(pixel, tuple)
    return int(pixel[0])


def test_two_images_below_a_divider_that_is_dragged_or_moved_by_keys(
    tab: Tab, three: list[str]
) -> None:
    page = tab(f"/compare?r={','.join(three)}&tab=media&how=baseline")
    divider = page.get_by_role("slider", name="divider")
    expect(divider).to_have_attribute("aria-valuenow", "50")
    page.wait_for_function(
        "() => [...document.images].every(one => one.complete && one.naturalWidth)"
    )
    assert left_pixel(page) == 60
    divider.focus()
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    expect(divider).to_have_attribute("aria-valuenow", "10")
    assert left_pixel(page) == 160
    expect(page.get_by_role("slider", name="step")).to_have_value("2")  # the keys are the divider's
    box, image = divider.bounding_box(), page.locator(".wipe").bounding_box()
    assert box is not None
    assert image is not None
    page.mouse.move(box["x"] + 2, box["y"] + 10)
    page.mouse.down()
    page.mouse.move(image["x"] + image["width"] * 0.75, box["y"] + 10, steps=3)
    page.mouse.up()
    expect(divider).to_have_attribute("aria-valuenow", "75")
    assert left_pixel(page) == 60


def test_images_are_zoomed_together(tab: Tab, three: list[str]) -> None:
    page = tab(f"/compare?r={','.join(three)}&tab=media")
    images = page.locator(".frame img")
    expect(images).to_have_count(2)
    page.keyboard.press("+")
    styles = images.evaluate_all("all => all.map(one => one.style.transform)")
    assert len(styles) == 2
    assert styles[0] == styles[1]
    assert "scale(1.5)" in styles[0]
    page.get_by_role("button", name="1.5×").click()
    assert "scale(1)" in images.evaluate_all("all => all.map(one => one.style.transform)")[1]


def test_telemetry_that_was_imported(tab: Tab, store: Store) -> None:
    """The names are those of W&B; the curves of GPUs have one scale."""
    run = store.run("run-1")
    assert run.started_at is not None
    start = run.started_at.timestamp()
    store.add_telemetry(
        run,
        [
            (start + second, f"system/{key}", factor * second)
            for second in range(10)
            for key, factor in (("gpu.0.gpu", 1.0), ("gpu.1.gpu", 10.0), ("cpu", 2.0))
        ],
    )
    page = tab(f"/run/{run.id}/system")
    gpus = page.get_by_role("region", name="GPU gpu")
    expect(gpus.locator("figcaption")).to_have_text(["GPU 0", "GPU 1"])
    expect(gpus).to_contain_text("GPU utilization, %")
    charts = gpus.locator(".chart[data-y]")
    expect(charts).to_have_count(2)
    assert len(set(charts.evaluate_all("all => all.map(one => one.dataset.y)"))) == 1
    expect(page.locator('[data-telemetry="system/cpu"]')).to_be_visible()


class VegaLite:
    """Stands for an Altair chart."""

    def __init__(self, data: dict[str, object]) -> None:
        self._data = data

    def to_dict(self) -> dict[str, object]:
        encoding = {axis: {"field": axis, "type": "quantitative"} for axis in "xy"}
        return {"data": self._data, "mark": "line", "encoding": encoding}


def test_plots_are_drawn_and_load_nothing(tab: Tab, store: Store, home: Path) -> None:
    """The policy of the page allows no compiled code, no inline style and no data of another origin."""
    import plotly.graph_objects as go

    with runbase.start_run("plots", home=home, capture=False) as run:
        run.log_plot("plotly", go.Figure(go.Scatter(y=[1, 3, 2]), layout={"title": "Hello"}), 0)
        run.log_plot("large", go.Figure(go.Scatter(y=list(np.arange(20_000.0)))), 0)
        run.log_plot("vega", VegaLite({"values": [{"x": 1, "y": 2}, {"x": 2, "y": 3}]}), 0)
        run.log_plot("elsewhere", VegaLite({"url": "https://example.org/secret.json"}), 0)
        run.log_image("pic", np.zeros((8, 8), dtype="uint8"), 0, caption="a black square")
    store.sync()
    page = tab(f"/run/{run.id}/media")
    for key in ("plotly", "large"):
        expect(page.locator(f'[data-key="{key}"] .scatterlayer path').first).to_be_attached()
    expect(page.locator('[data-key="plotly"] .gtitle')).to_have_text("Hello")
    expect(page.locator('[data-key="vega"] canvas')).to_be_visible()
    expect(page.locator('[data-key="pic"]')).to_contain_text("a black square")
    expect(page.locator('[data-key="elsewhere"]')).to_contain_text("refers to data elsewhere")
