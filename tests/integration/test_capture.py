"""What a run records of its surroundings, and what it keeps out."""

import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.capture import git
from tests.patience import PATIENCE

Script = Callable[..., "subprocess.Popen[str]"]


def captured(home: Path) -> Any:
    with runbase.open(home=home) as store:
        (run,) = store.runs()
        return run


def test_everything_by_default(script: Script, home: Path, tmp_path: Path) -> None:
    def run_git(*arguments: str) -> None:
        identity = ["-c", "user.name=n", "-c", "user.email=e@x"]
        subprocess.run(
            ["git", "-C", str(tmp_path), *identity, *arguments], check=True, capture_output=True
        )

    run_git("init", "-b", "trunk")
    run_git("remote", "add", "origin", "https://user:hunter2@example.org/x.git")
    (tmp_path / "tracked.py").write_text("a = 1\n")
    run_git("add", "tracked.py")
    run_git("commit", "-m", "one")
    (tmp_path / "tracked.py").write_text("a = 2\n")
    code = "import runbase\nwith runbase.start_run('c') as run: run.log({'x': 1})\n"
    process = script(
        code, "--lr", "0.1", "--name=x", "--api-key", "hunter2", "deep.layers=3", RANK="0"
    )
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    run = captured(home)
    assert re.fullmatch(r"[0-9a-f]{40}", run.git["commit"])
    assert (run.git["branch"], run.git["dirty"]) == ("trunk", True)
    assert run.git["remote"] == "https://example.org/x.git"
    assert "+a = 2" in (home / run.folder / "git.diff").read_text()
    assert run.args["script"].endswith("script0.py")
    assert run.args["options"] == {
        "lr": 0.1,
        "name": "x",
        "api-key": "********",
        "deep.layers": 3,
    }
    assert run.env["RANK"] == "0"
    assert run.system["python"] == ".".join(map(str, sys.version_info[:3]))
    assert "msgspec" in run.system["packages"]
    assert run.system["cpus"] >= 1
    assert run.system["memory"] > 2**20
    assert run.pid == process.pid
    everything = b"".join(p.read_bytes() for p in home.rglob("*") if p.is_file())
    assert b"hunter2" not in everything


def test_each_part_has_its_switch(script: Script, home: Path) -> None:
    code = "import runbase\nwith runbase.start_run('c', capture=['host']) as run: print('hello')\n"
    script(code).communicate(timeout=PATIENCE)
    run = captured(home)
    assert "cpus" in run.system
    assert "packages" not in run.system
    assert (run.git, run.args, run.env) == ({}, {}, {})
    assert not list(home.glob("runs/*/*/output.log"))


def test_output_of_python_of_c_and_of_children(script: Script, home: Path) -> None:
    code = """
import os, subprocess, sys, runbase
with runbase.start_run('out', capture=['output']):
    print('from python')
    print('to stderr', file=sys.stderr)
    os.write(1, b'from c\\n')
    subprocess.run(['echo', 'from a child'])
print('after the run')
"""
    out, err = script(code).communicate(timeout=PATIENCE)
    assert out.splitlines() == ["from python", "from c", "from a child", "after the run"]
    assert err.splitlines() == ["to stderr"]
    (log,) = home.glob("runs/*/*/output.log")
    # Two streams meet in one file, piece by piece as they are written: Python's stderr writes a line's
    # end by itself.
    pieces = ["from python\n", "from c\n", "from a child\n", "to stderr", "\n"]
    text = log.read_text()
    assert len(text) == sum(map(len, pieces))
    for piece in pieces:
        assert piece in text


def test_last_words_before_a_kill(script: Script, home: Path) -> None:
    code = """
import os, signal, runbase
run = runbase.start_run('out', capture=['output'])
print('last words', flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    out, _ = script(code).communicate(timeout=PATIENCE)
    assert out == "last words\n"
    (log,) = home.glob("runs/*/*/output.log")
    assert log.read_text() == "last words\n"


def test_a_terminal_stays_a_terminal(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "tty.py"
    path.write_text(
        "import os, sys, runbase\n"
        "with runbase.start_run('tty', capture=['output']):\n"
        "    print(sys.stdout.isatty(), os.get_terminal_size(1).columns)\n"
        "    print('two')\n"
    )
    master, slave = pty.openpty()
    size = b"\x18\x00\x63\x00\x00\x00\x00\x00"  # 24 lines of 99 columns
    import fcntl
    import termios

    fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
    process = subprocess.Popen([sys.executable, str(path)], stdout=slave, stderr=slave, stdin=slave)
    os.close(slave)
    shown = bytearray()

    def read() -> None:
        try:
            while chunk := os.read(master, 4096):
                shown.extend(chunk)
        except OSError:
            return  # the other end is closed

    reader = threading.Thread(target=read)
    reader.start()
    assert process.wait(timeout=PATIENCE) == 0
    reader.join(timeout=PATIENCE)
    assert bytes(shown) == b"True 99\r\ntwo\r\n"
    (log,) = home.glob("runs/*/*/output.log")
    assert log.read_text() == "True 99\ntwo\n"


def test_system_metrics(script: Script, home: Path) -> None:
    code = """
import time, runbase
from runbase.capture import system_metrics
system_metrics.INTERVAL = 0.1
run = runbase.start_run('s', capture=['system'])
while not run._monitor._samples:
    time.sleep(0.01)
run.finish()
"""
    _, err = script(code).communicate(timeout=PATIENCE)
    assert err == ""
    run = captured(home)
    assert run.metrics == {}
    with runbase.open(home=home) as store:
        assert store.telemetry(run.id, "memory/process_bytes").values[0] > 2**20
        assert 0 <= store.telemetry(run.id, "memory/percent").values[0] <= 100


def test_array_jobs_are_tagged(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "10")
    runbase.start_run("array", home=home, capture=["slurm"]).finish()
    run = captured(home)
    assert run.tags == {"sweep:10": None}
    assert run.system["slurm"]["array_job_id"] == "10"


def test_no_repository(tmp_path: Path) -> None:
    assert git.repository(tmp_path) is None
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    found = git.repository(tmp_path)
    assert found is not None
    assert found["commit"] is None
