"""`runbase server --log-format json`, and what says whether the server works."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runbase.errors import StoreOffline
from runbase.server.serve import serving
from runbase.store.store import Store

from .conftest import Http


def test_logs_are_json_without_tokens(store: Store, script: Callable[..., Any], home: Path) -> None:
    from runbase.server.tokens import NewToken
    from runbase.server.tokens import make as make_token

    token = make_token(store, NewToken(name="ada", permissions=["read"])).token
    text = (
        "import sys, json, runbase, urllib3\n"
        "from runbase.server import logs\n"
        "from runbase.server.options import ServerOptions\n"
        "from runbase.server.serve import serving\n"
        "logs.as_json()\n"
        "with runbase.open(home=sys.argv[1], sync=False) as store:\n"
        "    with serving(store, ServerOptions(port=0, auth='tokens')) as url:\n"
        "        for path in ('/api/runs?limit=1&x=' + sys.argv[2], '/health', '/ready', '/api/nothing'):\n"
        "            urllib3.request('GET', url + path, headers={'Authorization': 'Bearer ' + sys.argv[2]})\n"
    )
    process = script(text, str(home), token)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    lines = [json.loads(line) for line in errors.splitlines()]
    requests = [line for line in lines if line["logger"] == "runbase.server.requests"]
    found = [(line["method"], line["path"], line["status"], line["who"]) for line in requests]
    assert found == [
        ("GET", "/api/runs", 200, "ada"),
        ("GET", "/health", 200, "ada"),
        ("GET", "/ready", 200, "ada"),
        ("GET", "/api/nothing", 404, None),
    ]
    assert all(line["ms"] >= 0 and line["level"] == "info" and line["time"] for line in requests)
    assert token not in errors


def test_a_server_without_its_database_is_alive_and_not_ready(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(store) as url:
        http = Http(url)
        assert http.send("GET", "/ready").data == b"OK"

        def fails(*args: Any, **kwargs: Any) -> Any:
            raise StoreOffline("the database is away")

        monkeypatch.setattr(store, "changes", fails)
        assert http.send("GET", "/ready").status == 503
        assert http.send("GET", "/health").data == b"OK"
