"""The stream of changes: what happens arrives, and nothing is missed after an interruption."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import runbase
from runbase.store.store import Store
from tests.patience import wait_until

from .conftest import Http, on_both


class Stream:
    """Reads server-sent events in a thread."""

    def __init__(self, http: Http, query: str = "", since: str | None = None) -> None:
        self.events: list[tuple[str, str, Any]] = []
        headers = {"Last-Event-ID": since} if since else {}
        if http.token:
            headers["Authorization"] = f"Bearer {http.token}"
        self._answer = http.pool.request(
            "GET", f"{http.url}/api/live{query}", headers=headers, preload_content=False
        )
        assert self._answer.status == 200, self._answer.data
        assert self._answer.headers["Content-Type"].startswith("text/event-stream")
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        wait_until(lambda: any(event == "ready" for event, _, _ in self.events), seconds=300)

    def _lines(self) -> Iterator[str]:
        rest = b""
        for piece in self._answer.stream(1):
            rest += piece
            while b"\n" in rest:
                line, rest = rest.split(b"\n", 1)
                yield line.decode().rstrip("\r")

    def _read(self) -> None:
        event, cursor, data = "", "", ""
        try:
            for line in self._lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    event = value
                elif name == "id":
                    cursor = value
                elif name == "data":
                    data += value
                elif not line:
                    if event:
                        self.events.append((event, cursor, json.loads(data) if data else None))
                    event, data = "", ""
        except Exception:
            pass

    def names(self) -> set[str]:
        return {
            name
            for event, _, data in self.events
            if event == "runs"
            for name in data["columns"]["name"]
        }

    def close(self) -> None:
        self._answer.shutdown()  # close() would wait for the reading thread


@on_both
def test_changes_arrive_and_those_during_an_interruption_too(http: Http, store: Store) -> None:
    stream = Stream(http)
    run = store.run("run-1")
    store.note(run, "x")
    wait_until(lambda: bool(stream.names()), seconds=300)
    assert stream.names() == {"run-1"}
    cursor = stream.events[-1][1]
    stream.close()
    store.note(store.run("run-2"), "while nobody listened")
    again = Stream(http, since=cursor)
    wait_until(lambda: "run-2" in again.names(), seconds=300)
    again.close()


@on_both
def test_a_new_run_and_its_points_arrive(http: Http, store: Store) -> None:
    stream = Stream(http, "?columns=name,status,metrics.loss&experiment=live")
    store.create_experiment("live")
    with runbase.start_run("live", name="fresh", home=store.home, capture=False) as run:
        run.log({"loss": 0.5})
        run.flush()
        wait_until(lambda: "fresh" in stream.names(), seconds=300)
    wait_until(
        lambda: any(
            data["columns"]["status"] == ["COMPLETED"] and data["columns"]["metrics.loss"] == [0.5]
            for event, _, data in stream.events
            if event == "runs"
        ),
        seconds=60,
    )
    stream.close()


@on_both
def test_only_what_matches_and_what_no_longer_does(http: Http, store: Store) -> None:
    stream = Stream(http, "?where=params.lr%20%3D%200")
    store.note(store.run("run-2"), "does not match")
    store.note(store.run("run-0"), "matches")
    wait_until(lambda: "run-0" in stream.names(), seconds=300)
    assert stream.names() == {"run-0"}
    stream.close()


@on_both
def test_a_cursor_of_another_database_means_reset(http: Http) -> None:
    stream = Stream(http, since="s-999999-nonsense")
    wait_until(
        lambda: any(event in ("reset", "error") for event, _, _ in stream.events), seconds=60
    )
    stream.close()
