"""The protocol of resumable uploads of Google Cloud Storage, on a server that keeps less than it is sent."""

import http.server
import os
import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from runbase.artifacts import multipart_gs
from runbase.artifacts.multipart import Unfinished
from runbase.artifacts.multipart_gs import GoogleTarget
from runbase.errors import StoreError

PART = 2**20
BODY = os.urandom(3 * PART + 12_345)


class Session:
    """A session, which keeps so much of each request, in units of 256 KiB, and fails some requests."""

    def __init__(self, keeps: int, failures: list[int]) -> None:
        self.keeps, self.failures = keeps, failures
        self.kept = b""
        self.size: int | None = None
        session = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status = session.put(body, self.headers["Content-Range"])
                self.send_response(status)
                if status == 308 and session.kept:
                    self.send_header("Range", f"bytes=0-{len(session.kept) - 1}")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.begun = Unfinished(f"http://127.0.0.1:{self._server.server_port}/?upload_id=a", PART)

    def put(self, body: bytes, place: str) -> int:
        if not body:
            return 200 if self.size == len(self.kept) else 308
        if self.failures:
            return self.failures.pop(0)
        begin, end, size = map(int, re.findall(r"\d+", place))
        assert (begin, end) == (len(self.kept), begin + len(body) - 1), "from where the session is"
        if end + 1 == size and len(body) <= self.keeps:
            self.kept, self.size = self.kept + body, size
            return 200
        self.kept += body[: min(self.keeps, len(body) // 2**18 * 2**18)]
        return 308

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def sessions(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setattr(multipart_gs, "FIRST_PAUSE", 0.001)
    made: list[Session] = []

    def start(keeps: int, *failures: int) -> Session:
        made.append(Session(keeps, list(failures)))
        return made[-1]

    yield start
    for session in made:
        session.close()


def send(session: Session, numbers: range) -> None:
    target = GoogleTarget(None)
    stored = target.stored(session.begun, len(BODY))
    assert stored is not None
    for number in numbers:
        if number not in stored:
            body = BODY[(number - 1) * PART : number * PART]
            target.send(session.begun, number, body, len(BODY))


@pytest.mark.parametrize("keeps", [2**18, 3 * 2**18, PART])
def test_a_part_of_which_a_piece_arrived_is_continued(sessions: Any, keeps: int) -> None:
    session = sessions(keeps, 503, 429, 500)
    send(session, range(1, 3))
    session.kept += BODY[2 * PART : 2 * PART + 2**18]  # the process was killed in the third part
    assert GoogleTarget(None).stored(session.begun, len(BODY)) == {1, 2}
    send(session, range(1, 5))
    assert session.kept == BODY


def test_a_session_that_keeps_failing_ends_the_attempt(sessions: Any) -> None:
    session = sessions(PART, *[503] * (multipart_gs.RETRIES + 1))
    with pytest.raises(StoreError, match="status 503"):
        send(session, range(1, 2))
    assert session.failures == []


def test_a_session_that_lost_bytes(sessions: Any) -> None:
    session = sessions(PART)
    target = GoogleTarget(None)
    assert target.stored(session.begun, len(BODY)) == set()
    with pytest.raises(StoreError, match="has less of the file"):
        target.send(session.begun, 2, BODY[PART : 2 * PART], len(BODY))
