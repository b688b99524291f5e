"""The guard ends what a killed process left running, and nothing else."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen

import psutil
import pytest

from runbase.trials.guard import Guard
from tests.patience import PATIENCE, wait_until

OWNER = """
import subprocess, sys
from runbase.trials.guard import Guard
guard = Guard(grace=1)
for code in sys.argv[1:]:
    command = guard.start(["sh", "-c", code], stdout=subprocess.PIPE)
    print(command.stdout.readline().decode().strip(), command.pid, flush=True)
    if "sleep" not in code:
        command.wait()
        guard.release()
sys.stdin.read()
"""


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def started(owner: "Popen[str]", count: int) -> list[int]:
    """Return the processes that the owner reports: of each command its child, and itself."""
    assert owner.stdout is not None
    return [int(word) for _ in range(count) for word in owner.stdout.readline().split()]


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["ends", "ignores SIGTERM"])
def test_the_command_of_a_killed_process_is_ended(
    script: Callable[..., "Popen[str]"], trap: str
) -> None:
    owner = script(OWNER, f"{trap}sleep 600 & echo $!; wait")
    pids = started(owner, 1)
    assert all(map(lives, pids))
    owner.kill()
    wait_until(lambda: not any(map(lives, pids)))


def test_the_last_of_several_commands_is_ended(script: Callable[..., "Popen[str]"]) -> None:
    owner = script(OWNER, "echo 0", "sleep 600 & echo $!; wait")
    pids = started(owner, 2)[2:]
    owner.kill()
    wait_until(lambda: not any(map(lives, pids)))


DIES_AT_ONCE = """
import os, signal, subprocess, sys
from runbase.trials.guard import Guard
guard = Guard(grace=1)
class Dies(subprocess.Popen):
    def __init__(self, command, **options):
        super().__init__(command, **options)
        if any("sleep" in word for word in command):
            os.kill(os.getpid(), signal.SIGKILL)
subprocess.Popen = Dies
guard.start(["sh", "-c", f"echo $$ > {sys.argv[1]}.new; mv {sys.argv[1]}.new {sys.argv[1]}; sleep 600"])
"""


def test_a_process_that_dies_as_soon_as_its_command_is_there(
    script: Callable[..., "Popen[str]"], tmp_path: Path
) -> None:
    noted = tmp_path / "pid"
    assert script(DIES_AT_ONCE, str(noted)).wait(PATIENCE) == -signal.SIGKILL
    # The command may be ended before it could note its process.
    wait_until(lambda: not any(str(noted) in word for word in commands()))
    if noted.exists():
        pid = int(noted.read_text())
        wait_until(lambda: not lives(pid))


def commands() -> list[str]:
    """Return the command lines of all processes."""
    return [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]


def test_what_goes_on_after_a_normal_end_is_left_alone() -> None:
    with Guard(grace=1) as guard:
        command = guard.start(["sleep", "600"])
        wait_until(lambda: psutil.Process(command.pid).name() == "sleep")
        guard.release()
    try:
        assert lives(command.pid)
    finally:
        command.kill()
        command.wait()


def test_a_guard_that_was_killed_is_replaced() -> None:
    guard = Guard(grace=1)
    assert guard.start(["true"]).wait(PATIENCE) == 0
    first = guard._process
    assert first is not None
    first.kill()
    first.wait()
    guard.release()
    command = guard.start(["sleep", "600"])
    second = guard._process
    assert second is not None
    assert second is not first
    second.communicate()  # as if this process died
    assert command.wait(PATIENCE) == -signal.SIGTERM


def test_a_guard_that_dies_while_a_command_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipe to it is broken, and the command starts all the same."""
    guard = Guard(grace=1)
    guard.start(["true"]).wait(PATIENCE)
    first = guard._process
    assert first is not None
    first.kill()
    first.wait()
    monkeypatch.setattr(first, "poll", lambda: None)
    command = guard.start(["sh", "-c", "echo it works; exit 3"], stdout=subprocess.PIPE)
    assert command.communicate(timeout=PATIENCE)[0] == b"it works\n"
    assert command.returncode == 3


def test_the_standard_input_of_a_command_is_empty() -> None:
    with Guard() as guard:
        command = guard.start(["cat"], stdout=subprocess.PIPE)
        assert command.communicate(timeout=PATIENCE) == (b"", None)
        guard.release()


@pytest.mark.parametrize("program", ["no-such-program", "./no-such-program", "./no-program"])
def test_a_program_that_cannot_be_started(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error is that of `subprocess.Popen`."""
    monkeypatch.chdir(tmp_path)
    Path("no-program").write_text("text")
    with pytest.raises(OSError) as expected:
        subprocess.Popen([program])
    with Guard() as guard, pytest.raises(OSError) as raised:
        guard.start([program])
    assert raised.value.errno == expected.value.errno
    assert raised.value.strerror == expected.value.strerror


@pytest.mark.parametrize("argument", ["", "two words", "-n", "$HOME", "\n", "*", "'"])
def test_arguments_are_passed_as_they_are(argument: str) -> None:
    with Guard() as guard:
        code = "import sys; print(repr(sys.argv[1:]))"
        command = guard.start([sys.executable, "-c", code, argument], stdout=subprocess.PIPE)
        assert command.communicate(timeout=PATIENCE)[0].decode() == f"{[argument]!r}\n"
        guard.release()


@pytest.mark.parametrize("name", ["plain", "a.b", "BASH_FUNC_module%%", "1st"])
def test_all_variables_reach_the_command(name: str) -> None:
    """Some shells drop those whose names are not theirs; bash exports its functions so."""
    code = f"import os; print(os.environ[{name!r}])"
    with Guard(grace=1) as guard:
        command = guard.start(
            [sys.executable, "-c", code], env={**os.environ, name: "value"}, stdout=subprocess.PIPE
        )
        assert command.communicate(timeout=PATIENCE)[0] == b"value\n"
        guard.release()


def test_a_command_with_odd_variables_is_guarded(script: Callable[..., "Popen[str]"]) -> None:
    owner = script(OWNER, "sleep 600 & echo $!; wait", **{"BASH_FUNC_module%%": "() { :; }"})
    pids = started(owner, 1)
    owner.kill()
    wait_until(lambda: not any(map(lives, pids)))
