"""The stream of changes: what happens arrives, and nothing is missed after an interruption."""

import json
import threading
import zlib
from collections.abc import Iterator
from typing import Any

import runbase
from runbase.server.routes.live import MOST_KNOWN, LiveRuns, Sent
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

    def rows(self) -> dict[str, dict[str, Any]]:
        """Return each run's cells, as a client knows them after all events."""
        known: dict[str, dict[str, Any]] = {}
        for event, _, data in list(self.events):
            if event == "runs":
                for place, run in enumerate(data["ids"]):
                    cells = {name: values[place] for name, values in data["columns"].items()}
                    known.setdefault(run, {}).update(cells)
        return known

    def names(self) -> set[str]:
        return {row["name"] for row in self.rows().values()}

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
    ended = {"name": "fresh", "status": "COMPLETED", "metrics.loss": 0.5}
    wait_until(lambda: stream.rows() == {run.id: ended}, seconds=60)
    stream.close()


@on_both
def test_an_event_holds_only_the_cells_that_changed(http: Http, store: Store) -> None:
    stream = Stream(http, "?columns=name,status,metrics.loss,notes")
    run = runbase.start_run("live", name="fresh", home=store.home, capture=False)
    run.log({"loss": 0.5})
    run.flush()
    wait_until(lambda: stream.rows().get(run.id, {}).get("metrics.loss") == 0.5, seconds=300)
    before = len(stream.events)
    run.log({"loss": float("nan")})
    run.flush()
    wait_until(lambda: stream.rows()[run.id]["metrics.loss"] == "NaN", seconds=300)
    later = [data["columns"] for event, _, data in stream.events[before:] if event == "runs"]
    assert {"metrics.loss": ["NaN"]} in later
    assert not any("name" in columns or "notes" in columns for columns in later)
    run.finish()
    stream.close()


def test_runs_that_changed_in_the_same_columns_share_an_event() -> None:
    sent = Sent()
    first = {"name": ["a", "b", "c"], "loss": [1.0, 2.0, float("nan")]}
    assert len(sent.news(["1", "2", "3"], first, [])) == 1
    second = {"name": ["a", "b", "z"], "loss": [1.5, 2.5, float("nan")]}
    assert sent.news(["1", "2", "3"], second, ["4"]) == [
        LiveRuns(["1", "2"], {"loss": [1.5, 2.5]}, []),
        LiveRuns(["3"], {"name": ["z"]}, []),
        LiveRuns([], {}, ["4"]),
    ]
    sent.news([], {"name": [], "loss": []}, ["1"])
    again = sent.news(["1"], {"name": ["a"], "loss": [1.5]}, [])
    assert again == [LiveRuns(["1"], {"name": ["a"], "loss": [1.5]}, [])]


def test_a_stream_remembers_a_bounded_number_of_runs() -> None:
    sent = Sent()
    for number in range(MOST_KNOWN + 1):
        sent.news([str(number)], {"name": ["x"]}, [])
    newest, oldest = str(MOST_KNOWN), "0"
    assert sent.news([newest], {"name": ["x"]}, []) == [LiveRuns([newest], {}, [])]
    assert sent.news([oldest], {"name": ["x"]}, []) == [LiveRuns([oldest], {"name": ["x"]}, [])]


@on_both
def test_a_compressed_stream_passes_each_event_on_at_once(http: Http, store: Store) -> None:
    with http.pool.request(
        "GET",
        f"{http.url}/api/live",
        headers={"Accept-Encoding": "gzip"},
        preload_content=False,
        decode_content=False,
    ) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        unpacker, text = zlib.decompressobj(wbits=31), b""
        pieces = answer.stream(64, decode_content=False)
        while b"event: ready" not in text:
            text += unpacker.decompress(next(pieces))
        store.note(store.run("run-1"), "x")
        while b"run-1" not in text:  # without a flush after each event this would wait for ever
            text += unpacker.decompress(next(pieces))
        answer.shutdown()


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
