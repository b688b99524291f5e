"""Nothing that was acknowledged is lost when a process is killed."""

import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

import runbase
from tests.integration.processes import LOGS, kill_after

Script = Callable[..., "subprocess.Popen[str]"]
ROUNDS = int(os.environ.get("RUNBASE_TEST_KILL_ROUNDS", "60"))


def test_kill_at_random_moments(tmp_path: Path, home: Path) -> None:
    """Every acknowledged step is there once, in order; the run is NODE_FAIL."""
    path = tmp_path / "logs.py"
    path.write_text(LOGS)
    dice = random.Random(7)
    for number in range(ROUNDS):
        # In every other round the process ingests all the time: the kill hits its transactions too.
        every = "0.001" if number % 2 else "1"
        command = [sys.executable, str(path), every]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        run, acknowledged = kill_after(process, dice.uniform(0, 0.15))
        with runbase.open(home=home) as store:
            record = store.run(run)
            assert record.status.value == "NODE_FAIL"
            if acknowledged < 0:
                continue
            for key, factor in (("loss", 0.5), ("acc", 1.0)):
                series = store.metrics(run, key, every=True)
                steps = np.arange(len(series))
                np.testing.assert_array_equal(series.steps, steps)
                np.testing.assert_array_equal(series.values, steps * factor)
                assert len(series) > acknowledged
    with runbase.open(home=home) as store:
        assert store.check() == []
        assert len(store.runs()) == ROUNDS


def test_a_file_whose_last_writer_was_killed_before_write_ahead_mode(
    home: Path, tmp_path: Path, script: Script
) -> None:
    """The rollback journal of a backup, or of a new database, is undone at the next opening."""
    with runbase.start_run("e", home=home, capture=False) as run:
        for step in range(5000):
            run.log({"x": step})
    with runbase.open(home=home) as store:
        copy = store.backup(tmp_path / "copy.db").path
    process = script(
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('pragma cache_size = 1'); c.execute('begin immediate')\n"
        "c.execute('delete from blocks'); c.execute('delete from runs')\n"
        "print('ready', flush=True); sys.stdin.readline()",
        str(copy),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.kill()
    process.wait()
    assert (tmp_path / "copy.db-journal").stat().st_size > 0
    with runbase.open(copy) as store:
        assert len(store.metrics(run.id, "x")) == 5000
        assert store.check() == []
