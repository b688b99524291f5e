"""What people do with the page, in a real browser."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect

from runbase.server.options import ServerOptions
from runbase.server.serve import free_port, serving
from runbase.store.store import Store

from .conftest import WAIT

Tab = Callable[..., Page]
Script = Callable[..., "subprocess.Popen[str]"]


def names(page: Page) -> list[str]:
    """The names in the rows that the grid shows."""
    return page.locator('[role=rowheader][data-column="name"]').all_inner_texts()


def rows(page: Page, count: int) -> None:
    expect(page.locator('.grid [role=row][data-run]:not([data-run=""])')).to_have_count(
        count, timeout=WAIT
    )


def charts(page: Page, metric: str, count: int) -> None:
    """Wait until a chart shows so many curves."""
    expect(page.locator(f'[data-metric="{metric}"] .chart')).to_have_attribute(
        "data-curves", str(count), timeout=WAIT
    )


def test_filter_sort_select_compare_and_share(tab: Tab, url: str) -> None:
    page = tab("/e/digits")
    rows(page, 8)
    charts(page, "val/loss", 6)
    page.keyboard.press("/")
    page.keyboard.type("params.optimizer = 'adam'")
    page.keyboard.press("Enter")
    rows(page, 3)
    charts(page, "val/loss", 3)
    page.locator(".grid").focus()
    page.mouse.click(300, 62)  # a header
    page.wait_for_url("**sort=status**")
    for key in ("x", "j", "x"):
        page.keyboard.press(key)
    expect(page.get_by_text("2 selected").first).to_be_visible()
    shared = page.url
    page.keyboard.press("c")
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()
    expect(page.locator(".compare .badge")).to_have_text("baseline")
    other = tab(shared.removeprefix(url))
    rows(other, 3)
    expect(other.get_by_text("2 selected").first).to_be_visible()
    assert sorted(names(other)) == ["run-1", "run-3", "run-5"]


def test_every_change_of_view_can_be_undone(tab: Tab) -> None:
    page = tab("/e/digits")
    rows(page, 8)
    field = page.get_by_role("combobox", name="filter")
    field.fill("name like 'run-%'")
    field.press("Enter")
    rows(page, 6)
    page.locator('select:has(option[value="relative"])').select_option("relative")
    page.get_by_role("link", name="Home").click()
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    page.go_back()
    rows(page, 6)
    page.wait_for_url("**x=relative**")
    page.go_back()
    page.wait_for_url("**/digits?q=*%27")
    page.go_back()
    rows(page, 8)
    expect(field).to_have_value("")


def test_an_error_in_the_filter_is_marked_and_mended(tab: Tab) -> None:
    page = tab("/e/digits", allowed=("400",))
    rows(page, 8)
    field = page.get_by_role("combobox", name="filter")
    field.fill("stauts = 'COMPLETED'")
    field.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("stauts")
    assert page.locator(".under mark").inner_text() == "stauts"
    rows(page, 8)  # what was there stays
    page.get_by_role("button", name="use status").click()
    rows(page, 7)


def test_the_filter_completes_keys_and_states(tab: Tab) -> None:
    page = tab("/e/digits")
    rows(page, 8)
    page.keyboard.press("/")
    field = page.get_by_role("combobox", name="filter")
    page.keyboard.type("metrics.val/l")
    expect(page.locator("#filter-options").get_by_text("val/loss")).to_be_visible()
    page.keyboard.press("Tab")
    expect(field).to_have_value('metrics."val/loss" ')
    page.keyboard.type("< 5 and status = ")
    expect(page.locator("#filter-options").get_by_text("COMPLETED")).to_be_visible()
    page.keyboard.type("'COM")
    page.keyboard.press("Tab")
    expect(field).to_have_value("metrics.\"val/loss\" < 5 and status = 'COMPLETED' ")
    page.keyboard.press("Enter")
    rows(page, 6)


def test_nothing_matches_and_why(tab: Tab) -> None:
    page = tab("/e/digits?q=params.lr > 100 and status = 'COMPLETED'")
    expect(page.get_by_role("heading", name="No run matches")).to_be_visible()
    page.get_by_role("button", name="remove this part").click()
    rows(page, 7)


FOREVER = """
import sys, time, runbase
run = runbase.start_run("digits", home=sys.argv[1], name="alive", capture=False)
for step in range(10**9):
    run.log({"val/loss": 1 / (step + 1)}, step=step)
    time.sleep(0.05)
