"""Sign in with OpenID Connect, at a provider that these tests start."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey

from runbase.errors import UsageError
from runbase.server import users
from runbase.server.options import OidcOptions, ServerOptions
from runbase.server.serve import check, serving
from runbase.server.users import Grant
from runbase.store.store import Store

CLIENT, SECRET = "runbase", "the secret of runbase"


class Idp:
    """A provider with one person, who is signed in there already.

    `person` are the claims; `change` changes those of the next ID tokens; `key` signs, and `shown` is in the key set.
    """

    def __init__(self) -> None:
        self.url = ""
        self.person: dict[str, Any] = {"sub": "7", "preferred_username": "ada", "groups": ["lab"]}
        self.change: dict[str, Any] = {}
        self.key = self.shown = RSAKey.generate_key(2048, {"kid": "1"}, private=True)
        self.in_userinfo = False
        self.refuses = False
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[dict[str, str]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            while True:
                message = await receive()
                await send({"type": message["type"] + ".complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        fields = {
            name: values[0]
            for name, values in parse_qs((scope["query_string"] or body).decode()).items()
        }
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        status, answer, more = self.answer(scope["path"], fields, headers)
        await send({
            "type": "http.response.start",
            "status": status,
            "headers": [(b"content-type", b"application/json"), *more],
        })  # fmt: skip
        await send({"type": "http.response.body", "body": json.dumps(answer).encode()})

    def answer(self, path: str, fields: dict[str, str], headers: dict[str, str]) -> Any:
        if path == "/.well-known/openid-configuration":
            names = ("authorization", "token", "userinfo")
            places = {f"{name}_endpoint": f"{self.url}/{name}" for name in names}
            return 200, {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", **places}, []
        if path == "/jwks":
            return 200, {"keys": [self.shown.as_dict(private=False)]}, []
        if path == "/authorization":
            return self.authorize(fields)
        if path == "/userinfo":
            assert headers["authorization"] == "Bearer of the person"
            return 200, self.person, []
        assert path == "/token"
        return self.token(fields, headers)

    def authorize(self, fields: dict[str, str]) -> Any:
        self.asked.append(fields)
        back = {"state": fields["state"]}
        if self.refuses:
            back["error"] = "access_denied"
        else:
            back["code"] = f"code {len(self.asked)}"
            self.codes[back["code"]] = fields
        place = f"{fields['redirect_uri']}?{urlencode(back)}"
        return 302, {}, [(b"location", place.encode())]

    def token(self, fields: dict[str, str], headers: dict[str, str]) -> Any:
        asked = self.codes.pop(fields["code"], None)
        digest = hashlib.sha256(fields["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        known = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if (
            asked is None
            or asked["code_challenge"] != challenge
            or asked["code_challenge_method"] != "S256"
            or asked["redirect_uri"] != fields["redirect_uri"]
            or headers.get("authorization") != f"Basic {known.replace('+', '%2B')}"
        ):
            return 400, {"error": "invalid_grant"}, []
        now = int(time.time())
        claims = {
            "iss": self.url,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 60,
            "nonce": asked["nonce"],
        }
        person = {"sub": self.person["sub"]} if self.in_userinfo else self.person
        header = {"alg": "RS256", "kid": self.key.kid}
        token = jwt.encode(header, claims | person | self.change, self.key)
        found = {"access_token": "of the person", "token_type": "Bearer", "id_token": token}
        return 200, found, []


@pytest.fixture
def idp() -> Iterator[Idp]:
    provider = Idp()
    server = uvicorn.Server(uvicorn.Config(provider, port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    provider.url = f"http://127.0.0.1:{port}"
    yield provider
    server.should_exit = True
    thread.join(timeout=20)


Browser = Callable[..., httpx.Client]


@pytest.fixture
def browser(idp: Idp, store: Store) -> Iterator[Browser]:
    """Makes a browser at a server whose users come from the provider; groups decide the roles by default."""
    opened: list[Any] = []

    def make(**options: Any) -> httpx.Client:
        given = {"roles": {"lab": "viewer", "leads": "admin"}, **options}
        oidc = OidcOptions(issuer=idp.url, client_id=CLIENT, client_secret=SECRET, **given)
        server = serving(store, ServerOptions(port=0, auth="oidc", oidc=oidc))
        url = server.__enter__()
        client = httpx.Client(base_url=url, follow_redirects=True, timeout=60)
        opened.append((server, client))
        return client

    yield make
    for server, client in opened:
        client.close()
        server.__exit__(None, None, None)


def test_a_person_signs_in_and_appears_among_the_users(
    browser: Browser, idp: Idp, store: Store
) -> None:
    client = browser()
    assert client.get("/api/session").json() | {} == {
        "name": None, "auth": "oidc", "kind": None, "user": None, "permissions": [], "grants": {},
    }  # fmt: skip
    answer = client.get("/api/session/oidc")
    assert answer.status_code == 200
    assert [r.status_code for r in answer.history] == [303, 302, 303]
    assert answer.url.path == "/"
    cookies = " ".join(answer.history[-1].headers.get_list("set-cookie"))
    assert "SameSite=strict" in cookies
    assert "HttpOnly" in cookies
    about = client.get("/api/session").json()
    assert (about["name"], about["permissions"]) == ("ada", ["read"])
    assert client.get("/api/runs").status_code == 200
    assert client.patch("/api/runs/run-1", json={"notes": "x"}).status_code == 403
    (user,) = store.storage.users()
    assert (user.name, user.subject, user.has_password) == ("ada", f"{idp.url} 7", False)
    assert idp.asked[0]["scope"] == "openid profile email"
    client.get("/api/session/oidc")
    assert (
        len({(asked["state"], asked["nonce"], asked["code_challenge"]) for asked in idp.asked}) == 2
    )
    assert len(store.storage.users()) == 1


def test_groups_decide_the_role_at_each_sign_in(browser: Browser, idp: Idp, store: Store) -> None:
    client = browser()
    for groups, role in (
        (["leads", "lab"], "admin"),
        (["lab"], "viewer"),
        ("leads", "admin"),
        ([], "none"),
        ([7, None], "none"),
    ):
        idp.person["groups"] = groups
        assert client.get("/api/session/oidc").status_code == 200
        assert users.find(store, "ada").role == role
    users.set_grant(store, Grant(user="ada", experiment="other", role="editor"))
    assert client.get("/api/session/oidc").status_code == 200
    secret = store.run("secret").id
    assert client.patch(f"/api/runs/{secret}", json={"notes": "x"}).status_code == 200


def test_without_roles_for_groups_an_admin_decides(
    browser: Browser, idp: Idp, store: Store
) -> None:
    client = browser(roles={})
    client.get("/api/session/oidc")
    assert users.find(store, "ada").role == "none"
    assert client.get("/api/runs").status_code == 403
    store.storage.set_role(users.find(store, "ada").id, "editor")
    client.get("/api/session/oidc")
    assert client.get("/api/runs").status_code == 200


def test_groups_may_be_in_the_user_info(browser: Browser, idp: Idp, store: Store) -> None:
    idp.in_userinfo = True
    browser().get("/api/session/oidc")
    assert users.find(store, "ada").role == "viewer"


def test_nobody_takes_the_name_of_another(browser: Browser, idp: Idp, store: Store) -> None:
    users.add(store, "ada", "admin", None)
    idp.person["email"] = "ada@lab.example"
    client = browser()
    client.get("/api/session/oidc")
    assert client.get("/api/session").json()["name"] == "ada@lab.example"
    idp.person = {"sub": "8", "preferred_username": "local", "name": "a:b/c"}
    client.get("/api/session/oidc")
    assert client.get("/api/session").json()["name"] == "8"


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "https://evil.example"},
        {"aud": "another client"},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"exp": 1},
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"sub": ""},
        {"sub": None},
    ],
    ids=str,
)
def test_id_tokens_that_are_not_for_this_sign_in(
    browser: Browser, idp: Idp, store: Store, change: dict[str, Any]
) -> None:
    idp.change = change
    client = browser()
    answer = client.get("/api/session/oidc")
    assert answer.status_code == 403
    assert "the ID token of the provider" in answer.json()["detail"]
    assert client.get("/api/runs").status_code == 401
    assert store.storage.users() == []


def test_the_signature_is_checked_with_the_present_keys(browser: Browser, idp: Idp) -> None:
    client = browser()
    assert client.get("/api/session/oidc").status_code == 200
    idp.key = RSAKey.generate_key(2048, {"kid": "2"}, private=True)
    assert (
        client.get("/api/session/oidc").status_code == 403
    )  # a key that the provider does not show
    idp.shown = idp.key
    assert client.get("/api/session/oidc").status_code == 200


def test_the_state_must_be_that_of_the_browser(browser: Browser, idp: Idp) -> None:
    client = browser()
    client.follow_redirects = False
    begun = client.get("/api/session/oidc")
    back = client.get(begun.headers["location"]).headers["location"]
    stranger = httpx.Client()
    for other in (
        stranger.get(back),  # a browser that did not begin
        client.get(back.replace("state=", "state=x")),
        client.get(back.partition("?")[0]),
        stranger.get(back, cookies=dict.fromkeys(client.cookies, "bm9uc2Vuc2U")),
    ):
        assert other.status_code == 403
        assert "did not begin in this browser" in other.json()["detail"]
    assert client.get(back).status_code == 303
    assert client.get(back).status_code == 403  # once


def test_a_code_of_another_browser_is_refused(browser: Browser, idp: Idp) -> None:
    """PKCE: who stole a code, and begins a sign-in to present it, has another verifier."""
    victim, thief = browser(), browser()
    thief.base_url = victim.base_url
    for client in (victim, thief):
        client.follow_redirects = False
    stolen = victim.get(victim.get("/api/session/oidc").headers["location"]).headers["location"]
    begun = thief.get("/api/session/oidc").headers["location"]
    state = parse_qs(urlsplit(begun).query)["state"][0]
    code = parse_qs(urlsplit(stolen).query)["code"][0]
    place = stolen.partition("?")[0]
    answer = thief.get(f"{place}?{urlencode({'code': code, 'state': state})}")
    assert answer.status_code == 403
    assert "refused the code" in answer.json()["detail"]


def test_a_refusal_of_the_provider(browser: Browser, idp: Idp) -> None:
    idp.refuses = True
    answer = browser().get("/api/session/oidc")
    assert answer.status_code == 403
    assert "access_denied" in answer.json()["detail"]


def test_a_provider_that_is_away(store: Store) -> None:
    oidc = OidcOptions(issuer="http://127.0.0.1:9", client_id=CLIENT)
    with serving(store, ServerOptions(port=0, auth="oidc", oidc=oidc)) as url:
        answer = httpx.get(f"{url}/api/session/oidc")
        assert answer.status_code == 503
        assert "does not answer" in answer.json()["detail"]


def test_what_the_server_is_started_with(store: Store) -> None:
    with pytest.raises(UsageError, match="--oidc-issuer"):
        check(ServerOptions(auth="oidc"))
    for issuer in ("http://id.example", "id.example"):
        options = OidcOptions(issuer=issuer, client_id=CLIENT)
        with (
            pytest.raises(UsageError, match="not an https URL"),
            serving(store, ServerOptions(port=0, auth="oidc", oidc=options)),
        ):
            pass
    with serving(store) as url:
        assert httpx.get(f"{url}/api/session/oidc").status_code == 404
