"""The commands that change, compare and move records."""

import csv
import io
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import runbase

Cli = Callable[..., Any]


def test_experiments(cli: Cli, three: list[str]) -> None:
    assert [e["name"] for e in cli("experiments", "--json")] == ["other", "digits"]
    assert [e["name"] for e in cli("experiments", "runs > 1", "--json")] == ["digits"]
    assert "digits" in cli("experiments")
    assert "did you mean" in cli("experiments", "rums > 1", code=2)


def test_compare(cli: Cli, three: list[str]) -> None:
    text = cli("compare", "first", "second", "other")
    assert "★" in text
    assert "lr" in text
    found = cli("compare", "first", "second", "--json")
    assert found["differing"] == ["lr"]
    assert found["best"]["val/acc"] == [1]
    assert found["best"]["train/loss"] == [0, 1]
    assert "run or experiment not found: fourth" in cli("compare", "first", "fourth", code=1)
    assert "opt" in cli("compare", "first", "second", "--all")


def test_best(cli: Cli, three: list[str]) -> None:
    assert cli("best", "-m", "val/acc", "--json")["name"] == "third"
    assert cli("best", "digits", "-m", "val/acc", "--json")["name"] == "second"
    assert cli("best", "digits", "-m", "val/acc", "--min", "--json")["name"] == "first"
    assert cli("best", "params.lr > 0.5", "-m", "val/acc", "--json")["name"] == "first"
    assert "third" in cli("best", "-m", "val/acc")
    path = Path(cli("best", "-m", "val/acc", "--checkpoint").strip())
    assert path.read_bytes() == b"12345"
    assert "no metric; pass one" in cli("best", "digits", code=2)
    assert "to name the metric, pass -m val/acc" in cli("best", "digits", "val/acc", code=2)
    assert "exclude" in cli("best", "--min", "--max", "-m", "x", code=2)


def test_query(cli: Cli, three: list[str]) -> None:
    rows = cli("query", "-c", "name,params.lr,metrics.val/acc", "-s", "name", "--json")
    assert rows[0] == {"name": "first", "params.lr": 1.0, "metrics.val/acc": 0.98}
    text = cli("query", "params.lr < 0.5", "-c", "name", "-s", "name", "--csv")
    assert list(csv.reader(io.StringIO(text))) == [["name"], ["second"], ["third"]]
    assert {"params.lr", "metrics.val/acc"} <= set(cli("query").split())
    assert "did you mean 'lr'" in cli("query", "-c", "params.lx", code=1)
    assert cli("query", "--experiments", "-c", "name,runs", "--json") == [
        {"name": "other", "runs": 1},
        {"name": "digits", "runs": 2},
    ]


def test_tag_note_rename(cli: Cli, three: list[str]) -> None:
    assert cli("tag", "first", "good", "stage=prod", "--json")["tags"] == {
        "demo": None,
        "good": None,
        "stage": "prod",
    }
    assert "good" not in cli("tag", "first", "--remove", "good")
    assert "paper" in cli("tag", "other", "paper")
    cli("note", "first", "a first line")
    cli("note", "first", "-", "--append", stdin="and a second\n")
    assert cli("show", "first", "--json")["notes"] == "a first line\nand a second"
    cli("rename", "first", "one")
    assert cli("show", "one", "--json")["id"] == three[0]
    assert "did you mean 'one'" in cli("tag", "ones", "x", code=1)


def test_fork(cli: Cli, three: list[str]) -> None:
    made = cli("fork", "digits", "wide", "--set", "net.width=256", "--set", "name=x", "--json")
    assert made["config"] == {"net": {"width": 256}, "name": "x"}
    assert "grand ← wide ← digits" in cli("fork", "wide", "grand")
    assert cli("fork", "digits", "--runs", "--json")["runs"] == 2
    assert "key=value" in cli("fork", "digits", "--set", "width", code=2)


def test_the_bin(cli: Cli, three: list[str], home: Path) -> None:
    assert cli("rm", "first", "other", "--json") == {"deleted": 2}
    assert [r["name"] for r in cli("runs", "--json")] == ["second"]
    assert [r["name"] for r in cli("runs", "--deleted", "--json")] == ["third", "first"]
    assert cli("restore", "first", "--json") == {"restored": 1, "unarchived": 0}
    assert cli("rm", "first", "--purge", "--dry-run", "--json")["runs"] == 1
    assert (home / "runs" / "digits" / three[0]).is_dir()
    assert "--yes" in cli("rm", "first", "--purge", code=2)
    assert "Deleted 1 run," in cli("rm", "first", "--purge", "--yes")
    assert not (home / "runs" / "digits" / three[0]).exists()
    assert "0 runs" in cli("gc")
    assert "Would delete 1 run, 1 experiment" in cli("gc", "--older-than", "0s", "--dry-run")
    assert cli("gc", "--older-than", "0s", "--json")["experiments"] == 1
    assert "is not a duration" in cli("gc", "--older-than", "soon", code=2)
    assert [r["name"] for r in cli("runs", "--json")] == ["second"]


