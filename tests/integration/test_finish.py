"""The end of a run: exceptions, exit codes, timeouts."""

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import runbase
from tests.read_back import stored

Script = Callable[..., "subprocess.Popen[str]"]
LONE = "caf\udce9"


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "error",
    [Unspeakable(), ValueError(LONE), RuntimeError("\0"), ValueError("x" * 10**6)],
    ids=["str raises", "surrogate", "nul", "long"],
)
def test_the_users_exception_comes_out(home: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as raised, runbase.start_run("e", home=home) as run:
        run.log({"loss": 1.0})
        raise error
    assert raised.value is error
    assert runbase.current_run() is None
    with runbase.open(home=home) as store:
        record = store.run(run.id)
        assert record.status == "FAILED"
        assert record.error is not None
        assert record.error["type"].endswith(type(error).__name__)


def test_an_exit_code_past_all_bounds(script: Script, home: Path) -> None:
    process = script(
        f"import runbase, sys\n"
        f"run = runbase.start_run('exit', home={str(home)!r})\n"
        f"run.log({{'loss': 1.0}})\n"
        f"sys.exit(2**70)\n"
    )
    process.communicate()
    assert process.returncode == 255
    with runbase.open(home=home) as store:
        (run,) = store.runs()
        assert (run.status, run.exit_code) == ("FAILED", 255)


def test_a_run_stays_active_until_its_end_is_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runbase.start_run("end", home=home, capture=False)
    close = run._journal.close

    def fail(*_: Any) -> None:
        raise RuntimeError("not now")

    monkeypatch.setattr(run._journal, "close", fail)
    with pytest.raises(RuntimeError, match="not now"):
        run.finish()
    assert runbase.current_run() is run
    monkeypatch.setattr(run._journal, "close", close)
    run.finish()
    assert runbase.current_run() is None
    assert stored(run).status == "COMPLETED"


def test_finish_keeps_its_timeout(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBASE_FINISH_TIMEOUT", "1")
    run = runbase.start_run("many", home=home, capture=False)
    run._monitor.ended.set()  # nothing is taken in beside the loop
    for number in range(30_000):
        run._append_finite(number, {f"key{number}": 1.0})
    began = time.monotonic()
    run.finish()
    took = time.monotonic() - began
    assert took < 60, f"{took:.1f} s"  # it was minutes; a machine may be busy
    with runbase.open(home=home) as store:
        assert store.totals()["points"] == 30_000


def test_finish_waits_for_no_lock_past_its_timeout(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setenv("RUNBASE_FINISH_TIMEOUT", "1")
    run = runbase.start_run("locked", home=home, capture=False)
    run.flush()
    run._monitor.ended.set()
    with Path(home / "runbase.db.lock").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        run.log({"loss": 1.0})
        began = time.monotonic()
        with pytest.warns(RuntimeWarning, match="runbase sync"):
            run.finish()
        assert time.monotonic() - began < 25
    assert stored(run).metrics["loss"].count == 1
