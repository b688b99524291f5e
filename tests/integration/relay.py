"""A TCP relay that stops, or cuts its connections, after a number of bytes."""

import socket
import threading
from contextlib import suppress
from typing import Self

from tests.patience import PATIENCE


class Relay:
    """Passes connections on to a server, and counts the bytes that come back, or those that go there.

    Args:
        target: host and port of the server.
        upwards: count the bytes that go to the server.
    """

    def __init__(self, target: tuple[str, int], *, upwards: bool = False) -> None:
        self._target, self._upwards = target, upwards
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._changed = threading.Condition()
        self._sockets: list[socket.socket] = []
        self.passed = 0
        """Bytes that came from the server, or from its clients."""
        self.stops_at: int | None = None
        """Bytes after which nothing is passed on; None: everything is."""
        self.cuts_at: list[int] = []
        """Counts of bytes at which the connection that passes them is closed."""
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def wait(self) -> None:
        """Wait until the relay has stopped."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: self.stops_at is not None and self.passed >= self.stops_at, PATIENCE
            )

    def cut(self) -> None:
        """Close all connections, and pass on later ones."""
        with self._changed:
            self.stops_at = None
            sockets, self._sockets = self._sockets, []
            for one in sockets:  # bytes that a killed client left in them are dropped
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            self._changed.notify_all()
        for one in sockets:
            one.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                for source, sink in ((client, server), (server, client)):
                    counted = (source is client) == self._upwards
                    threading.Thread(
                        target=self._pass, args=(source, sink, counted), daemon=True
                    ).start()

    def _pass(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while data := source.recv(2**16):
                if counted:  # first: who has the last byte may ask for the count
                    self._count(len(data))
                sink.sendall(data)
                if counted and self._stopped():
                    break
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _count(self, size: int) -> None:
        with self._changed:
            self.passed += size

    def _stopped(self) -> bool:
        """Wait while the relay is stopped; return whether the connection is cut."""
        with self._changed:
            self._changed.notify_all()
            self._changed.wait_for(lambda: self.stops_at is None or self.passed < self.stops_at)
            if self.cuts_at and self.passed >= self.cuts_at[0]:
                del self.cuts_at[0]
                return True
        return False
