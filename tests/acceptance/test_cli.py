"""The command line, as a person or a program uses it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from runbase.cli.app import build

Cli = Callable[..., Any]


def test_help_of_everything(cli: Cli) -> None:
    assert "runbase " in cli("--version")
    text = cli("--help")
    names = [command.name or "" for command in build().registered_commands]
    assert len(names) == 36
    for name in names:
        assert name in text
        page = CliRunner().invoke(build(), [name, "--help"], env={"COLUMNS": "160"}).output
        assert "Example" in page
        assert "--json" in page or name in (
            "server",
            "login",
            "mcp",
            "ui",
        )  # these print no records


def test_a_command_loads_no_other_command(cli: Cli, three: list[str]) -> None:
    code = """
import gc, sys
from runbase.cli import main
sys.argv = ["runbase", "runs"]
try:
    main()
except SystemExit:
    pass
print(gc.isenabled(), sorted(m for m in sys.modules if m.startswith("runbase.cli.")))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    last = said.stdout.splitlines()[-1]
    assert last.startswith("True ['runbase.cli.app'")
    assert "runbase.cli.demo" not in last


def test_runs(cli: Cli, three: list[str]) -> None:
    text = cli("runs")
    assert [text.index(name) for name in ("third", "second", "first")] == sorted(
        text.index(name) for name in ("first", "second", "third")
    )
    assert "★" in text
    assert "FAILED" in text
    assert "lr" in text
    assert "opt" not in text  # the same in every run: nothing to tell them apart by
    assert "\x1b[" not in text
    rows = cli("runs", "params.lr < 0.5", "-e", "digits", "--json")
    assert [row["name"] for row in rows] == ["second"]
    assert rows[0]["params.lr"] == 0.1
    best = cli("runs", "--sort", 'metrics."val/acc" desc', "-n", "1", "--json")
    assert best[0]["name"] == "third"
    assert "train/loss" in cli("runs", "-c", "lr,train/loss")
    assert cli("runs", "params.lr > 99") == "No run matches that filter.\n"
    assert "did you mean 'digits'" in cli("runs", "-e", "digit", code=1)
    assert "character" in cli("runs", "params.lr <", code=2)


def test_show(cli: Cli, three: list[str]) -> None:
    text = cli("show", "second")
    for piece in ("FAILED", "ValueError: out of data [bold]", "a note", "demo", "model.bin", "5 B"):
        assert piece in text
    assert re.search(r"train/loss +50 +0\.02 +49 +0\.02 +49 +0\.02 +49 +1 +0", text)
    assert "the last line" in text
    assert "epoch 1" not in text
    record = cli("show", three[0], "--json")
    assert record["metrics"]["val/acc"]["max"] == 0.98
    assert record["output"] == ["epoch 2", "the last line"]
    assert record["artifacts"][0]["path"] == "model.bin"
    assert [change["status"] for change in record["history"]] == ["RUNNING", "COMPLETED"]
    assert "did you mean 'third'" in cli("show", "thirt", code=1)


def test_plot(cli: Cli, three: list[str], tmp_path: Path) -> None:
    text = cli("plot", "train/loss")
    for name in ("first", "second", "third", "train/loss"):
        assert name in text
    assert "\x1b[" not in text
    (curve,) = cli("plot", "val/acc", "first", "--json")
    assert (curve["max"][-1], sum(curve["counts"])) == (0.98, 50)
    for name, magic in (("a.png", b"\x89PNG"), ("a.svg", b"<?xml")):
        cli("plot", "train/loss", "-e", "digits", "--log", "-o", str(tmp_path / name))
        assert (tmp_path / name).read_bytes().startswith(magic)
    assert "did you mean 'train/loss'" in cli("plot", "train/los", code=1)
    assert ".png or .svg" in cli("plot", "train/loss", "-o", "x.gif", code=2)


def test_sql(cli: Cli, three: list[str], tmp_path: Path) -> None:
    query = (
        "select key, count(*) as points, max(value) as most from metrics group by key order by 1"
    )
    assert cli("sql", query, "--json") == [
        {"key": "train/loss", "points": 150, "most": 1.0},
        {"key": "val/acc", "points": 150, "most": 2.98},
    ]
    assert "train/loss" in cli("sql", query)
    assert cli("sql", query, "--csv").splitlines()[0] == "key,points,most"
    assert cli("sql", "-", "--json", stdin="select 1 as one") == [{"one": 1}]
    (tmp_path / "q.sql").write_text("select 2 as two")
    assert cli("sql", "-f", str(tmp_path / "q.sql"), "--json") == [{"two": 2}]
    assert "write=True" in cli("sql", "delete from runs", code=1)
    assert "no such table" in cli("sql", "select * from nowhere", code=1)
    slow = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n"
    assert "cancelled" in cli("sql", slow, "--timeout", "0.2", code=1)
    attach = f"attach '{tmp_path / 'new.db'}' as new"
    assert "attach" in cli("sql", attach, code=1)
    assert not (tmp_path / "new.db").exists()