def test_moving(cli: Cli, three: list[str], tmp_path: Path, postgres: str) -> None:
    assert "Wrote 3 runs" in cli("export", "runs.csv")
    with (tmp_path / "runs.csv").open() as file:
        assert {row["name"] for row in csv.DictReader(file)} == {"first", "second", "third"}
    assert cli("export", "some.db", "params.lr < 0.5", "--json")["runs"] == 2
    done = cli("import", "some.db", "--store", postgres, "--json")
    assert (done["runs"], done["new"]) == (2, 2)
    done = cli("copy", ".", postgres, "--json")
    assert (done["runs"], done["new"], done["fuller"]) == (3, 1, 1)
    done = cli("copy", ".", postgres, "--json")
    assert (done["runs"], done["new"], done["fuller"]) == (3, 0, 0)
    there = cli("runs", "--json", RUNBASE_STORE=postgres)
    assert sorted(row["id"] for row in there) == sorted(three)
    assert "into itself" in cli("copy", ".", ".", code=2)
    assert "no such file" in cli("copy", "nowhere.db", "x.db", code=1)
    assert "nowhere.db does not exist" in cli("import", "nowhere.db", code=1)
    (tmp_path / "not.db").write_text("these are words, not a database" * 100)
    assert "not a record" in cli("import", "not.db", code=2)
    assert "is not known" in cli("export", "x.docx", code=2)


def test_setup_and_views(cli: Cli, three: list[str], tmp_path: Path) -> None:
    (tmp_path / "001_cost.sql").write_text("alter table runs add column cost real; -- in euros\n")
    assert cli("setup", "001_cost.sql", "--dry-run", "--json")["steps"][0]["state"].startswith(
        "would"
    )
    assert "applied" in cli("setup", "001_cost.sql")
    assert "001_cost.sql" in cli("setup", "--status")
    assert "before" in cli("setup", "001_cost.sql")
    assert "cost" in cli("schema", "runs")
    assert cli("runs", "cost is null", "--json")
    assert "curves(run_id" in cli("view", "create", "curves", "-m", "train/loss,val/acc")
    assert cli("view", "list", "--json")["curves"]["val_acc"] == "val/acc"
    assert "curves" in cli("view", "list")
    [row] = cli("sql", "select count(*) as n, count(val_acc) as k from curves", "--json")
    assert row == {"n": 150, "k": 150}
    assert "Dropped" in cli("view", "drop", "curves")
    assert "no view" in cli("view", "drop", "curves", code=1)


def test_pipes_and_no_colour(cli: Cli, three: list[str]) -> None:
    assert "\x1b" not in cli("runs")
    coloured = re.compile(r"\x1b\[(?:\d;)?3\d")
    assert coloured.search(cli("runs", FORCE_COLOR="1"))
    assert not coloured.search(cli("runs", FORCE_COLOR="1", NO_COLOR="1"))
    done = subprocess.run(
        f"{sys.executable} -m runbase query --csv | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("name,")
    assert done.stderr == ""


BASH = """
eval "$({program} --show-completion bash)"
complete() {{ COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _runbase_completion {program}; echo "${{COMPREPLY[*]}}"; }}
complete {words}
"""


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("runbase show se", "second"),
        ("runbase fork d", "digits"),
        ("runbase re", "rename restore reproduce"),
        ("runbase runs -e o", "other"),
        ("runbase compare d", "digits"),
        ("runbase plot tr", "train/loss"),
        ("runbase best -m v", "val/acc"),
        ("runbase runs -c lr,val", "lr,val/acc"),
        ("runbase runs --sort op", "opt"),
        ("runbase query -c tags.", "tags.demo"),
        ("runbase view create wide -m val/acc,t", "val/acc,train/loss"),
        ("runbase show nothing", ""),
    ],
)
def test_completion_in_bash(three: list[str], words: str, expected: str) -> None:
    program = str(Path(sys.executable).parent / "runbase")
    script = BASH.format(program=program, words=words)
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout.strip().split("\n"), done.stderr) == ([" ".join(expected.split())], "")


