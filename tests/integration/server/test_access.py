"""Who may do what: other web sites, other machines, tokens, experiments."""

import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

import runbase
from runbase.errors import NotAllowed, UsageError
from runbase.server.app import create_app
from runbase.server.options import ServerOptions
from runbase.server.principals import of_token
from runbase.server.serve import check, serving
from runbase.storage.server_protocol import Shared, Token
from runbase.storage.users_protocol import User
from runbase.store.store import Store
from runbase.testing.contract.journal import Journal
from tests.patience import wait_until

from .conftest import Http

Guarded = Callable[..., Http]


def test_a_server_is_not_open_to_other_machines(store: Store) -> None:
    with pytest.raises(UsageError, match="--auth tokens"):
        check(ServerOptions(host="0.0.0.0"))
    with (
        pytest.raises(UsageError, match=r"0\.0\.0\.0"),
        serving(store, ServerOptions(host="0.0.0.0")),
    ):
        pass


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:4400"}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "[::1]:4400"}, 200),
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example:4400"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 200),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Sec_Fetch_Site": "same-site"}, 403),
        ({"Sec_Fetch_Site": "same-origin"}, 200),
    ],
)
def test_other_web_sites_are_refused(http: Http, headers: dict[str, str], status: int) -> None:
    assert http.send("POST", "/api/table", {}, **headers).status == status


