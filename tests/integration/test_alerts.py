"""Alerts of the code of runs: in the journal, in the store, in `runbase show`, each once."""

import itertools
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import runbase
import runbase.events
from runbase import aio
from runbase.cli.app import build
from runbase.errors import FilterError, RunFinished, UsageError
from runbase.journal.format import decode_event, encode_event
from runbase.server.serve import serving
from runbase.storage.open import open_storage
from runbase.testing.contract import Journal


def test_an_alert_reaches_the_store(home: Path) -> None:
    with runbase.start_run("mnist", home=home, name="noisy", capture=False) as run:
        run.log({"loss": float("nan")})
        run.alert("loss is NaN", "at step 0", "error")
        run.alert("epoch done")
    with runbase.open(home=home) as store:
        first, second = store.alerts(limit=2)
        assert (first.title, first.text, first.level) == ("epoch done", "", "info")
        assert (second.title, second.text, second.level) == ("loss is NaN", "at step 0", "error")
        assert (second.run, second.experiment, second.rule) == ("noisy", "mnist", None)
        assert [alert.title for alert in store.alerts("level = 'error' and nans > 0")] == [
            "loss is NaN"
        ]
        assert store.alerts(experiment="mnist", since=datetime.now(UTC) + timedelta(hours=1)) == []
        with pytest.raises(FilterError, match="level"):
            store.alerts("levl = 'error'")
    shown = CliRunner().invoke(build(), ["show", "noisy", "--home", str(home)]).output
    assert "Alerts" in shown
    assert "loss is NaN" in shown
    assert "at step 0" in shown


def test_levels_and_titles_are_checked(home: Path) -> None:
    run = runbase.start_run("mnist", home=home, capture=False)
    run.alert("a", level="WARN")
    for wrong in ({"title": " "}, {"title": "x", "level": "fatal"}):
        with pytest.raises(UsageError):
            run.alert(**wrong)
    run.finish()
    with pytest.raises(RunFinished):
        run.alert("late")
    with runbase.open(home=home) as store:
        assert [(alert.title, alert.level) for alert in store.alerts()] == [("a", "warning")]


def test_wait_drops_repetitions_of_a_title(home: Path) -> None:
    with runbase.start_run("mnist", home=home, capture=False) as run:
        for _ in range(3):
            run.alert("slow", wait=3600)
            run.alert("other")
    with runbase.open(home=home) as store:
        titles = [alert.title for alert in store.alerts()]
    assert sorted(titles) == ["other", "other", "other", "slow"]


async def _titles(url: str) -> list[str]:
    async with await aio.open(url) as store:
        return [alert.title for alert in await store.alerts("level = 'info'")]


def test_alerts_over_a_server_and_asyncio(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio

    with runbase.open(tmp_path / "served.db") as store, serving(store) as url:
        with runbase.start_run("far", home=home, store=url, capture=False) as run:
            run.alert("from afar")
        assert [alert.run_id for alert in store.alerts()] == [run.id]
        with runbase.open(url) as remote:
            assert remote.alerts("title = 'from afar'") == store.alerts()
    assert asyncio.run(_titles(str(tmp_path / "served.db"))) == ["from afar"]


def test_an_alert_survives_the_death_of_its_process(script: Callable[..., Any], home: Path) -> None:
    process = script(
        "import runbase, time\n"
        "run = runbase.start_run('mnist', capture=False)\n"
        "run.alert('before the end', level='error')\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(2):
        with runbase.open(home=home) as store:
            assert [alert.title for alert in store.alerts()] == ["before the end"]
            assert [run.status.value for run in store.runs("status = 'lost'")] == ["NODE_FAIL"]


ALERTS = st.lists(
    st.builds(
        runbase.events.Alerted,
        time=st.floats(1e9, 2e9),
        id=st.uuids().map(lambda found: found.hex),
        title=st.text(min_size=1, max_size=20),
        text=st.text(max_size=50),
        level=st.sampled_from(["info", "warning", "error"]),
    ),
    max_size=8,
    unique_by=lambda event: event.id,
)


@given(events=ALERTS, cuts=st.lists(st.integers(0, 8), max_size=4), repeat=st.integers(1, 3))
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_journals_in_any_pieces_store_each_alert_once(
    events: list[Any], cuts: list[int], repeat: int
) -> None:
    """The lines of a journal are delivered in pieces, each as often as readers race for it."""
    lines = [encode_event(event) for event in events]
    read = [decode_event(line.rpartition(b',"sum":')[0] + b"}") for line in lines]
    assert [event.level for event in read] == [event.level for event in events]
    storage = open_storage("sqlite://")
    journal = Journal(storage)
    places = sorted({0, *[min(cut, len(read)) for cut in cuts], len(read)})
    first = journal.delivery([journal.opened()])
    assert [storage.apply([first])[0].taken for _ in range(repeat)].count(True) == 1
    journal.offset += 1
    for start, stop in itertools.pairwise(places):
        delivery = journal.delivery(read[start:stop])
        taken = [storage.apply([delivery])[0].taken for _ in range(repeat)]
        assert taken.count(True) == 1
        journal.offset += 1
    stored = storage.alerts()
    assert sorted(alert.id for alert in stored) == sorted(event.id for event in events)
    storage.close()


def test_a_whole_journal_read_twice(home: Path) -> None:
    with runbase.start_run("mnist", home=home, capture=False) as run:
        for number in range(20):
            run.alert(f"alert {number}")
    with runbase.open(home=home) as store:
        assert len(store.alerts()) == 20
        store.storage.sql('update journals set "offset" = 0', write=True)
    with runbase.open(home=home) as store:
        assert len(store.alerts()) == 20


def test_filters_for_rules(home: Path) -> None:
    with runbase.start_run("mnist", home=home, name="a", capture=False) as run:
        run.log({"loss": 1.0, "acc": float("nan")})
    runbase.start_run("mnist", home=home, name="b", capture=False).finish()
    with runbase.open(home=home) as store:

        def names(where: str) -> list[str]:
            return sorted(run.name for run in store.runs(where))

        assert names("nans > 0") == ["a"]
        assert names("nans = 0") == ["b"]
        assert names("last_point_at > ago('30 min')") == ["a"]
        assert names("last_point_at < ago('30 min')") == []
        assert names("last_point_at is null and started_at > ago('30 min')") == ["b"]
        (row,) = store.table("name = 'a'", columns=["last_point_at"]).columns["last_point_at"]
        moment = row if isinstance(row, datetime) else datetime.fromisoformat(str(row))
        assert abs((datetime.now(UTC) - moment).total_seconds()) < 3600
