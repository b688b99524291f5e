"""Users, roles and grants: who may do what with which experiment, by HTTP and by the command line."""

import fcntl
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

import runbase
from runbase.cli.app import build
from runbase.errors import NotAllowed
from runbase.server import passwords, users
from runbase.server.options import ServerOptions
from runbase.server.principals import ROLES
from runbase.server.serve import serving
from runbase.server.tokens import NewToken, make
from runbase.server.users import Grant
from runbase.storage.remote import wire
from runbase.store.store import Store
from tests.conftest import close_storages
from tests.patience import wait_until

PASSWORD = "correct horse battery"
OTHER = "other"
"""The experiment of the grant; its run is `secret`. `digits` has none."""
Client = Callable[..., httpx.Client]


@pytest.fixture(autouse=True)
def quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Argon2 takes a tenth of a second, and these tests make many users."""
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    quick = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=64, parallelism=1),))
    monkeypatch.setattr(passwords, "_hasher", lambda: quick)
    passwords._of_nobody.cache_clear()


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    with serving(store, ServerOptions(port=0, auth="users")) as url:
        yield url


@pytest.fixture
def client(store: Store, url: str) -> Iterator[Client]:
    """Makes a client of a new user with a role, and a role on the experiment `other`."""
    opened: list[httpx.Client] = []

    def make_client(role: str, grant: str | None = None) -> httpx.Client:
        name = f"{role}-{grant}-{len(opened)}"
        user: Any = role
        users.add(store, name, user, PASSWORD)
        if grant is not None:
            users.set_grant(store, Grant(user=name, experiment=OTHER, role=grant))  # type: ignore[arg-type]
        opened.append(httpx.Client(base_url=url, auth=(name, PASSWORD), timeout=60))
        return opened[-1]

    yield make_client
    for each in opened:
        each.close()


def requests_of(run: str, experiment: str) -> dict[str, list[tuple[str, str, Any]]]:
    """Return requests about one run and its experiment, by the permission that they need."""
    return {
        "read": [
            ("GET", f"/api/runs/{run}", None),
            ("GET", f"/api/runs/{run}/points?key=val/loss", None),
            ("GET", f"/api/experiments/{experiment}", None),
            ("GET", f"/api/experiments/{experiment}/trials", None),
            ("GET", f"/api/experiments/{experiment}/results", None),
            ("GET", f"/api/runs/{run}/records", None),
            ("GET", f"/api/runs/{run}/keys", None),
            ("GET", f"/api/runs/{run}/lineage", None),
            ("GET", f"/api/runs/{run}/log", None),
            ("GET", f"/api/keys?experiment={experiment}", None),
            ("GET", f"/api/documents?kind=view&experiment={experiment}", None),
            ("POST", "/api/curves", {"series": [[run, "val/loss"]]}),
            ("POST", "/api/compare", {"runs": [run]}),
            ("GET", f"/api/2.0/mlflow/runs/get?run_id={run}", None),
            ("GET", f"/api/2.0/mlflow/metrics/get-history?run_id={run}&metric_key=val/loss", None),
        ],
        "log": [
            (
                "POST",
                "/api/2.0/mlflow/runs/log-metric",
                {"run_id": run, "key": "more", "value": 1, "timestamp": 1},
            ),
            ("HEAD", f"/api/files/{experiment}/{run}/some.bin", None),
        ],
        "write": [
            ("PATCH", f"/api/runs/{run}", {"notes": "x"}),
            ("PATCH", f"/api/experiments/{experiment}", {"notes": "x"}),
            ("POST", "/api/runs", {"experiment": "NAME"}),
            ("POST", "/api/documents", {"kind": "view", "name": "v", "body": 1, "experiment": experiment}),
            ("POST", f"/api/experiments/{experiment}/trials", {"params": [{"lr": 1}]}),
            ("POST", f"/api/experiments/{experiment}/claim", {"runner": "r"}),
            ("POST", "/api/bulk", {"action": "tag", "ids": [run], "tags": {"x": None}}),
            ("DELETE", f"/api/runs/{run}", None),
            ("POST", f"/api/runs/{run}/restore", None),
            ("POST", "/api/2.0/mlflow/runs/set-tag", {"run_id": run, "key": "k", "value": "v"}),
        ],
    }  # fmt: skip


EVERYWHERE = [
    ("GET", "/api/sizes", None),
    ("POST", "/api/sql", {"query": "select 1"}),
    ("GET", "/api/keys", None),
    ("POST", "/api/storage/totals", None),
]
ADMIN = [
    ("GET", "/api/users", None),
    ("POST", "/api/users", {"name": "new"}),
    ("PATCH", "/api/users/new", {"role": "viewer"}),
    ("POST", "/api/grants", {"user": "new", "experiment": OTHER, "role": "none"}),
    ("PATCH", "/api/grants", {"user": "new", "experiment": OTHER, "role": "viewer"}),
    ("GET", "/api/grants?user=new", None),
    ("DELETE", f"/api/grants?user=new&experiment={OTHER}", None),
    ("DELETE", "/api/users/new", None),
    ("GET", "/api/audit", None),
]


def send(http: httpx.Client, method: str, path: str, body: Any) -> int:
    if path.startswith("/api/storage/"):
        content, kind = wire.encode_arguments(path.rpartition("/")[2], (), {})
        headers = {"Content-Type": kind}
        return http.request(method, path, content=content, headers=headers).status_code
    return http.request(method, path, json=body).status_code


@pytest.mark.parametrize("grant", [None, "none", "viewer", "editor"])
@pytest.mark.parametrize("role", ROLES)
def test_role_and_grant_decide_each_request(
    client: Client, store: Store, role: str, grant: str | None
) -> None:
    http = client(role, grant)
    general = ROLES[role]
    granted = general if grant is None or role == "admin" else ROLES[grant]
    for name, word, may in (("digits", "run-1", general), (OTHER, "secret", granted)):
        experiment = store.experiment(name).id
        for permission, requests in requests_of(store.run(word).id, experiment).items():
            for method, path, body in requests:
                sent = body | {"experiment": name} if path == "/api/runs" and body else body
                status = send(http, method, path, sent)
                assert (status < 300) == (permission in may), (name, method, path, status)
                assert status < 300 or status in (403, 404)
    everywhere = general & granted
    for request in EVERYWHERE:
        assert (send(http, *request) not in (400, 403)) == ("read" in everywhere), request
    for request in ADMIN:
        assert (send(http, *request) < 300) == (role == "admin"), request
    created = send(http, "POST", "/api/experiments", {"name": "made"})
    assert (created < 300) == ("write" in general)
    created = send(http, "POST", "/api/2.0/mlflow/experiments/create", {"name": "made there"})
    assert (created < 300) == ("log" in general)


@pytest.mark.parametrize(
    ("role", "grant", "seen", "written"),
    [
        ("none", "viewer", {"secret"}, set()),
        ("none", "editor", {"secret"}, {"secret"}),
        ("viewer", None, {"run-0", "run-1", "run-2", "secret"}, set()),
        ("viewer", "none", {"run-0", "run-1", "run-2"}, set()),
        ("viewer", "editor", {"run-0", "run-1", "run-2", "secret"}, {"secret"}),
        ("editor", "none", {"run-0", "run-1", "run-2"}, {"run-0", "run-1", "run-2"}),
        ("editor", "viewer", {"run-0", "run-1", "run-2", "secret"}, {"run-0", "run-1", "run-2"}),
    ],
)
def test_lists_and_bulk_changes_have_what_the_caller_may(
    client: Client, store: Store, role: str, grant: str | None, seen: set[str], written: set[str]
) -> None:
    http = client(role, grant)
    assert {run["name"] for run in http.get("/api/runs").json()["runs"]} == seen
    table = http.post("/api/table", json={"columns": ["name"], "total": True}).json()
    assert (set(table["columns"]["name"]), table["total"]) == (seen, len(seen))
    exported = http.get("/api/export?format=jsonl").text
    assert {name for name in ("run-0", "run-1", "run-2", "secret") if name in exported} == seen
    made = {row["run"] for row in http.get("/api/artifacts").json()}
    assert made == seen & {"secret"}
    names = {e["name"] for e in http.get("/api/experiments").json()["experiments"]}
    assert names == {"digits" if name != "secret" else OTHER for name in seen}
    found = http.post("/api/2.0/mlflow/experiments/search", json={"max_results": 100}).json()
    assert {e["name"] for e in found["experiments"]} - {"Default"} == names
    count = {"count": len(written)}
    if not written:
        body = {"action": "tag", "where": "true", "tags": {"x": None}}
        assert http.post("/api/bulk", json=body).status_code == 403
        return
    for action in ("tag", "delete", "restore"):
        body = {"action": action, "where": "true", "tags": {"x": None}}
        assert http.post("/api/bulk", json=body).json() == count, action
    assert {run.name for run in store.runs("'x' in tags")} == written


def test_the_stream_has_what_the_caller_may_see(client: Client, store: Store) -> None:
    http = client("viewer", "none")
    with http.stream("GET", "/api/live") as stream:
        lines = stream.iter_lines()
        assert any("ready" in line for line in lines)
        secret = store.run("secret").id
        store.tag(secret, "changed")
        store.tag(store.run("run-1"), "changed")
        seen: list[str] = []
        for line in lines:
            seen.append(line)
            if "run-1" in line:
                break
        assert not any('"secret"' in line for line in seen)
        assert store.experiment(OTHER).id not in "".join(seen)
        assert secret not in "".join(seen)


def test_what_no_longer_matches_is_gone_for_limited_callers_too(
    client: Client, store: Store
) -> None:
    http = client("viewer", "none")
    run = store.run("run-1").id
    with http.stream("GET", "/api/live", params={"where": "'kept' not in tags"}) as stream:
        lines = stream.iter_lines()
        assert any("ready" in line for line in lines)
        store.tag(store.run("secret"), "kept")
        store.tag(run, "kept")
        gone = next(line for line in lines if run in line)
        assert f'"gone":["{run}"]' in gone


def test_no_answer_names_runs_that_the_caller_may_not_read(client: Client, store: Store) -> None:
    mine, secret, child = (store.run(name).id for name in ("run-1", "secret", "run-2"))
    store.link(mine, "continues", secret)
    store.link(mine, "continues", child)
    store.storage.update("run", mine, {"parent_id": secret})
    with runbase.start_run("digits", home=store.home, name="user", capture=False) as run:
        run.use_artifact(f"{secret}/model.bin")
    store.sync()
    every, limited = client("viewer"), client("viewer", "none")
    for path in (f"/api/runs/{mine}", f"/api/runs/{mine}/lineage"):
        assert secret in every.get(path).text
        text = limited.get(path).text
        assert secret not in text
        assert child in text
    for path in ("/api/runs/user", "/api/runs/user/lineage"):
        assert secret in every.get(path).text
        assert secret not in limited.get(path).text
    changed = client("editor", "none").patch(f"/api/runs/{mine}", json={"notes": "x"})
    assert changed.status_code == 200
    assert secret not in changed.text


def test_totals_are_of_what_the_caller_may_read(client: Client) -> None:
    every, limited = client("viewer"), client("viewer", "none")
    assert every.get("/api/server").json()["totals"]["points"] > 0
    assert limited.get("/api/server").json()["totals"] == {"experiments": 1, "runs": 3}
    assert "runbase_points" in every.get("/metrics").text
    shown = limited.get("/metrics").text
    assert "runbase_runs 3.0" in shown
    assert "runbase_points" not in shown


def test_agents_need_all_experiments(client: Client) -> None:
    call = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/list",
        "params": {},
    }
    headers = {"Accept": "application/json, text/event-stream"}
    for role, grant, tools in (
        ("viewer", None, {"sql"}),
        ("editor", "viewer", {"sql"}),
        ("editor", None, {"sql", "tag"}),
        ("viewer", "none", None),
        ("none", "viewer", None),
    ):
        answer = client(role, grant).post("/mcp", json=call, headers=headers)
        assert answer.status_code == (403 if tools is None else 200), (role, grant)
        if tools is not None:
            names = {tool["name"] for tool in answer.json()["result"]["tools"]}
            assert names & {"sql", "tag"} == tools


def test_a_user_logs_where_the_role_allows_it(
    store: Store, url: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = users.add(store, "ada", "viewer", None)
    users.set_grant(store, Grant(user="ada", experiment=OTHER, role="editor"))
    token = make(store, NewToken(name="laptop"), user.id)
    close_storages()
    monkeypatch.setenv("RUNBASE_TOKEN", token.token)
    with runbase.start_run(OTHER, store=url, home=home / "far", capture=False) as run:
        run.log({"loss": 1.0})
    assert store.run(run.id).metrics["loss"].last == 1.0
    for name in ("digits", "new"):
        with pytest.warns(RuntimeWarning, match="for other experiments"):
            runbase.start_run(name, store=url, home=home / "far", capture=False).finish()
    with runbase.open(url, sync=False) as remote:
        assert remote.count() == 5
        with pytest.raises(NotAllowed, match="may not write all experiments"):
            remote.tag(run.id, "x")
    store.storage.set_grant(user.id, store.experiment(OTHER).id, "none")
    wait_until(
        lambda: httpx.get(f"{url}/api/runs/{run.id}", auth=("", token.token)).status_code == 404
    )
    with runbase.open(url, sync=False) as remote, pytest.raises(NotAllowed):
        remote.count()
    close_storages()


def test_users_and_grants_by_http_are_audited(client: Client, store: Store) -> None:
    http = client("admin")
    assert http.post("/api/users", json={"name": "ada", "role": "viewer"}).json()["grants"] == {}
    assert http.post("/api/users", json={"name": "ada"}).status_code == 409
    assert http.post("/api/users", json={"name": "a:b"}).status_code == 400
    assert http.post("/api/users", json={"name": "eve", "role": "king"}).status_code == 400
    assert http.post("/api/users", json={"name": "eve", "password": "short"}).status_code == 400
    assert http.patch("/api/users/ada", json={}).status_code == 400
    assert http.patch("/api/users/nobody", json={"role": "none"}).status_code == 404
    changed = http.patch("/api/users/ada", json={"name": "bea", "password": PASSWORD}).json()
    assert (changed["name"], changed["has_password"]) == ("bea", True)
    grant = {"user": "bea", "experiment": OTHER, "role": "viewer"}
    key = store.experiment(OTHER).id
    assert http.patch("/api/grants", json=grant).status_code == 404
    assert http.post("/api/grants", json=grant | {"role": "admin"}).status_code == 400
    assert http.post("/api/grants", json=grant).json() == grant | {"experiment": key}
    assert http.post("/api/grants", json=grant).status_code == 409
    assert http.patch("/api/grants", json=grant | {"role": "none"}).status_code == 200
    assert http.get("/api/grants").json() == [grant | {"experiment": key, "role": "none"}]
    assert http.get("/api/grants?experiment=digits").json() == []
    place = f"/api/grants?user=bea&experiment={OTHER}"
    assert http.delete(place).json() == {"count": 1}
    assert http.delete(place).status_code == 404
    assert http.delete("/api/users/bea").json() == {"count": 1}
    secret = str(http.get("/api/users").json())
    assert PASSWORD not in secret
    assert "argon2" not in secret
    wait_until(lambda: len(store.storage.audit()) >= 16)
    actions = {entry.action for entry in store.storage.audit() if entry.status < 300}
    assert {
        "POST /api/users ada viewer",
        "PATCH /api/users/ada name,password",
        f"POST /api/grants bea {OTHER} viewer",
        f"PATCH /api/grants bea {OTHER} none",
        f"DELETE /api/grants bea {OTHER}",
        "DELETE /api/users/bea",
    } <= actions
    assert PASSWORD not in str(store.storage.audit())


# The command line


def cli(home: Path, *words: str, stdin: str | None = None, code: int = 0) -> str:
    result = CliRunner().invoke(build(), [*words, "--home", str(home)], input=stdin)
    if isinstance(result.exception, Exception) and not isinstance(result.exception, SystemExit):
        assert code == 1, result.exception
        return str(result.exception)
    assert result.exit_code == code, result.output
    return result.output


def test_the_commands(store: Store, home: Path) -> None:
    given = f"{PASSWORD}\n"
    assert "No users" in cli(home, "users", "list")
    cli(home, "users", "add", "ada", "--password-stdin", stdin=given)
    ada = users.find(store, "ada")
    assert (ada.role, ada.has_password) == ("none", True)
    assert passwords.user_with(store.storage, "ada", PASSWORD) == ada
    assert "there is a user" in cli(
        home, "users", "add", "ada", "--password-stdin", stdin=given, code=1
    )
    assert "no terminal" in cli(home, "users", "add", "bob", code=1)
    assert "not accepted" in cli(
        home, "users", "add", "bob", "--password-stdin", stdin="x\n", code=1
    )
    assert "no role" in cli(home, "users", "add", "bob", "--role", "king", code=1)
    assert "is editor on all" in cli(home, "users", "grant", "ada", "editor")
    assert f"is viewer on experiment {OTHER}" in cli(
        home, "users", "grant", "ada", "viewer", "-e", OTHER
    )
    assert "no role" in cli(home, "users", "grant", "ada", "admin", "-e", OTHER, code=1)
    ada = users.find(store, "ada")
    assert (ada.role, ada.grants) == ("editor", {store.experiment(OTHER).id: "viewer"})
    assert '"role": "editor"' in cli(home, "users", "list", "--json")
    assert "ada" in cli(home, "users", "list")
    cli(home, "users", "revoke", "ada", "-e", OTHER)
    assert "has no grant" in cli(home, "users", "revoke", "ada", "-e", OTHER, code=1)
    cli(home, "users", "revoke", "ada")
    assert users.find(store, "ada").role == "none"
    cli(home, "users", "password", "ada", "--password-stdin", stdin="a new password\n")
    assert passwords.user_with(store.storage, "ada", PASSWORD) is None
    assert passwords.user_with(store.storage, "ada", "a new password") is not None
    cli(home, "users", "remove", "ada")
    assert "no user 'ada'" in cli(home, "users", "remove", "ada", code=1)


def test_the_password_is_asked_without_echo(home: Path, store: Store) -> None:
    main, other = pty.openpty()
    command = [sys.executable, "-m", "runbase", "users", "add", "ada", "--home", str(home)]
    process = subprocess.Popen(
        command,
        stdin=other,
        stdout=other,
        stderr=other,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - its own terminal
    )
    os.close(other)
    shown = b""
    for prompt in (b"Password: ", b"confirmation: "):  # the space comes once echo is off
        while prompt not in shown:
            shown += os.read(main, 1000)
        os.write(main, f"{PASSWORD}\n".encode())
    while b"Added" not in shown:
        shown += os.read(main, 1000)
    assert process.wait(timeout=120) == 0
    os.close(main)
    assert PASSWORD.encode() not in shown
    assert users.find(store, "ada").has_password


def test_commands_need_no_framework() -> None:
    code = "import sys, runbase.server.users, runbase.cli.app; sys.exit('litestar' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