"""


def test_a_run_appears_grows_and_is_lost(tab: Tab, home: Path, script: Script) -> None:
    page = tab("/e/digits")
    charts(page, "val/loss", 6)
    process = script(FOREVER, str(home))
    rows(page, 9)
    assert names(page)[0] == "alive"
    charts(page, "val/loss", 7)
    right = page.locator('[data-metric="val/loss"] .chart').get_attribute("data-x")
    assert right == "0,599"
    page.get_by_role("row").filter(has_text="alive").first.wait_for(state="attached")
    page.mouse.click(150, 90)  # its name
    expect(page.get_by_role("heading", name="alive")).to_be_visible()
    page.get_by_role("link", name="Charts").click()
    chart = page.locator('[data-metric="val/loss"] .chart')
    first = str(chart.get_attribute("data-x"))
    expect(chart).not_to_have_attribute("data-x", first, timeout=WAIT)
    process.send_signal(signal.SIGKILL)
    expect(page.locator(".status").first).to_contain_text("lost", timeout=WAIT)
    expect(page.locator(".status").first).to_contain_text("seen")
    page.get_by_role("link", name="Overview").click()
    lost = page.get_by_role("region", name="lost")
    expect(lost).to_contain_text("exited without closing the run")
    expect(lost).to_contain_text('runbase.start_run(resume="alive")')


def test_a_restart_of_the_server_keeps_the_screen(browser: Browser, store: Store) -> None:
    port = free_port(46100, 500)
    context = browser.new_context()
    context.set_default_timeout(WAIT)
    page = context.new_page()
    with serving(store, ServerOptions(port=port)) as address:
        page.goto(f"{address}/e/digits")
        rows(page, 8)
    page.get_by_role("combobox", name="filter").fill("name = 'run-1'")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The server does not answer")).to_be_visible()
    rows(page, 8)
    with serving(store, ServerOptions(port=port)):
        rows(page, 1)
        expect(page.get_by_text("The server does not answer")).to_have_count(0)
    context.close()


def test_deleted_runs_come_back(tab: Tab, store: Store) -> None:
    page = tab("/e/digits?q=name like 'run-%'")
    rows(page, 6)
    page.locator(".grid").focus()
    page.keyboard.press("x")
    page.keyboard.press("Delete")
    rows(page, 5)
    page.get_by_role("button", name="undo").click()
    rows(page, 6)


def test_edit_name_notes_and_tags_of_a_run(tab: Tab, store: Store) -> None:
    run = store.run("run-2")
    page = tab(f"/run/{run.id}")
    page.get_by_role("button", name="edit").click()
    page.get_by_label("notes, in Markdown").fill("# Seen\n\n*fine*")
    page.get_by_role("button", name="save").click()
    expect(page.get_by_role("heading", name="Seen")).to_be_visible()
    page.get_by_label("add a tag").fill("good=yes")
    page.keyboard.press("Enter")
    expect(page.get_by_text("good=yes")).to_be_visible()
    page.get_by_title("rename").click()
    page.get_by_label("name of the run").fill("renamed")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="renamed")).to_be_visible()
    changed = store.run(run.id)
    assert (changed.name, changed.notes, changed.tags) == (
        "renamed",
        "# Seen\n\n*fine*",
        {"good": "yes"},
    )


def test_queries_and_their_charts(tab: Tab) -> None:
    page = tab("/sql")
    page.get_by_label("query").fill("select name, seconds, number from run_summary order by number")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".results [role=row][data-run]")).to_have_count(8)
    page.get_by_label("chart").select_option("bars")
    expect(page.locator(".result-chart .bars tr")).to_have_count(8)


def test_a_query_with_an_error_says_so(tab: Tab) -> None:
    page = tab("/sql", allowed=("400",))
    page.get_by_label("query").fill("select nam from runs")
    page.keyboard.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text("no such column: nam")


def test_a_report_with_live_blocks_goes_offline(tab: Tab, tmp_path: Path, browser: Browser) -> None:
    page = tab("/reports")
    page.get_by_role("button", name="new report").click()
    charts(page, "val/loss", 6)
    page.get_by_label("text of the report").press_sequentially("# Mine\n\n")
    page.keyboard.press("Control+s")
    expect(page.get_by_text("version 2 saved")).to_be_visible()
    with page.expect_download() as started:
        page.get_by_role("button", name="offline HTML").click()
    file = tmp_path / "report.html"
    started.value.save_as(file)
    reader: Any = browser.new_page()
    reader.goto(file.as_uri())
    assert reader.locator("img").evaluate_all("all => all.every(one => one.naturalWidth > 300)")
    assert reader.get_by_text("run-5").count() == 1
    reader.close()


def test_every_view_of_the_rail_can_be_reloaded(tab: Tab) -> None:
    page = tab("/")
    links = page.locator("nav.rail a")
    expect(links).to_have_count(8)
    for place in range(8):
        links.nth(place).click()
        expect(links.nth(place)).to_have_class("here")
        answer = page.reload()
        assert answer is not None and answer.ok, page.url
        expect(links.nth(place)).to_have_class("here")


def test_saved_views(tab: Tab) -> None:
    page = tab("/e/digits?q=name like 'run-%'&sort=name")
    rows(page, 6)
    page.get_by_role("button", name="Views").click()
    page.evaluate("window.prompt = () => 'mine'")
    page.get_by_role("button", name="Save this view").click()
    expect(page.get_by_text("saved", exact=False).first).to_be_visible()
    page.goto(page.url.split("?")[0])
    rows(page, 8)
    page.get_by_role("button", name="Views").click()
    page.get_by_role("button", name="mine").first.click()
    rows(page, 6)
    assert names(page)[0] == "run-0"


def test_go_anywhere_by_typing(tab: Tab) -> None:
    page = tab("/")
    page.keyboard.press("Control+k")
    page.keyboard.type("run-4")
    expect(page.get_by_role("option", name="run-4")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="run-4")).to_be_visible()
    page.keyboard.press("]")
    expect(page.get_by_role("heading", name="run-5")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("s")
    expect(page.get_by_role("heading", name="SQL")).to_be_visible()


def test_groups_have_means_and_lead_to_their_runs(tab: Tab) -> None:
    page = tab("/e/digits?q=name like 'run-%'")
    rows(page, 6)
    page.get_by_label("group by").select_option("params.optimizer")
    expect(page.locator(".groups tbody tr")).to_have_count(2)
    expect(page.locator(".groups tbody tr").first).to_contain_text("±")
    charts(page, "val/loss", 2)
    page.locator(".groups").get_by_role("button", name="adam").click()
    rows(page, 3)
    assert sorted(names(page)) == ["run-1", "run-3", "run-5"]


def test_a_chart_of_an_expression(tab: Tab) -> None:
    page = tab("/e/digits")
    charts(page, "val/loss", 6)
    field = page.get_by_label("add a chart of an expression")
    field.fill("val/loss - missing")
    field.press("Enter")
    expect(page.get_by_text("no metric is named missing")).to_be_visible()
    field.fill("val/loss - train/loss")
    field.press("Enter")
    charts(page, "val/loss - train/loss", 6)
    low, high = (
        float(part)
        for part in str(
            page.locator('[data-metric="val/loss - train/loss"] .chart').get_attribute("data-y")
        ).split(",")
    )
    assert low < 0.1 < high  # what the fixture adds
    assert high - low < 0.5


def test_hide_runs_and_pin_a_baseline(tab: Tab) -> None:
    page = tab("/e/digits?q=name like 'run-%'&sort=name")
    rows(page, 6)
    charts(page, "val/loss", 6)
    page.locator(".grid").focus()
    for key in ("x", "j", "x", "h"):
        page.keyboard.press(key)
    charts(page, "val/loss", 4)
    rows(page, 6)
    page.keyboard.press("x")
    page.keyboard.press("b")
    charts(page, "val/loss", 5)
    page.get_by_role("button", name="show 2 hidden").click()
    charts(page, "val/loss", 6)


def order(page: Page) -> list[str]:
    """The charts of the section val, in their order."""
    cards = page.locator('.section:has(summary:has-text("val")) figure')
    return cards.evaluate_all("all => all.map(one => one.dataset.metric)")


def test_charts_are_arranged_by_keys_and_by_drag(tab: Tab) -> None:
    page = tab("/e/digits")
    charts(page, "val/loss", 6)
    first, second = order(page)
    page.get_by_role("button", name=f"move {second}").focus()
    page.keyboard.press("Home")
    expect(page.get_by_role("status").filter(has_text=f"{second} is chart 1 of 2")).to_be_attached()
    assert order(page) == [second, first]
    expect(page.get_by_role("button", name=f"move {second}")).to_be_focused()
    page.reload()
    charts(page, "val/loss", 6)
    assert order(page) == [second, first]
    page.get_by_role("button", name=f"move {first}").drag_to(
        page.locator(f'[data-metric="{second}"]')
    )
    page.wait_for_function(
        "wanted => document.querySelector('.section figure').dataset.metric === wanted", arg=first
    )
    assert order(page) == [first, second]
    page.go_back()
    page.wait_for_function(
        "wanted => document.querySelector('.section figure').dataset.metric === wanted", arg=second
    )
    address = page.url
    page.evaluate("localStorage.clear()")
    page.goto(address)  # as somebody else opens the link, or the saved view
    charts(page, "val/loss", 6)
    assert order(page) == [second, first]


def test_charts_of_a_section_have_a_size(tab: Tab) -> None:
    page = tab("/e/digits")
    charts(page, "val/loss", 6)
    chart = page.locator('[data-metric="val/loss"] .chart')
    sizes = page.get_by_role("group", name="size of the charts of val")
    heights: list[float] = []
    for size in ("small", "medium", "large"):
        sizes.get_by_role("button", name=f"{size} charts").click()
        expect(sizes.get_by_role("button", name=f"{size} charts")).to_have_attribute(
            "aria-pressed", "true"
        )
        box = chart.bounding_box()
        assert box is not None
        heights.append(box["height"])
    assert heights == sorted(set(heights))
    page.get_by_role("button", name="reset val").click()
    expect(page.get_by_role("button", name="reset val")).to_have_count(0)
    box = chart.bounding_box()
    assert box is not None
    assert box["height"] == heights[1]