def test_every_route_declares_a_permission(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from litestar import get

    from runbase.server import app as app_module
    from runbase.server.app import check_permissions

    app = create_app(store)

    @get("/api/forgotten", sync_to_thread=False)
    def forgotten() -> None: ...

    app.register(forgotten)
    check_permissions(app)  # not one of the package
    monkeypatch.setattr(app_module, "OURS", __name__)
    with pytest.raises(RuntimeError, match="/api/forgotten declares no permission"):
        check_permissions(app)


READ = [
    ("GET", "/api/runs", None),
    ("POST", "/api/table", {}),
    ("GET", "/api/keys", None),
    ("POST", "/api/sql", {"query": "select 1"}),
    ("GET", "/api/experiments", None),
    ("GET", "/metrics", None),
]
WRITE = [
    ("PATCH", "/api/runs/run-1", {"notes": "x"}),
    ("POST", "/api/bulk", {"action": "tag", "where": "true", "tags": {"x": None}}),
    ("POST", "/api/documents", {"kind": "view", "name": "v", "body": 1}),
    ("DELETE", "/api/runs/run-2", None),
    ("POST", "/api/experiments", {"name": "y"}),
]
ADMIN = [
    ("GET", "/api/tokens", None),
    ("POST", "/api/tokens", {"name": "z"}),
    ("GET", "/api/audit", None),
]


def allowed(http: Http, requests: list[tuple[str, str, Any]]) -> list[bool]:
    statuses = [http.send(*request).status for request in requests]
    assert all(status < 300 or status in (401, 403) for status in statuses), statuses
    return [status < 300 for status in statuses]


def test_each_permission_allows_what_it_says(guarded: Guarded) -> None:
    nobody, log, read, write, admin = (
        guarded(),
        guarded("log"),
        guarded("read"),
        guarded("write"),
        guarded("admin"),
    )
    assert nobody.send("GET", "/health").status == 200
    assert nobody.send("GET", "/api/runs").status == 401
    for client, reads, writes, admins in (
        (nobody, False, False, False),
        (log, False, False, False),
        (read, True, False, False),
        (write, True, True, False),
        (admin, True, True, True),
    ):
        assert set(allowed(client, READ)) == {reads}
        assert set(allowed(client, ADMIN)) == {admins}
        if not writes:
            assert set(allowed(client, WRITE)) == {False}
    assert set(allowed(write, WRITE)) == {True}


def test_wrong_expired_and_revoked_tokens(guarded: Guarded, store: Store, monkeypatch: Any) -> None:
    from runbase.server import callers

    monkeypatch.setattr(callers, "KEEP", -1.0)
    good = guarded("read")
    assert good.send("GET", "/api/runs").status == 200
    wrong = Http(good.url, "rb_wrong").send("GET", "/api/runs")
    assert wrong.status == 401
    assert "the token or password was not accepted" in wrong.json()["detail"]
    short = guarded("read", days=1e-9)
    assert short.send("GET", "/api/runs").status == 401
    assert store.storage.revoke_token("read") == 1
    assert good.send("GET", "/api/runs").status == 401


def test_a_token_for_one_experiment_sees_nothing_else(guarded: Guarded, store: Store) -> None:
    client = guarded("write", experiments=["digits"])
    assert {run["name"] for run in client.json("GET", "/api/runs")["runs"]} == {
        "run-0",
        "run-1",
        "run-2",
    }
    assert client.json(
        "POST", "/api/table", {"columns": ["name"], "where": "name = 'secret' or true"}
    )["columns"]["name"] == ["run-2", "run-1", "run-0"]
    assert [e["name"] for e in client.json("GET", "/api/experiments")["experiments"]] == ["digits"]
    secret = store.run("secret").id
    for method, path, body in (
        ("GET", f"/api/runs/{secret}", None),
        ("GET", f"/api/runs/{secret}/points?key=val/loss", None),
        ("GET", f"/api/runs/{secret}/files/model.bin", None),
        ("PATCH", f"/api/runs/{secret}", {"notes": "x"}),
        ("DELETE", f"/api/runs/{secret}", None),
        ("POST", "/api/sql", {"query": "select * from runs"}),
        ("POST", "/api/curves", {"series": [[secret, "val/loss"]]}),
        ("POST", "/api/compare", {"runs": [secret]}),
        ("POST", "/api/bulk", {"action": "tag", "ids": [secret], "tags": {"x": None}}),
        ("POST", "/api/experiments", {"name": "mine"}),
        ("GET", "/api/keys", None),
        ("GET", "/api/keys?experiment=other", None),
    ):
        assert client.send(method, path, body).status in (400, 403, 404), path
    assert client.json("POST", "/api/bulk", {"action": "delete", "where": "true"}) == {"count": 3}
    assert [run.name for run in store.runs()] == ["secret"]


def test_a_link_to_one_run_and_a_report_reads_nothing_else(guarded: Guarded, store: Store) -> None:
    run, other = store.run("run-1").id, store.run("run-2").id
    admin = guarded("admin")
    body = {"kind": "report", "name": "mine", "body": {"text": "# Mine"}}
    report, hidden = (
        admin.json("POST", "/api/documents", body | {"name": name}, status=201)["id"]
        for name in ("mine", "hidden")
    )
    link = guarded("read", only=Shared(runs=[run], documents=[report]))
    assert [one["id"] for one in link.json("GET", "/api/runs")["runs"]] == [run]
    table = {"where": "true", "columns": ["name"], "experiment": "digits"}
    assert link.json("POST", "/api/table", table)["columns"]["name"] == ["run-1"]
    assert link.json("GET", f"/api/runs/{run}")["name"] == "run-1"
    assert link.json("GET", f"/api/runs/{run}/points?key=val/loss")["values"]
    assert link.json("GET", f"/api/documents/{report}")["name"] == "mine"
    assert link.send("POST", "/api/curves", {"runs": [run], "key": "val/loss"}).status == 200
    assert link.json("GET", "/api/experiments")["experiments"] == []
    assert link.json("GET", "/api/server")["totals"] == {"experiments": 0, "runs": 1}
    for method, path, data in (
        ("GET", f"/api/runs/{other}", None),
        ("GET", f"/api/runs/{other}/points?key=val/loss", None),
        ("GET", f"/api/runs/{other}/files/model.bin", None),
        ("GET", f"/api/runs/{other}/lineage", None),
        ("PATCH", f"/api/runs/{run}", {"notes": "x"}),
        ("DELETE", f"/api/runs/{run}", None),
        ("POST", "/api/sql", {"query": "select * from runs"}),
        ("POST", "/api/curves", {"series": [[other, "val/loss"]]}),
        ("POST", "/api/compare", {"runs": [run, other]}),
        ("POST", "/api/bulk", {"action": "tag", "ids": [run], "tags": {"x": None}}),
        ("POST", "/api/table", {"where": "true) or (true"}),
        ("POST", "/api/documents", body),
        ("GET", f"/api/documents/{hidden}", None),
        ("GET", "/api/documents?kind=report", None),
        ("DELETE", f"/api/documents/{report}", None),
        ("GET", "/api/experiments/digits", None),
        ("GET", "/api/experiments/digits/results", None),
        ("GET", "/api/keys?experiment=digits", None),
        ("GET", "/api/sizes", None),
        ("GET", "/api/tokens", None),
        ("POST", "/api/tokens", {"name": "more", "permissions": ["read"]}),
        ("POST", "/mcp", {}),
        ("POST", "/api/storage/experiments", {}),
    ):
        assert link.send(method, path, data).status in (400, 403, 404, 405, 415), path
    wide = {"name": "x", "permissions": ["write"], "only": {"runs": [run]}}
    assert admin.send("POST", "/api/tokens", wide).status == 400


@pytest.mark.parametrize(("role", "reads"), [("viewer", True), ("none", False)])
def test_a_link_of_a_user_reads_what_the_user_may_read(role: str, reads: bool) -> None:
    now = datetime.now(UTC)
    token = Token(
        id="t",
        name="link",
        permissions=["read"],
        experiments=None,
        created_at=now,
        only=Shared(runs=["run"]),
    )
    known = {"id": "u", "name": "ada", "has_password": False, "subject": None, "created_at": now}
    user = msgspec.convert(known | {"role": role, "grants": {"open": "viewer"}}, User)
    link = of_token(token, user)
    assert link.may_read_run("run", "closed") is reads
    assert link.may_read_run("run", "open")
    assert not link.may_read_run("other", "open")
    assert not link.may("read", "open")


@pytest.mark.parametrize("where", ["true) or (true", "true) or true or (true", "true or true) --"])
def test_no_filter_cancels_the_limit_of_a_token(guarded: Guarded, where: str) -> None:
    client = guarded("write", experiments=["digits"])
    table = {"where": where, "columns": ["name"]}
    assert client.send("POST", "/api/table", table).status == 400
    for path in ("/api/runs", "/api/experiments"):
        assert client.send("GET", f"{path}?{urlencode({'where': where})}").status == 400
    bulk = {"action": "delete", "where": where}
    assert client.send("POST", "/api/bulk", bulk).status == 400


def test_no_delivery_reaches_another_experiment(
    guarded: Guarded, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit holds for the place of a new run, however a delivery names it."""
    client = guarded("log", experiments=["digits"])
    monkeypatch.setenv("RUNBASE_TOKEN", client.token or "")
    digits, other = store.experiment("digits"), store.experiment("other")
    taken = store.run("secret").id
    with runbase.open(client.url, sync=False) as remote:
        for experiment, opens, place in (
            ("digits", None, other.id),
            (digits.id, None, None),  # would create an experiment of this name
            ("digits", taken, None),
        ):
            journal = Journal(remote.storage, experiment=experiment)
            first = msgspec.structs.replace(journal.opened(), run=opens or journal.run)
            delivery = msgspec.structs.replace(journal.delivery([first]), experiment=place)
            with pytest.raises(NotAllowed):
                remote.storage.apply([delivery])
    assert store.count() == 4


def test_changes_are_recorded_with_who_made_them(guarded: Guarded, store: Store) -> None:
    writer, reader = guarded("write"), guarded("read")
    writer.json("PATCH", "/api/runs/run-1", {"notes": "x"})
    reader.json("GET", "/api/runs")
    reader.send("PATCH", "/api/runs/run-1", {"notes": "y"})
    wait_until(lambda: len(store.storage.audit()) >= 2, seconds=300)
    found = {(entry.who, entry.action, entry.status) for entry in store.storage.audit()}
    assert ("write", "PATCH /api/runs/run-1", 200) in found
    assert ("read", "PATCH /api/runs/run-1", 403) in found
    assert not any("GET" in action for _, action, _ in found)


@pytest.mark.parametrize(
    "prefix", ["/runbase", ""], ids=["kept by the proxy", "removed by the proxy"]
)
def test_a_server_below_a_path(store: Store, prefix: str) -> None:
    with serving(store, ServerOptions(port=0, root_path="/runbase")) as url:
        http = Http(url + prefix)
        assert http.send("GET", "/health").data == b"OK"
        assert "/api/table" in http.json("GET", "/api/openapi.json")["paths"]
        with runbase.open(url + prefix) as remote:
            remote.tag(remote.run("run-1"), "seen")
        assert store.run("run-1").tags == {"seen": None}
        wait_until(lambda: bool(store.storage.audit()))  # written after the answer
        assert [entry.action for entry in store.storage.audit()] == ["POST /api/storage/add"]


@pytest.mark.parametrize(
    "query",
    [
        "select * from server_tokens",
        "select * from SERVER_AUDIT",
        "select password from server_users",
        "select sha256 from server_sessions",
        "select * from server_grants",
        "select query_to_xml('select 1', true, true, '')",
        'select * from U&"server\\005ftokens"',
    ],
)
def test_no_way_of_asking_reads_the_servers_own_tables(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    client = guarded("read")
    assert client.send("POST", "/api/sql", {"query": query}).status == 403
    monkeypatch.setenv("RUNBASE_TOKEN", client.token or "")
    with runbase.open(client.url, sync=False) as remote:
        with pytest.raises(NotAllowed, match="do not read server_tokens"):
            remote.sql(query)
        with pytest.raises(NotAllowed, match="do not read server_tokens"):
            remote.storage.first_rows(query, (), 1)


def test_a_wrong_token_writes_nothing(guarded: Guarded, store: Store) -> None:
    client = guarded("read")
    with sqlite3.connect(str(store.home) + "/runbase.db", isolation_level=None) as other:
        other.execute("begin immediate")  # a writer that takes its time
        began = time.monotonic()
        assert Http(client.url, "rb_wrong").send("GET", "/api/runs").status == 401
        other.execute("rollback")
    assert time.monotonic() - began < 10
