"""Sessions of browsers: sign in, cookies, other web sites, the limit of wrong passwords, the one-time URL."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest
from litestar.testing import TestClient

from runbase.errors import UsageError
from runbase.server import callers, limits, users
from runbase.server.app import create_app
from runbase.server.callers import cookie_name
from runbase.server.options import ServerOptions
from runbase.server.serve import check, serving
from runbase.store.store import Store
from tests.patience import wait_until

from .conftest import Http

PASSWORD = "correct horse battery"
Browser = Callable[..., httpx.Client]


@pytest.fixture
def url(store: Store) -> Iterator[str]:
    users.add(store, "ada", "editor", PASSWORD)
    users.add(store, "root", "admin", PASSWORD)
    with serving(store, ServerOptions(port=0, auth="users")) as url:
        yield url


@pytest.fixture
def browser(url: str) -> Iterator[Browser]:
    """Makes a browser, which is signed in if a name is given."""
    with ExitStack() as stack:

        def make(name: str | None = None) -> httpx.Client:
            client = stack.enter_context(httpx.Client(base_url=url, timeout=60))
            if name is not None:
                body = {"name": name, "password": PASSWORD}
                assert client.post("/api/session", json=body).status_code == 200
            return client

        yield make


def test_a_session_begins_with_a_password_and_ends(browser: Browser, store: Store) -> None:
    client = browser()
    assert client.get("/api/session").json()["name"] is None
    assert client.get("/api/session").json()["auth"] == "users"
    assert client.get("/api/runs").status_code == 401
    answer = client.post("/api/session", json={"name": "ada", "password": PASSWORD})
    assert answer.json()["permissions"] == ["log", "read", "write"]
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    value = client.cookies.get(next(iter(client.cookies)))
    assert value is not None
    assert len(value) >= 43  # 256 bits
    assert store.storage.find_session(value) is None  # the hash is stored
    about = client.get("/api/session").json()
    assert (about["name"], about["kind"]) == ("ada", "session")
    assert client.get("/api/runs").status_code == 200
    assert client.delete("/api/session").json() == {"count": 1}
    client.cookies.set(cookie_name("session", str(client.base_url).rstrip("/")), value)
    assert client.get("/api/runs").status_code == 401
    assert client.delete("/api/session").json() == {"count": 0}
    wait_until(lambda: len(store.storage.audit()) >= 2)
    assert {(a.who, a.action) for a in store.storage.audit()} == {
        ("ada", "POST /api/session"),
        ("ada", "DELETE /api/session"),
    }


def test_the_cookie_is_secure_behind_tls(store: Store) -> None:
    users.add(store, "ada", "viewer", PASSWORD)
    app = create_app(store, ServerOptions(auth="users", hosts=("*",), root_path="/runbase"))
    with TestClient(app, base_url="https://runbase.lab") as client:
        answer = client.post("/api/session", json={"name": "ada", "password": PASSWORD})
        assert "Secure" in answer.headers["set-cookie"]
        assert "Path=/runbase" in answer.headers["set-cookie"]


@pytest.mark.parametrize(
    ("name", "password"),
    [("ada", "wrong"), ("nobody", PASSWORD), ("", ""), ("ada", ""), ("ada", PASSWORD + " ")],
)
def test_wrong_names_and_passwords(browser: Browser, name: str, password: str) -> None:
    client = browser()
    answer = client.post("/api/session", json={"name": name, "password": password})
    assert answer.status_code == 401
    assert answer.json()["detail"] == "the name or the password is wrong"
    assert not client.cookies
    assert client.get("/api/runs", auth=(name, password)).status_code == 401


def test_the_id_of_a_user_is_no_name(browser: Browser, store: Store) -> None:
    body = {"name": users.find(store, "ada").id, "password": PASSWORD}
    assert browser().post("/api/session", json=body).status_code == 401


def test_wrong_passwords_are_limited(
    browser: Browser, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, signed_in = browser(), browser("ada")
    for number in range(limits.WRONG_PASSWORDS):
        body = {"name": "ada", "password": f"wrong {number}"}
        if number % 2:
            assert client.post("/api/session", json=body).status_code == 401
        else:
            assert client.get("/api/runs", auth=("ada", f"wrong {number}")).status_code == 401
    right = {"name": "ada", "password": PASSWORD}
    refused = client.post("/api/session", json=right)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    basic = client.get("/api/runs", auth=("ada", PASSWORD))
    assert basic.status_code == 429
    assert 1 <= int(basic.headers["retry-after"]) <= 60
    assert signed_in.get("/api/runs").status_code == 200
    now = time.monotonic()
    monkeypatch.setattr(limits.time, "monotonic", lambda: now + 61)
    assert client.post("/api/session", json=right).status_code == 200


def test_right_passwords_are_not_limited(browser: Browser) -> None:
    for _ in range(limits.WRONG_PASSWORDS + 2):
        browser("ada")


def test_basic_is_checked_once_for_some_seconds(
    browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[str] = []
    real = callers.passwords.user_with

    def counted(storage: Any, name: str, password: str) -> Any:
        checks.append(name)
        return real(storage, name, password)

    monkeypatch.setattr(callers, "KEEP", 3600.0)
    monkeypatch.setattr(callers.passwords, "user_with", counted)
    client = browser()
    for _ in range(5):
        assert client.get("/api/runs", auth=("ada", PASSWORD)).status_code == 200
    assert checks == ["ada"]


def test_sessions_expire_without_use(
    browser: Browser, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callers, "KEEP", -1.0)
    client = browser("ada")
    (value,) = client.cookies.values()
    digest = callers.hashed(value)
    store.storage.touch_session(digest, 1.0)
    assert client.get("/api/runs").status_code == 200
    monkeypatch.setattr(callers, "USED_EVERY", -1.0)
    assert client.get("/api/runs").status_code == 200
    session = store.storage.find_session(digest)
    assert session is not None
    assert (session.expires_at - session.used_at).days == 30  # each use moves it
    store.storage.touch_session(digest, 0.0)
    assert client.get("/api/runs").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:9"}, 403),  # another server of this machine
        ({"Origin": "null"}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": "application/json; charset=utf-8"}, 200),
    ],
)
def test_what_other_pages_make_a_browser_send_is_refused(
    browser: Browser, headers: dict[str, str], status: int
) -> None:
    client = browser("ada")
    sent = {"Content-Type": "application/json", **headers}
    assert client.post("/api/table", content=b"{}", headers=sent).status_code == status


def test_the_own_origin_and_changes_without_a_body(browser: Browser, url: str) -> None:
    client = browser("ada")
    assert client.post("/api/table", json={}, headers={"Origin": url}).status_code == 200
    assert client.post("/api/runs/run-1/restore").status_code == 415  # a form could send it
    assert client.delete("/api/runs/run-1", headers={"Origin": url}).status_code == 200


@pytest.mark.parametrize(("path", "status"), [("/api/live", 403), ("/api/sql", 405)])
@pytest.mark.parametrize("auth", ["none", "users"])
@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "http://evil.example"}], ids=str
)
def test_other_sites_do_not_even_read(
    store: Store, path: str, status: int, auth: Any, headers: dict[str, str]
) -> None:
    with serving(store, ServerOptions(port=0, auth=auth)) as url:
        assert httpx.get(url + path, headers=headers).status_code == status


def test_a_user_changes_the_own_password(browser: Browser) -> None:
    here, there = browser("ada"), browser("ada")
    new = "another long password"
    body = {"password": "wrong", "new_password": new}
    assert here.patch("/api/session", json=body).status_code == 401
    short = {"password": PASSWORD, "new_password": "short"}
    assert here.patch("/api/session", json=short).status_code == 400
    assert here.patch("/api/session", json=body | {"password": PASSWORD}).status_code == 200
    assert here.get("/api/runs").status_code == 200
    assert there.get("/api/runs").status_code == 401
    old = {"name": "ada", "password": PASSWORD}
    assert there.post("/api/session", json=old).status_code == 401
    assert there.post("/api/session", json=old | {"password": new}).status_code == 200


def test_the_rights_of_a_session_follow_the_user(browser: Browser) -> None:
    ada, root = browser("ada"), browser("root")
    assert ada.patch("/api/runs/run-1", json={"notes": "x"}).status_code == 200
    assert root.patch("/api/users/ada", json={"role": "viewer"}).status_code == 200
    assert ada.patch("/api/runs/run-1", json={"notes": "y"}).status_code == 403
    assert ada.get("/api/runs").status_code == 200
    assert root.delete("/api/users/ada").status_code == 200
    assert ada.get("/api/runs").status_code == 401


def test_a_stream_ends_with_the_rights_of_its_caller(
    browser: Browser, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, root = browser("ada"), browser("root")
    with ada.stream("GET", "/api/live") as stream:
        lines = stream.iter_lines()
        assert any("ready" in line for line in lines)
        assert root.patch("/api/users/ada", json={"role": "none"}).status_code == 200
        store.tag(store.run("secret"), "changed")
        assert not any("runs" in line for line in lines)  # it ends


def test_users_make_tokens_that_allow_no_more_than_they_may(browser: Browser, url: str) -> None:
    ada, root = browser("ada"), browser("root")
    refused = ada.post("/api/tokens", json={"name": "x", "permissions": ["admin"]})
    assert refused.status_code == 403
    made = ada.post("/api/tokens", json={"name": "laptop", "permissions": ["write"]}).json()
    root.post("/api/tokens", json={"name": "laptop", "permissions": ["admin"]}).raise_for_status()
    assert [t["name"] for t in ada.get("/api/tokens").json()] == ["laptop"]
    assert len(root.get("/api/tokens").json()) == 2
    token = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {made['token']}"})
    about = token.get("/api/session").json()
    assert (about["name"], about["kind"]) == ("ada/laptop", "token")
    assert token.patch("/api/runs/run-1", json={"notes": "x"}).status_code == 200
    assert token.post("/api/tokens", json={"name": "y"}).status_code == 403
    assert token.get("/api/users").status_code == 403
    basic = httpx.get(url + "/api/runs", auth=("anything", made["token"]))
    assert basic.status_code == 200
    root.patch("/api/users/ada", json={"role": "viewer"}).raise_for_status()
    assert token.patch("/api/runs/run-1", json={"notes": "x"}).status_code == 403
    assert token.get("/api/runs").status_code == 200
    root.delete("/api/users/ada").raise_for_status()
    assert token.get("/api/runs").status_code == 401


def test_users_revoke_their_own_tokens(browser: Browser, url: str) -> None:
    ada, root = browser("ada"), browser("root")
    mine = ada.post("/api/tokens", json={"name": "mine"}).json()
    other = root.post("/api/tokens", json={"name": "other"}).json()
    assert ada.delete(f"/api/tokens/{other['id']}").status_code == 404
    assert ada.delete("/api/tokens/mine").json() == {"count": 1}
    bearer = {"Authorization": f"Bearer {mine['token']}"}
    assert httpx.get(url + "/api/runs", headers=bearer).status_code == 401


# The one-time URL


def test_the_one_time_url_opens_once(store: Store) -> None:
    options = ServerOptions(port=0, auth="link", link_key="the key")
    with serving(store, options) as url, httpx.Client(base_url=url) as client:
        assert client.get("/").status_code == 200
        assert client.get("/api/runs").status_code == 401
        assert client.get("/?key=wrong").status_code == 403
        answer = client.get("/?key=the key")
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert client.get("/api/runs").status_code == 200
        assert client.get("/api/session").json()["permissions"] == ["admin", "log", "read", "write"]
        assert client.patch("/api/runs/run-1", json={"notes": "x"}).status_code == 200
        assert client.get("/?key=the key").status_code == 303  # by who opened it: to the page
        (cookie,) = client.cookies.values()
        assert httpx.get(url + "/?key=the key").status_code == 403
    with serving(store, ServerOptions(port=0, auth="users")) as url:
        cookies = {cookie_name("session", url): cookie}
        assert httpx.get(url + "/api/runs", cookies=cookies).status_code == 401


def test_a_link_is_for_this_machine_only() -> None:
    with pytest.raises(UsageError, match="for this machine only"):
        check(ServerOptions(host="0.0.0.0", auth="link"))


def test_sessions_of_users_are_refused_without_users(browser: Browser, store: Store) -> None:
    (cookie,) = browser("root").cookies.values()
    for options in (
        ServerOptions(port=0, auth="tokens"),
        ServerOptions(port=0, auth="link", link_key="k"),
    ):
        with serving(store, options) as url:
            cookies = {cookie_name("session", url): cookie}
            assert httpx.get(url + "/api/runs", cookies=cookies).status_code == 401
            answer = httpx.post(url + "/api/session", json={"name": "root", "password": PASSWORD})
            assert answer.status_code == 403


def test_a_browser_signs_in_with_a_token(guarded: Callable[..., Http]) -> None:
    token = guarded("read").token
    http = guarded()
    refused = http.json("POST", "/api/session", {"password": "rb_wrong"}, status=401)
    assert "wrong" in refused["detail"]
    answer = http.send("POST", "/api/session", {"password": token})
    assert answer.status == 200, answer.data
    assert answer.json()["permissions"] == ["read"]
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie.replace("Strict", "strict")
    kept = cookie.split(";")[0]
    assert http.send("GET", "/api/runs", cookie=kept).status == 200
    assert http.send("POST", "/api/experiments", {"name": "x"}, cookie=kept).status == 403
    assert http.send("GET", "/api/runs").status == 401
    gone = http.send("DELETE", "/api/session", cookie=kept)
    assert "Max-Age=0" in gone.headers["Set-Cookie"]
