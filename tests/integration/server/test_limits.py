"""How much one caller may do at once."""

import threading
from collections.abc import Callable

import pytest
from litestar.exceptions import TooManyRequestsException

from runbase.server import limits
from runbase.server.limits import Slots
from tests.patience import wait_until

from .conftest import Http
from .test_live import Stream


def test_slots_are_each_callers_own_and_come_back() -> None:
    slots = Slots(2, "queries running")
    with slots.taken("ada"), slots.taken("ada"), slots.taken("bob"):
        with pytest.raises(TooManyRequestsException, match="ada has 2 queries running already"):
            slots.check("ada")
        slots.check("bob")
    slots.check("ada")


def test_a_fifth_query_at_once_is_refused(guarded: Callable[..., Http]) -> None:
    ada, bob = guarded("read"), guarded("write")
    slow = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 4000000) select count(*) from n"
    threads = [
        threading.Thread(target=ada.send, args=("POST", "/api/sql", {"query": slow}), daemon=True)
        for _ in range(limits.QUERIES)
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: limits.queries._used["read"] == limits.QUERIES, seconds=300)
    refused = ada.send("POST", "/api/sql", {"query": "select 1"})
    assert refused.status == 429
    assert refused.headers["Retry-After"] == "1"
    assert bob.send("POST", "/api/sql", {"query": "select 1"}).status == 200
    for thread in threads:
        thread.join(timeout=120)
    assert ada.send("POST", "/api/sql", {"query": "select 1"}).status == 200


def test_streams_are_counted_while_they_are_open(http: Http) -> None:
    open_ones = [Stream(http) for _ in range(limits.STREAMS)]
    assert http.send("GET", "/api/live").status == 429
    for stream in open_ones:
        stream.close()
    wait_until(lambda: limits.streams._used["local"] < limits.STREAMS, seconds=300)
    Stream(http).close()
