"""End the command of a worker that was killed: SIGKILL leaves a worker no time to do it itself."""

import errno
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

GRACE = 10
"""Seconds between SIGTERM and SIGKILL."""
_SCRIPT = """
group=0
while read -r line; do group=$line; done
[ "$group" = 0 ] && exit 0
kill -s TERM -- "-$group" 2>/dev/null || exit 0
left=$1
while [ "$left" -gt 0 ]; do
    sleep 1
    kill -s 0 -- "-$group" 2>/dev/null || exit 0
    left=$((left - 1))
done
kill -s KILL -- "-$group"
"""
"""Reads which process group runs now, 0 for none; when the other end of the pipe closes, ends the last one."""
_SHELL = "/bin/sh"
_ANNOUNCED = """(trap '' PIPE; echo $$ >&0) 2>/dev/null; exec "$@" </dev/null"""
"""Tells the guard its process group, by the pipe that it has as standard input, and becomes the command."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A variable that a shell passes on. Some drop others, such as `BASH_FUNC_module%%`, the functions that bash exports."""


class Guard:
    """A small process that outlives this one, and ends the process group that ran last.

    The kernel closes the pipe between them when this process dies, however it does. Without `/bin/sh`, it does nothing.

    Args:
        grace: seconds between SIGTERM and SIGKILL.
    """

    def __init__(self, grace: int = GRACE) -> None:
        self._grace = grace
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
            self._process = None

    def start(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
    ) -> "subprocess.Popen[bytes]":
        """Start a command in a process group of its own, which is ended if this process dies before `release`.

        The command itself names its group to the guard before it begins, because this process may die before it could. It
        takes a shell for that, so if a variable would not pass the shell, this process names the group.

        Args:
            command: the program and its arguments. Its standard input is empty.
            env: its environment. Default: that of this process.
            stdout: its standard output, as of `subprocess.Popen`.
            stderr: its standard error.

        Raises:
            OSError: the program cannot be started.
        """
        if self._process is None or self._process.poll() is not None:
            self._process = self._begin()
        variables = os.environ if env is None else env
        guard = self._process if all(map(_NAME.fullmatch, variables)) else None
        stdin: int | IO[bytes] | None = subprocess.DEVNULL
        if guard is not None:
            _check(command[0], variables)
            command = [_SHELL, "-c", _ANNOUNCED, "runbase-start", *command]
            stdin = guard.stdin
        process = subprocess.Popen(
            command, env=env, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
        )
        if guard is None:
            self._tell(process.pid)
        return process

    def release(self) -> None:
        """Leave the process group alone from now on: it has ended."""
        self._tell(0)

    def _begin(self) -> "subprocess.Popen[bytes] | None":
        try:
            return subprocess.Popen(
                [_SHELL, "-c", _SCRIPT, "runbase-guard", str(self._grace)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C, and signals to the group of the worker, are not for it
                bufsize=0,
            )
        except OSError:
            return None

    def _tell(self, group: int) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._process.stdin.write(b"%d\n" % group)
        except OSError:
            self._process = None  # somebody ended it; the next command has a new one


def _check(program: str, environment: Mapping[str, str]) -> None:
    """Raise the error that starting a program would."""
    if shutil.which(program, path=environment.get("PATH")) is not None:
        return
    there = os.sep in program and Path(program).exists()
    code = errno.EACCES if there else errno.ENOENT
    raise OSError(code, os.strerror(code), program)
