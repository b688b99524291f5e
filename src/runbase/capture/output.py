"""Standard output and error into `output.log`, at the level of file descriptors, by `tee`.

A process of its own copies: it holds no lock of the interpreter, it sees what child processes and C
libraries write, and it writes on when the run is killed. Where the output is a terminal it stays
one (a pseudo-terminal), so colours and progress bars stay as they are.
"""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from runbase.secrets import mask_file

_SCRIPT = 'trap "" INT TERM HUP QUIT; exec tee -a -- "$1"'
_active: "OutputCapture | None" = None


class OutputCapture:
    """Copies what this process writes to file descriptors 1 and 2 to a file, until `stop`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: list[tuple[int, int]] = []
        self._copiers: list[subprocess.Popen[bytes]] = []
        self._pid = os.getpid()

    def start(self) -> None:
        """Begin; on failure everything is as before and OSError tells why."""
        try:
            for fd in (1, 2):
                self._divert(fd)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End; waits a moment for what was written last."""
        if self._pid != os.getpid():
            return
        _flush()
        for fd, saved in self._saved:
            os.dup2(saved, fd)
            os.close(saved)
        self._saved.clear()
        for copier in self._copiers:
            # A child of ours may still hold the other end, and then the copier goes on for it.
            with suppress(subprocess.TimeoutExpired):
                copier.wait(timeout=2)
        self._copiers.clear()
        with suppress(OSError):  # such as of a folder that is gone
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
                start_new_session=True,  # signals to the terminal's group are not for it
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
    """Capture into `path`; None where another run of this process does so, or it cannot be done."""
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
    """End a capture."""
    global _active
    capture.stop()
    if _active is capture:
        _active = None


def _terminal_like(fd: int) -> tuple[int, int]:
    """Both ends of a pseudo-terminal that looks like the terminal at `fd` and changes no byte."""
    import fcntl
    import termios

    reader, writer = os.openpty()
    with suppress(termios.error, OSError):
        attributes: list[Any] = termios.tcgetattr(fd)
        attributes[1] &= ~termios.OPOST  # the real terminal turns \n into \r\n, once is enough
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
