"""`runbase top`: on real runs that go on, stand still and die; its keys in a real Textual screen."""

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import DataTable, Input

import runbase
from runbase.cli.topscreen import RunPage, TopScreen
from runbase.cli.watching import Watch, sort_rows, sparkline

Cli = Callable[..., Any]
Script = Callable[..., "subprocess.Popen[str]"]

TRAINS = """
import sys, time, runbase
params = {"max_steps": 200} if sys.argv[1] == "steps" else {}
run = runbase.start_run("mnist" if sys.argv[1] == "steps" else "cifar", name=sys.argv[1], params=params, capture=["output"])
for step in range(100):
    more = {"progress": step / 400} if sys.argv[1] == "share" else {}
    run.log({"train/loss": 1 / (step + 1), "val/acc": step / 100}, step=step, **more)
print("hello from", sys.argv[1])
run.flush()
sys.stderr.write("ready\\n")
sys.stdin.readline()
run.finish()
"""


@pytest.fixture
def under_way(script: Script, home: Path) -> Iterator[dict[str, "subprocess.Popen[str]"]]:
    """Three runs: one says how many steps it has, one logs its progress, one was killed."""
    started = {name: script(TRAINS, name) for name in ("steps", "share", "dead")}
    for process in started.values():
        assert process.stderr is not None
        while process.stderr.readline() not in ("ready\n", ""):
            pass
        assert process.poll() is None
    started["dead"].kill()
    started["dead"].wait()
    yield started
    for name in ("steps", "share"):
        started[name].communicate("\n")


def test_rows(under_way: Any, cli: Cli, home: Path) -> None:
    rows = {row["name"]: row for row in cli("top", "--json")}
    assert {name: row["state"] for name, row in rows.items()} == {
        "steps": "alive",
        "share": "alive",
        "dead": "lost",
    }
    assert rows["steps"]["progress"] == 0.5
    assert rows["share"]["progress"] == 99 / 400
    assert rows["dead"]["progress"] is None
    assert rows["steps"]["metrics"] == {"val/acc": 0.99, "train/loss": 0.01}
    assert rows["steps"]["step"] == 99
    assert 0 <= rows["steps"]["age"] < 120
    assert rows["steps"]["seconds_left"] == pytest.approx(rows["steps"]["seconds"])
    text = cli("top")
    for part in ("● alive", "✖ lost", " 50%", "▁", "█", "train/loss", "left"):
        assert part in text
    assert [r["name"] for r in cli("top", "-e", "mnist", "--json")] == ["steps"]
    chosen = cli("top", "params.max_steps = 200", "-m", "train/loss", "--json")
    assert chosen[0]["metrics"] == {"train/loss": 0.01}
    cli("top", "nonsense ===", code=2)


def test_nothing_is_under_way(cli: Cli, home: Path) -> None:
    runbase.start_run("e", home=home, capture=False).finish()
    assert "No active runs" in cli("top", "--once")


def test_what_did_not_change_is_not_read_again(
    under_way: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with runbase.open(home=home) as store:
        watch = Watch(store)
        first = watch.look()

        def never(*_: Any, **__: Any) -> None:
            raise AssertionError("read again")

        monkeypatch.setattr(store, "metrics", never)
        assert [row.figures for row in watch.look()] == [row.figures for row in first]


def test_the_keys(under_way: Any, home: Path) -> None:
    async def drive() -> None:
        with runbase.open(home=home) as store:
            app = TopScreen(store, Watch(store), sort="experiment", every=0.1)

            async def until(holds: Callable[[], bool], what: str) -> None:
                for _ in range(400):
                    await pilot.pause(0.02)
                    if holds():
                        return
                raise AssertionError(f"never: {what}")

            def names() -> list[str]:
                return [row.run.name for row in app.rows]

            async with app.run_test(size=(160, 30)) as pilot:
                await until(lambda: len(app.rows) == 3, "three rows")
                assert names()[-1] == "steps"
                grid = app.query_one(DataTable[Any])
                assert grid.row_count == 3
                head = str(app.query_one("#head").render())
                assert "2 alive" in head
                assert "1 lost" in head
                await pilot.press("r")
                assert names()[0] == "steps"
                await pilot.press("s")
                assert app.sorted_by == "age"
                await pilot.press("slash", *"params.max_steps > 1", "enter")
                await until(lambda: names() == ["steps"], "the filter")
                await pilot.press("t", *"look-at", "enter")
                await until(lambda: "look-at" in store.run("steps").tags, "the tag")
                await pilot.press("t", *"-look-at", "enter")
                await until(lambda: "look-at" not in store.run("steps").tags, "no tag")
                await pilot.press("enter")
                await until(lambda: isinstance(app.screen, RunPage), "the page")
                await until(
                    lambda: "hello from steps" in str(app.screen.query_one("#text").render()),
                    "its output",
                )
                await pilot.press("escape")
                await pilot.press("slash")
                app.query_one("#ask", Input).value = "params.max_steps >"
                await pilot.press("enter")
                await until(lambda: "max_steps" in app._error, "what is wrong with the filter")
                assert names() == ["steps"], "what was seen stays"
                await pilot.press("slash")
                app.query_one("#ask", Input).value = ""
                await pilot.press("enter")
                await until(lambda: len(app.rows) == 3, "all again")
                await pilot.press("p")
                assert app._paused
                await pilot.press("q")

    asyncio.run(drive())


def test_sparklines_and_orders(under_way: Any, home: Path) -> None:
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([1, float("nan"), 1]) == "▄ ▄"
    assert sparkline([float("nan")]) == ""
    assert sparkline([float("-inf"), 0, 1]) == " ▁█"
    with runbase.open(home=home) as store:
        rows = Watch(store).look()
        by_progress = [row.run.name for row in sort_rows(rows, "progress", descending=True)]
        assert by_progress == ["steps", "share", "dead"]
        assert {r.run.name for r in sort_rows(rows, "nothing")} == {"steps", "share", "dead"}
        assert sort_rows(rows, "name")[0].run.name == "dead"
