"""Receivers of alerts: a web server and a mail server, which can refuse first."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


class Receiver:
    """A web server that keeps what it is sent.

    Args:
        refuse: how many requests it answers with 503 first.
        hold: whether it holds requests, without an answer, until `release` is set.
    """

    def __init__(self, refuse: int = 0, hold: bool = False) -> None:
        self.refuse, self.tries = refuse, 0
        self.accepted: list[tuple[dict[str, str], bytes]] = []
        self.release = threading.Event()
        if not hold:
            self.release.set()
        self._guard = threading.Lock()
        mine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with mine._guard:
                    mine.tries += 1
                    refused = mine.tries <= mine.refuse
                if not mine.release.wait(0) and not mine.release.wait(300):
                    return
                with mine._guard:
                    if not refused:
                        headers = {name.lower(): value for name, value in self.headers.items()}
                        mine.accepted.append((headers, body))
                try:
                    self.send_response(503 if refused else 200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except OSError:
                    pass  # the sender was killed

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def documents(self) -> list[Any]:
        return [json.loads(body) for _, body in list(self.accepted)]

    def close(self) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def receiving(**options: Any) -> Iterator[Receiver]:
    receiver = Receiver(**options)
    try:
        yield receiver
    finally:
        receiver.close()


class Mailbox:
    """What a mail server accepted. It refuses the first messages."""

    def __init__(self, refuse: int = 0) -> None:
        self.refuse, self.tries = refuse, 0
        self.messages: list[tuple[list[str], Message]] = []
        self.host, self.port = "127.0.0.1", 0

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.tries += 1
        if self.tries <= self.refuse:
            return "451 try again later"
        self.messages.append((envelope.rcpt_tos, message_from_bytes(envelope.content)))
        return "250 accepted"


@contextmanager
def mailbox(refuse: int = 0) -> Iterator[Mailbox]:
    box = Mailbox(refuse)
    controller = Controller(box, hostname="127.0.0.1", port=_free_port())
    controller.start()
    box.port = controller.port
    try:
        yield box
    finally:
        controller.stop()


def _free_port() -> int:
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
