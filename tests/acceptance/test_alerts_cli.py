"""`runbase alerts`: rules, deliveries, and the watcher as a process of its own."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import runbase
from runbase.cli.topscreen import TopScreen
from runbase.cli.watching import Watch
from tests.integration.server.receivers import receiving
from tests.patience import PATIENCE, wait_until

Cli = Callable[..., Any]


def test_rules_of_the_command_line(cli: Cli, three: list[str]) -> None:
    assert cli("alerts") == "No alerts.\n"
    assert "No rules" in cli("alerts", "rules")
    assert "No deliveries" in cli("alerts", "log")
    with receiving() as receiver:
        target = f"webhook:{receiver.url}/T0/secret"
        made = cli("alerts", "add", "bad", "--where", "status = 'FAILED'", "--to", target)
        assert "rbs_" in made
        cli("alerts", "add", "said", "--level", "info")
        assert "choose another name" in cli("alerts", "add", "bad", code=1)
        assert "not a target" in cli("alerts", "add", "x", "--to", "sms:1", code=2)
        assert "--level" in cli("alerts", "add", "x", "--level", "fatal", code=2)
        assert "character" in cli("alerts", "add", "x", "--where", "lr <", code=2)
        text = cli("alerts", "rules")
        for piece in ("bad", "status = 'FAILED'", "(alerts of runs)", "desktop", "/…"):
            assert piece in text
        assert "secret" not in text
        rules = {rule["name"]: rule for rule in cli("alerts", "rules", "--json")}
        assert rules["bad"]["to"] == [f"webhook:{receiver.url}/…"]
        assert "answered 200" in cli("alerts", "test", "bad")
        (document,) = receiver.documents()
        assert (document["title"], document["text"]) == ("bad", "This is a test.")
    assert "1 of 1 targets failed" in cli("alerts", "test", "bad", code=1)
    assert "Removed" in cli("alerts", "remove", "bad")
    assert "no rule 'bad'" in cli("alerts", "remove", "bad", code=1)


def test_the_watcher_needs_no_server(home: Path, cli: Cli) -> None:
    with runbase.start_run("mnist", home=home, name="first", capture=False) as run:
        run.log({"loss": 1.0})
    with receiving() as receiver:
        to = f"webhook:{receiver.url}"
        cli("alerts", "add", "nan", "--where", "nans > 0", "--to", to)
        program = str(Path(sys.executable).with_name("runbase"))
        watcher = subprocess.Popen(
            [program, "alerts", "watch", "--home", str(home)],
            stdout=subprocess.PIPE,
            text=True,
            env=dict(os.environ),
        )
        assert watcher.stdout is not None
        assert watcher.stdout.readline().startswith("Watching")
        with runbase.start_run("mnist", home=home, name="sick", capture=False) as run:
            run.log({"loss": float("nan")})
            run.flush()
        wait_until(lambda: len(receiver.accepted) == 1)
        wait_until(lambda: "delivered" in cli("alerts", "log"))
        watcher.send_signal(signal.SIGINT)
        assert watcher.wait(PATIENCE) == 130
    assert "sick" in cli("alerts")
    (alert,) = cli("alerts", "list", "--where", "rule = 'nan'", "--json")
    assert (alert["run"], alert["level"]) == ("sick", "warning")
    assert "sick (mnist)" in cli("show", "sick")
    assert cli("show", "sick", "--json")["alerts"][0]["title"] == "nan"


def test_top_shows_each_new_alert_and_tells_the_terminal_once(home: Path) -> None:
    run = runbase.start_run("mnist", home=home, name="noisy", capture=False)
    run.alert("before")
    run.flush()

    async def use() -> None:
        with runbase.open(home=home) as store:
            told: list[str] = []
            screen = TopScreen(store, Watch(store), every=0.1)
            screen.tell_terminal = told.append  # type: ignore[method-assign]
            async with screen.run_test() as pilot:
                while not screen.rows:
                    await pilot.pause(0.05)
                run.alert("[loss] is NaN", "at step 7", "error")
                while not told:
                    await pilot.pause(0.05)
                seen = screen.rows
                while screen.rows is seen:
                    await pilot.pause(0.05)
                assert told == ["runbase: [loss] is NaN: noisy"]
                assert [alert.title for alert in screen.alerts] == ["[loss] is NaN"]
                shown = str(screen.query_one("#alerts").render())
                assert "[loss] is NaN" in shown
                assert "at step 7" in shown

    asyncio.run(use())
    run.finish()
