"""Runs made in the database and started elsewhere; a team's PostgreSQL; no password anywhere."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import runbase
from runbase.errors import UsageError
from tests.patience import PATIENCE

Script = Callable[..., "subprocess.Popen[str]"]

TRAINS = """
import runbase
with runbase.start_run('what the script calls it', params={'width': 3}) as run:
    for step in range(10):
        run.log({'loss': 1 / (step + 1)}, step=step)
"""


def runbase_says(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "runbase", *arguments],
        env={**os.environ, "COLUMNS": "160", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, home: Path) -> str:
    """A store for the home's runs, on either database."""
    return (
        f"sqlite:///{home / 'runbase.db'}"
        if request.param == "sqlite"
        else str(request.getfixturevalue("postgres"))
    )


def test_a_run_is_made_here_and_started_there(url: str, home: Path, script: Script) -> None:
    with runbase.open(url, home=home) as store:
        made = store.create_run("tuning", name="trial-1", params={"lr": 0.1}, tags=["queued"])
        assert made.status.value == "PENDING"
    process = script(TRAINS, RUNBASE_STORE=url, RUNBASE_RUN_ID=made.id)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    with runbase.open(url, home=home) as store:
        [run] = store.runs()
        run = store.run(run.id)
        assert (run.id, run.name, run.experiment) == (made.id, "trial-1", "tuning")
        assert run.params == {"lr": 0.1, "width": 3}
        assert run.tags == {"queued": None}
        assert [change.status.value for change in run.history] == [
            "PENDING",
            "RUNNING",
            "COMPLETED",
        ]
        assert run.metrics["loss"].count == 10
        assert [e.name for e in store.experiments()] == ["tuning"]


def test_a_run_and_an_experiment_that_disagree(url: str, home: Path) -> None:
    with runbase.open(url, home=home) as store:
        made = store.create_run("tuning", name="trial-1")
    with pytest.raises(UsageError, match="'tuning', not of 'other'"):
        runbase.start_run("other", run_id=made.id, store=url, home=home)
    with runbase.start_run("tuning", run_id=made.id, store=url, home=home) as run:
        assert run.name == "trial-1"
    with pytest.raises(UsageError, match="'tuning', not of 'other'"):
        runbase.start_run("other", resume="trial-1", store=url, home=home)


def test_no_password_is_printed_or_stored(postgres: str, home: Path, script: Script) -> None:
    secret = "correct-horse"  # the server trusts everyone, and is told it all the same
    urls = [f"{postgres}&password={secret}", postgres.replace("postgres:@", f"postgres:{secret}@")]
    seen = []
    for url in urls:
        assert secret in url
        process = script(TRAINS, url, RUNBASE_STORE=url, RUNBASE_QUIET="0")
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        assert "runbase: run" in err
        seen += [out, err]
        for command in (["doctor"], ["doctor", "--json"], ["runs"], ["sync"], ["schema"]):
            done = runbase_says(*command, RUNBASE_STORE=url)
            assert done.returncode == 0, done.stderr + done.stdout
            seen += [done.stdout, done.stderr]
        wrong = url.replace("/postgres?", "/nowhere?")
        for failed in (
            runbase_says("runs", RUNBASE_STORE=wrong),
            runbase_says("runs", "--store", wrong),
        ):
            assert failed.returncode == 1
            assert "nowhere" in failed.stderr
            seen += [failed.stdout, failed.stderr]
    with runbase.open(urls[0], home=home) as store:
        seen += [repr(store), store.url, repr([*store.runs()])]
        for table in store.tables():
            seen.append(repr(store.sql(f'select * from "{table["name"]}"')))
    seen += [p.read_text("utf-8", "replace") for p in home.rglob("*") if p.is_file()]
    assert not [text[max(text.find(secret) - 99, 0) :][:150] for text in seen if secret in text]
    assert len(seen) > 40


def test_doctor_of_a_server(postgres: str, home: Path, script: Script) -> None:
    process = script(TRAINS, RUNBASE_STORE="none")
    assert process.communicate(timeout=PATIENCE) and process.returncode == 0
    report = json.loads(runbase_says("doctor", "--json", RUNBASE_STORE=postgres).stdout)
    assert "no such store" in report["problems"][0]
    assert runbase_says("setup", RUNBASE_STORE=postgres).returncode == 0
    report = json.loads(runbase_says("doctor", "--json", RUNBASE_STORE=postgres).stdout)
    assert report["problems"] == []
    assert "superuser" in report["facts"]["role"]
    assert report["facts"]["journals_waiting"].startswith("1 (")
    assert abs(report["facts"]["clock_skew_seconds"]) < 2
    assert report["settings"]["store"]["source"] == "environment"
    away = postgres.replace("/postgres?", "/nowhere?")
    report = json.loads(runbase_says("doctor", "--json", RUNBASE_STORE=away).stdout)
    assert "nowhere" in report["problems"][0]
    assert "all journals" in report["facts"]["journals_waiting"]
