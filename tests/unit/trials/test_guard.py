"""The guard ends what a killed process left running, and nothing else."""

import signal
import subprocess
from collections.abc import Callable
from subprocess import Popen

import psutil
import pytest

from runbase.trials.guard import Guard
from tests.patience import wait_until

OWNER = """
import subprocess, sys
from runbase.trials.guard import Guard
guard = Guard(grace=1)
for code in sys.argv[1:]:
    command = subprocess.Popen(["sh", "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    guard.watch(command.pid)
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


def test_what_goes_on_after_a_normal_end_is_left_alone() -> None:
    command = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        with Guard(grace=1) as guard:
            guard.watch(command.pid)
            guard.release()
        assert lives(command.pid)
    finally:
        command.kill()
        command.wait()


def test_a_guard_that_was_killed_is_replaced() -> None:
    guard = Guard(grace=1)
    guard.watch(999_999_999)
    first = guard._process
    assert first is not None
    first.kill()
    first.wait()
    guard.release()
    command = subprocess.Popen(["sleep", "600"], start_new_session=True)
    guard.watch(command.pid)
    second = guard._process
    assert second is not None
    assert second is not first
    second.communicate()  # as if this process died
    assert command.wait(60) == -signal.SIGTERM
