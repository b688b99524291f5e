"""Copy standard output and error to `output.log` with `tee`, at the level of file descriptors.

A separate process copies the output: it does not hold the interpreter lock, it receives what child processes and C libraries
write, and it continues if the run is killed. If the output is a terminal, it stays one (a pseudo-terminal), so that colours
and progress bars work as before.
"""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from runbase.capture.secrets import mask_file
from runbase.processes import Owner

_SCRIPT = 'trap "" INT TERM HUP QUIT; exec tee -a -- "$1"'
_active: "OutputCapture | None" = None


class OutputCapture:
    """Copies what this process writes to file descriptors 1 and 2 to a file, until `stop`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: list[tuple[int, int]] = []
        self._copiers: list[subprocess.Popen[bytes]] = []
        self._owner = Owner()

    def start(self) -> None:
        """Start copying.

        Raises:
            OSError: the output cannot be copied; nothing was changed.
        """
        try:
            for fd in (1, 2):
                self._divert(fd)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop copying; waits a moment for the last output."""
        if not self._owner.here:
            return
        _flush()
        for fd, saved in self._saved:
            os.dup2(saved, fd)
            os.close(saved)
        self._saved.clear()
        for copier in self._copiers:
            # A child process may still have the other end open; the copier then continues for it.
            with suppress(subprocess.TimeoutExpired):
                copier.wait(timeout=2)
        self._copiers.clear()
        with suppress(OSError):  # for example, the folder was removed
            mask_file(self._path)

    def _divert(self, fd: int) -> None:
        saved = os.dup(fd)
        os.set_inheritable(saved, False)
        reader, writer = _terminal_like(fd) if os.isatty(fd) else os.pipe()
        try:
            copier = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, "sh", str(self._path)],
                stdin=reader,
                stdout=saved,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # it must not receive signals to the terminal's process group
            )
        except BaseException:
            os.close(writer)
            os.close(saved)
            raise
        finally:
            os.close(reader)
        _flush()
        os.dup2(writer, fd)
        os.close(writer)
        self._saved.append((fd, saved))
        self._copiers.append(copier)


def start(path: Path) -> OutputCapture | None:
    """Start copying to `path`; None if another run of this process does so, or it is not possible."""
    global _active
    if _active is not None or shutil.which("tee") is None or not Path("/bin/sh").exists():
        return None
    capture = OutputCapture(path)
    try:
        capture.start()
    except OSError:
        return None
    _active = capture
    return capture


def stop(capture: OutputCapture) -> None:
    """Stop copying."""
    global _active
    capture.stop()
    if _active is capture:
        _active = None


def _terminal_like(fd: int) -> tuple[int, int]:
    """Return both ends of a pseudo-terminal with the settings of the terminal at `fd` that changes no byte."""
    import fcntl
    import termios

    reader, writer = os.openpty()
    with suppress(termios.error, OSError):
        attributes: list[Any] = termios.tcgetattr(fd)
        attributes[1] &= ~termios.OPOST  # the real terminal converts \n to \r\n; once is enough
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(writer, termios.TCSANOW, attributes)
        size = fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8)
        fcntl.ioctl(writer, termios.TIOCSWINSZ, size)
    return reader, writer


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # closed, replaced or detached by the program itself
            stream.flush()


def _forget() -> None:
    global _active
    _active = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