def test_schema(cli: Cli, three: list[str]) -> None:
    text = cli("schema").lower()
    assert "create table runs" in text
    assert "-- how many log calls" in text
    assert "view metrics" in cli("schema", "metrics").lower()
    assert {row["name"] for row in cli("schema", "--json")} >= {"runs", "metrics", "blocks"}
    assert "did you mean 'runs'" in cli("schema", "rums", code=1)


def test_init_and_doctor(cli: Cli, tmp_path: Path) -> None:
    assert "no home yet" in cli("doctor")
    assert cli("init", "--json")["made"]
    assert (tmp_path / ".runbase" / ".gitignore").exists()
    assert "already" in cli("init")
    (tmp_path / "runbase.toml").write_text('experiment = "mine"\n')
    found = cli("doctor", "--json", RUNBASE_NOTES="hello")
    assert found["problems"] == []
    assert found["settings"]["notes"] == {"value": "hello", "source": "environment"}
    assert found["settings"]["experiment"]["source"] == str(tmp_path / "runbase.toml")
    assert "All is well" in cli("doctor")
    (tmp_path / "runbase.toml").write_text('experment = "mine"\n')
    assert "did you mean 'experiment'" in cli("doctor", code=2)


def test_doctor_names_what_is_wrong(cli: Cli, three: list[str], home: Path) -> None:
    data = bytearray((home / "runbase.db").read_bytes())
    data[4096:40960] = os.urandom(36864)
    (home / "runbase.db").write_bytes(data)
    for suffix in ("-wal", "-shm"):
        (home / f"runbase.db{suffix}").unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-m", "runbase", "doctor"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "sync --rebuild" in done.stdout
    assert "30 runs" not in cli("sync", "--rebuild")
    assert "All is well" in cli("doctor")


def test_sync(cli: Cli, three: list[str], home: Path) -> None:
    assert "0 new lines from 3 journals in 3 run folders" in cli("sync")
    (home / "runbase.db").unlink()
    found = cli("sync", "--json")
    assert found["report"]["folders"] == 3
    assert found["totals"]["points"] == 300
    assert "no run folders" in cli("sync", "--rebuild", "--home", str(home / "x"), code=2)


def test_sync_to_another_store(cli: Cli, three: list[str], home: Path, tmp_path: Path) -> None:
    """The journals are those of the nearest home, unless the store is in a home of its own."""
    (home / "runbase.db").unlink()
    found = cli("sync", "--store", str(tmp_path / "other.db"))
    assert "in 3 run folders" in found
    assert "3 runs" in found
    assert not (home / "runbase.db").exists()
    (tmp_path / "elsewhere" / "runs").mkdir(parents=True)
    assert "0 run folders" in cli("sync", "--store", str(tmp_path / "elsewhere" / "own.db"))
    assert "in 3 run folders" in cli("sync", "--store", str(home / "runbase.db"))


def test_a_pipe_that_closes_early(three: list[str]) -> None:
    command = f"{sys.executable} -m runbase sql 'select * from metrics' --csv | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("run_id,key,step,time,value,progress\n", "")


def test_looking_makes_no_home(cli: Cli, tmp_path: Path) -> None:
    assert "runbase init" in cli("runs", code=1)
    assert "no home for runs" in cli("show", "x", "--home", str(tmp_path / "typo"), code=1)
    assert not (tmp_path / ".runbase").exists()


def test_wrong_usage(cli: Cli) -> None:
    cli("nonsense", code=2)
    cli("show", code=2)


def test_demo(cli: Cli, tmp_path: Path) -> None:
    text = cli("demo", "--epochs", "3")
    assert "6 runs, " in text
    assert "★" in text
    assert text.count("select ") >= 4
    assert "val/loss" in text
    points = cli("sql", "select key, count(*) as n from metrics group by key", "--json")
    counts = {row["key"]: row["n"] for row in points}
    assert counts["val/accuracy"] == 18
    assert counts["train/loss"] == 6 * 3 * (1347 // 32)
    best = cli("runs", "--sort", 'metrics."val/accuracy" desc', "-n", "1", "--json")
    assert best[0]["metrics.val/accuracy"] > 0.9
    kinds = {a["kind"] for a in cli("show", best[0]["name"], "--json")["artifacts"]}
    assert kinds == {"model", "image"}
    (image,) = (tmp_path / ".runbase").glob(f"runs/digits/{best[0]['id']}/media/confusion*.png")
    assert image.stat().st_size > 5000