def test_completion_without_a_store_is_silent(tmp_path: Path, three: list[str]) -> None:
    program = str(Path(sys.executable).parent / "runbase")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "runbase.toml").write_text("home = 3 =\n")
    (tmp_path / "junk").mkdir()
    (tmp_path / "junk" / ".runbase").mkdir()
    (tmp_path / "junk" / ".runbase" / "runbase.db").write_text("no database" * 1000)
    for folder in ("broken", "junk"):
        for words in ("runbase show x", "runbase runs -c x", "runbase plot x"):
            script = BASH.format(program=program, words=words)
            done = subprocess.run(
                ["bash", "-c", script],
                capture_output=True,
                text=True,
                check=True,
                cwd=tmp_path / folder,
            )
            assert (done.stdout.strip(), done.stderr) == ("", "")
    script = BASH.format(program=program, words="runbase show --home empty/.runbase s")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("", "")
    assert list((tmp_path / "empty").iterdir()) == []


def test_completion_for_a_shell_by_name(cli: Cli, tmp_path: Path) -> None:
    assert cli("--show-completion", "zsh").startswith("#compdef runbase\n")
    assert "complete --command runbase" in cli("--show-completion", "fish")
    assert "complete -o default" in cli("--show-completion", "bash")
    said = cli("--install-completion", "bash", HOME=str(tmp_path))
    assert said.startswith("Installed completion for bash in ")
    assert "runbase.sh" in (tmp_path / ".bashrc").read_text()


def test_every_command_has_examples(cli: Cli) -> None:
    from runbase.cli.app import COMMANDS, build

    app = build()
    shown = {
        entry.name: entry.epilog for entry in (*app.registered_commands, *app.registered_groups)
    }
    assert list(shown) == list(COMMANDS)
    for name, examples in shown.items():
        assert str(examples).startswith("Examples:\n")
        assert f"runbase {name}" in str(examples)
    assert runbase.__version__ in cli("--version")


def test_importing_what_is_no_record(cli: Cli, tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "notes.db").write_text("hello")
    (tmp_path / "empty").mkdir()
    with closing(sqlite3.connect(tmp_path / "plain.db")) as database:
        database.execute("create table other (x)")
        database.commit()
    for name in ("notes.txt", "notes.db", "empty", "plain.db"):
        said = cli("import", str(tmp_path / name), "--store", str(tmp_path / "new.db"), code=2)
        assert f"{name} is not a record that runbase knows; known: " in said
        assert "damaged" not in said
    assert not (tmp_path / "new.db").exists()


def test_importing_run_folders_is_scanning_them(cli: Cli, tmp_path: Path) -> None:
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(tmp_path / "logs" / "first"), write_to_disk=True) as writer:
        for step in range(20):
            writer.add_scalar("loss", 1 / (step + 1), step)
    store = str(tmp_path / "a.db")
    told = cli("import", str(tmp_path / "logs"), "--store", store, "--json")
    assert (told["new"], told["points"], told["problems"]) == (1, 20, [])
    again = ["import", str(tmp_path / "logs"), "--store", store, "--json"]
    assert cli(*again)["points"] == 0
    told = cli(*again, "--from", "tensorboard")
    assert (told["found"], told["points"]) == (1, 0)


def test_the_slurm_job_and_attributes_of_a_run(
    cli: Cli, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "2")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node[1-2]")
    run = runbase.start_run("s", name="job", home=home, tags={"stage": "dev"})
    run.finish()
    monkeypatch.delenv("SLURM_JOB_ID")
    runbase.start_run("s", home=home, name="elsewhere").finish()
    store = runbase.open(home=home)
    store.storage.put_attributes("run", run.id, "sidecar", {"owner": "vision"})
    store.storage.put_attributes("run", run.id, "_inner", {"hidden": 1})
    found = [each.id for each in store.runs("slurm.job_id = '4711' and slurm.nodes like 'node%'")]
    assert found == [run.id]
    assert len(store.runs("slurm.job_id is null")) == 1
    assert store.runs("attributes.sidecar.owner = 'vision'")[0].id == run.id
    shown = cli("show", run.id, "--home", str(home))
    assert "job 4711 (task 2 of array 10), on node[1-2]" in shown
    assert "vision" in shown
    assert "hidden" not in shown
    listed = cli("runs", "-c", "slurm.job_id,tags.stage,host", "--home", str(home))
    [line] = [line for line in listed.splitlines() if "4711" in line]
    assert "dev" in line
    frame = store.runs().to_pandas()
    assert sorted(frame["slurm.job_id"].dropna()) == ["4711"]
