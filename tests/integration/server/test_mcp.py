"""The tools for agents, called by the official client."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import anyio
import httpx2
import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client

from runbase.store.store import Store

from .conftest import Http

Call = tuple[str, dict[str, Any]]


def ask(store: Store, *calls: Call, options: tuple[str, ...] = ()) -> tuple[set[str], list[Any]]:
    """Start `runbase mcp`, and return its tools and the results of calls."""
    command = ["-m", "runbase", "mcp", "--home", str(store.home), *options]
    server = StdioServerParameters(command=sys.executable, args=command, env=dict(os.environ))

    async def work() -> tuple[set[str], list[Any]]:
        async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            tools = {tool.name for tool in (await session.list_tools()).tools}
            return tools, [await session.call_tool(name, arguments) for name, arguments in calls]

    return anyio.run(work)


def text(result: Any) -> Any:
    assert not result.is_error, result.content
    return json.loads(result.content[0].text)


def test_an_agent_reads_the_store(store: Store) -> None:
    tools, results = ask(
        store,
        (
            "find_runs",
            {"where": "params.lr > 0", "order_by": "params.lr", "columns": ["name", "params.lr"]},
        ),
        ("run", {"run": "run-1"}),
        ("compare", {"runs": ["run-0", "run-2"]}),
        ("curve", {"run": "run-1", "metric": "val/loss"}),
        ("keys", {"kind": "param"}),
        ("sql", {"query": "select count(*) from runs"}),
        ("schema", {}),
        ("experiments", {}),
        ("trials", {"experiment": "digits"}),
        ("find_runs", {"where": "statu = 1"}),
        ("sql", {"query": "delete from runs"}),
    )
    assert {"find_runs", "run", "curve", "sql"} <= tools
    assert not {"tag", "note"} & tools
    found, one, compared, curve, keys, rows, schema, experiments, trials = map(text, results[:9])
    assert found["columns"] == {"name": ["run-1", "run-2"], "params.lr": [0.1, 0.2]}
    assert one["metrics"]["acc"][0] == pytest.approx(2999 / 3000, abs=1e-5)
    assert compared["differing_params"] == {"lr": [0.0, 0.2]}
    assert curve["facts"]["points"] == 3000
    assert len(curve["steps"]) == 200
    assert keys == [["lr", 3, "float", 0.0, 0.2]]
    assert rows == {"columns": ["count(*)"], "rows": [[4]], "more": False}
    assert any(name == "runs" for name, _ in schema)
    assert ["digits", 3] in [e[:2] for e in experiments]
    assert trials["states"] == {"COMPLETED": 3}
    assert "did you mean 'status'" in results[9].content[0].text
    assert results[9].is_error
    assert results[10].is_error
    assert all(len(r.content[0].text) < 8200 for r in results)


def test_an_agent_that_may_write(store: Store) -> None:
    calls: list[Call] = [
        ("tag", {"run": "run-1", "tags": {"looked-at": None}}),
        ("note", {"run": "run-1", "text": "the loss falls"}),
    ]
    tools, results = ask(store, *calls, options=("--write",))
    assert {"tag", "note"} <= tools
    assert not any(result.is_error for result in results)
    run = store.run("run-1")
    assert (run.tags, run.notes) == ({"looked-at": None}, "the loss falls")


def test_agents_over_http_have_the_rights_of_their_token(guarded: Callable[..., Http]) -> None:
    async def tools_of(client: Http) -> set[str]:
        headers = {"Authorization": f"Bearer {client.token}"}
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            streamable_http_client(f"{client.url}/mcp", http_client=http) as (read, write),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            answer = await session.call_tool("find_runs", {"limit": 1})
            assert text(answer)["total"] == 4
            return {tool.name for tool in (await session.list_tools()).tools}

    assert "tag" not in anyio.run(tools_of, guarded("read"))
    assert "tag" in anyio.run(tools_of, guarded("write"))
    for client, status in ((guarded(), 401), (guarded("log"), 403)):
        assert client.send("POST", "/mcp", {"jsonrpc": "2.0"}).status == status
