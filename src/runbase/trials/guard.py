"""End the command of a worker that was killed: SIGKILL leaves a worker no time to do it itself."""

import subprocess
from types import TracebackType
from typing import Self

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

    def watch(self, group: int) -> None:
        """End a process group if this process dies before `release`."""
        if self._process is None or self._process.poll() is not None:
            self._process = self._start()
        self._tell(group)

    def release(self) -> None:
        """Leave the process group alone from now on: it has ended."""
        self._tell(0)

    def _start(self) -> "subprocess.Popen[bytes] | None":
        try:
            return subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, "runbase-guard", str(self._grace)],
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


__all__ = ["Guard"]
