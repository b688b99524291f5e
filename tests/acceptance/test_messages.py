"""Messages of commands that people meet in their first hour."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

import runbase
from runbase.cli import sql, top
from runbase.cli.app import build
from runbase.errors import NotFound


@pytest.fixture
def home(tmp_path: Path) -> Path:
    home = tmp_path / ".runbase"
    for number in range(2):
        with runbase.start_run("digits", name=f"run-{number}", home=home, capture=False) as run:
            run.log({"loss": 1.0 - number / 10, "grad_norm": 2.0 + number}, step=0)
    return home


def run(home: Path, *words: str) -> Any:
    return CliRunner().invoke(build(), [*words, "--home", str(home)])


def test_deleting_says_how_many_runs_went_and_how_to_restore_them(home: Path) -> None:
    assert run(home, "rm", "digits").stdout == (
        "Moved to the trash: digits (2 runs). To restore: runbase restore digits\n"
    )
    for words in (["show", "run-1"], ["rm", "run-1"]):
        failed = run(home, *words)
        assert failed.exit_code == 1
        assert "run 'run-1' is in the trash; `runbase restore run-1` restores it" in str(
            failed.exception or failed.output
        )
    assert run(home, "restore", "digits").stdout == "Restored: digits (2 runs)\n"
    assert run(home, "rm", "run-1").stdout.startswith("Moved to the trash: run-1 (1 run).")


def test_a_key_that_no_run_has_is_named_with_the_nearest_ones(home: Path) -> None:
    for words in (["runs"], ["query", "-c", "name"]):
        shown = run(home, *words, "metrics.los > 0", "--sort", "params.lernrate")
        assert shown.exit_code == 0
        assert "runbase: no run has a metric 'los'; did you mean 'loss'?\n" in shown.stderr
        assert "runbase: no run has a parameter 'lernrate'\n" in shown.stderr
        assert run(home, *words, "metrics.loss > 0").stderr == ""


def test_comparing_nothing_is_an_error(home: Path) -> None:
    with runbase.open(home=home) as store:
        with pytest.raises(NotFound, match="nothing to compare: no run matches 'nope'"):
            store.compare("nope")
        assert store.compare("run-0", "nope").missing == ["nope"]
        store.delete("digits")
        with pytest.raises(NotFound, match=r"^nothing to compare: experiment 'digits' is in the t"):
            store.compare("digits")


def test_only_certain_bests_are_marked(home: Path) -> None:
    shown = run(home, "runs", "-c", "loss,grad_norm").stdout
    assert shown.count("★") <= 1
    with runbase.open(home=home) as store:
        best = store.compare("run-0", "run-1").best
    assert set(best) == {"loss"}


def test_lines_of_csv_end_as_those_of_other_programs(home: Path) -> None:
    for words in (["query", "--csv"], ["sql", "select name from runs", "--csv"]):
        shown = run(home, *words).stdout_bytes
        assert b"\r" not in shown
        assert shown.count(b"\n") == 3


def test_a_home_that_is_missing_is_named_with_what_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "nowhere"
    given = CliRunner().invoke(build(), ["runs", "--home", str(missing)]).exception
    assert f"no home for runs at {missing}, which --home names" in str(given)
    monkeypatch.setenv("RUNBASE_HOME", str(missing))
    set_ = CliRunner().invoke(build(), ["runs"]).exception
    assert f"no home for runs at {missing}, which RUNBASE_HOME names" in str(set_)
    monkeypatch.delenv("RUNBASE_HOME")
    assert "no .runbase folder in" in str(CliRunner().invoke(build(), ["runs"]).exception)


def test_a_query_may_begin_with_a_comment(home: Path) -> None:
    assert "2" in run(home, "sql", "-- how many\nselect count(*) from runs").stdout


def test_a_rebuild_says_what_it_did_not_recover(home: Path, tmp_path: Path) -> None:
    script = tmp_path / "001_cost.sql"
    script.write_text("create table costs (run_id text, euros real);")
    assert run(home, "setup", str(script)).exit_code == 0
    assert run(home, "view", "create", "curves", "-m", "loss").exit_code == 0
    told = run(home, "sync", "--rebuild").output
    assert "Not recovered, because it is your own: script 001_cost.sql, view curves" in told


def test_the_active_runs_fit_80_columns(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    active = runbase.start_run(
        "a-long-experiment", name="amber-buzzard-00", home=home, capture=False
    )
    active.log(dict.fromkeys(("train/loss", "val/loss", "val/accuracy", "lr"), 0.123456789))
    active.flush()
    monkeypatch.setattr(
        top.common, "console", lambda: Console(width=80, record=True, file=StringIO())
    )
    out = top.common.console()
    monkeypatch.setattr(top.common, "console", lambda: out)
    top.command(home=home, once=True)
    active.finish()
    lines = out.export_text().splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert any("amber-buzzard-00" in line for line in lines)
    assert any("more column" in line for line in lines)


def test_a_wide_query_fits_80_columns(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Console(width=80, record=True, file=StringIO())
    with monkeypatch.context() as patch:
        patch.setattr(sql.common, "console", lambda: out)
        sql.command("select *, 'x' || hex(zeroblob(200)) as long from runs", home=home)
    lines = out.export_text().splitlines()
    assert len(lines) == 4
    assert all(len(line) <= 80 for line in lines)
    assert lines[-1].endswith("more columns, select fewer columns, or use --csv or --json")
    assert "x00000" in run(home, "sql", "select 'x' || hex(zeroblob(200)) as long").stdout
