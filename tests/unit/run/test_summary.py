"""What a run prints at its end on a terminal."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import runbase
from runbase.run.summary import lines
from runbase.status import Status

SCRIPT = """
import runbase
with runbase.start_run("mnist", name="one", home=".runbase") as run:
    for step in range(10):
        run.log({"val/loss": 1.0 / (step + 1), "lr": 0.1}, step=step)
"""


def on_terminal(folder: Path, **environment: str) -> str:
    """Run the script with a terminal; returns what it shows."""
    reader, writer = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        stdin=writer,
        stdout=writer,
        stderr=writer,
        env={**os.environ, "RUNBASE_QUIET": "", **environment},
    )
    os.close(writer)
    shown = b""
    while True:
        try:
            piece = os.read(reader, 4096)
        except OSError:  # the last writer closed the terminal
            break
        if not piece:
            break
        shown += piece
    os.close(reader)
    assert process.wait(120) == 0
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_shows_the_main_metrics(tmp_path: Path) -> None:
    shown = on_terminal(tmp_path).splitlines()
    assert shown[0].startswith("runbase: run one of mnist → ")
    assert shown[1].startswith("runbase: run one of mnist: COMPLETED after ")
    assert shown[1].endswith(" s, 20 points")
    assert shown[2].split() == ["val/loss", "last", "0.1", "best", "0.1", "at", "step", "9"]
    assert shown[3].split() == ["lr", "last", "0.1"]
    assert shown[4:] == ["  runbase show one"]


def test_quiet_prints_nothing(tmp_path: Path) -> None:
    assert on_terminal(tmp_path, RUNBASE_QUIET="1") == ""


def test_a_run_without_a_record_says_how_it_ended() -> None:
    assert lines("one", "mnist", Status.FAILED, None) == ["runbase: run one of mnist: FAILED"]


def test_many_metrics_are_counted(tmp_path: Path) -> None:
    run = runbase.start_run("many", name="one", home=tmp_path, capture=False)
    run.log({f"m{n}": n for n in range(9)}, step=0)
    run.finish()
    with runbase.open(home=tmp_path) as store:
        shown = lines("one", "many", Status.COMPLETED, store.runs()[0])
    assert len(shown) == 1 + 6 + 1 + 1
    assert shown[-2] == "  … and 3 more"
