"""Sign in and out: with a password, with OpenID Connect, or with the one-time URL of the server."""

from typing import Any

from anyio.to_thread import run_sync
from litestar import Request, Response, delete, get, patch, post
from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.exceptions import NotAuthorizedException
from litestar.params import JSONBody
from msgspec import Struct

from runbase.errors import NotAllowed, NotFound
from runbase.server import users
from runbase.server.callers import Callers, address_of, cookie_name
from runbase.server.oidc import Provider
from runbase.server.options import Auth, ServerOptions
from runbase.server.principals import Principal, of_user
from runbase.server.routes.runs import Count
from runbase.server.tokens import PREFIX
from runbase.store.store import Store

Caller = Request[Any, Any, Any]
AGES = 400 * 86400
"""Seconds for which a browser keeps the cookie; the server decides when the session expires."""
SIGN_IN = 600
"""Seconds in which a person signs in at the provider."""


class Credentials(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The name and the password of a user; or a token as the password, and no name."""

    password: str
    name: str = ""


class NewPassword(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The present and the new password of the caller."""

    password: str
    new_password: str


class SessionInfo(Struct, frozen=True, kw_only=True):
    """Who calls.

    Attributes:
        name: the name of the caller; null: nobody is signed in.
        auth: how the server finds out who calls: none, tokens, users, oidc or link.
        kind: how the caller was recognised: local, token, session or password.
        user: the id of the user; null: a token of nobody, or the local user.
        permissions: what the caller may do on the store and on experiments that are not in `grants`.
        grants: id of an experiment → what the caller may do there instead.
    """

    name: str | None
    auth: Auth
    kind: str | None = None
    user: str | None = None
    permissions: list[str] = []
    grants: dict[str, list[str]] = {}


def _info(principal: Principal | None, options: ServerOptions) -> SessionInfo:
    if principal is None:
        return SessionInfo(name=None, auth=options.auth)
    return SessionInfo(
        name=principal.name,
        auth=options.auth,
        kind=principal.kind,
        user=principal.user,
        permissions=sorted(principal.permissions),
        grants={experiment: sorted(may) for experiment, may in principal.grants.items()},
    )


def _cookie(request: Caller, options: ServerOptions, name: str, value: str, **more: Any) -> Cookie:
    """Return a cookie that scripts cannot read, and that browsers send to this server only."""
    settings: dict[str, Any] = {
        "path": f"/{options.root_path.strip('/')}",
        "max_age": AGES,
        "samesite": "strict",
        **more,
    }
    secure = request.url.scheme == "https"
    return Cookie(key=name, value=value, httponly=True, secure=secure, **settings)


def _session_cookie(request: Caller, options: ServerOptions, value: str, **more: Any) -> Cookie:
    """Return the cookie of a session."""
    name = cookie_name("session", request.headers.get("host", ""))
    return _cookie(request, options, name, value, **more)


def _entered(request: Caller, principal: Principal) -> None:
    """Record the change as one of who signed in."""
    scope: Any = request.scope
    scope["user"] = principal


@get("/api/session", opt={"permission": "public"}, sync_to_thread=False)
def whoami(request: Caller, options: NamedDependency[ServerOptions]) -> SessionInfo:
    """Return who calls, and what the caller may do."""
    return _info(request.scope["user"], options)


@post("/api/session", opt={"permission": "public", "audited": True}, status_code=200)
async def sign_in(
    request: Caller,
    callers: NamedDependency[Callers],
    options: NamedDependency[ServerOptions],
    data: JSONBody[Credentials],
) -> Response[SessionInfo]:
    """Begin a session: the answer sets its cookie. After 5 wrong passwords in a minute, an address must wait.

    A browser that signs in with a token keeps it in a cookie, which scripts cannot read.
    """
    if data.password.startswith(PREFIX):
        found = await callers.of_token(data.password)
        if found is None:
            raise NotAuthorizedException("the token is wrong, revoked or expired")
        _entered(request, found)
        kept = _session_cookie(request, options, data.password)
        return Response(_info(found, options), cookies=[kept])
    if not callers.with_users:
        raise NotAllowed("this server has no users: sign in with a token, which begins with rb_")
    user = await callers.check_password(data.name, data.password, address_of(request.scope))
    if user is None:
        raise NotAuthorizedException("the name or the password is wrong")
    principal = of_user(user, "session")
    _entered(request, principal)
    cookie = _session_cookie(request, options, await callers.start(user.id))
    return Response(_info(principal, options), cookies=[cookie])


@patch("/api/session", opt={"permission": "any", "audited": True})
async def change_password(
    request: Caller,
    store: NamedDependency[Store],
    callers: NamedDependency[Callers],
    options: NamedDependency[ServerOptions],
    data: JSONBody[NewPassword],
) -> Response[SessionInfo]:
    """Change the password of the caller, and end all other sessions of the caller."""
    caller: Principal = request.user
    if caller.user is None or caller.kind == "token":
        raise NotAllowed("sign in to change a password; tokens change none")
    address = address_of(request.scope)
    user = await callers.check_password(caller.name, data.password, address)
    if user is None or user.id != caller.user:
        raise NotAuthorizedException("the present password is wrong")
    await run_sync(users.set_password, store, user, data.new_password)
    callers.forget()
    cookie = _session_cookie(request, options, await callers.start(user.id))
    return Response(_info(of_user(user, "session"), options), cookies=[cookie])


@delete("/api/session", opt={"permission": "public", "audited": True}, status_code=200)
async def sign_out(
    request: Caller, callers: NamedDependency[Callers], options: NamedDependency[ServerOptions]
) -> Response[Count]:
    """End the session of the caller, if there is one."""
    principal: Principal | None = request.scope["user"]
    value = callers.cookie_of(request.scope)
    ended = value is not None and principal is not None and principal.kind == "session"
    if value is not None and ended:
        await callers.end(value)
    gone = _session_cookie(request, options, "", max_age=0)
    return Response(Count(int(ended)), cookies=[gone])


# OpenID Connect


def _of(provider: Provider | None) -> Provider:
    if provider is None:
        raise NotFound("this server has no OpenID Connect provider; start it with --auth oidc")
    return provider


def _here(request: Caller, options: ServerOptions) -> str:
    """Return the address to which the provider sends the browser back."""
    root = options.root_path.strip("/")
    base = f"{request.url.scheme}://{request.headers.get('host', '')}"
    return f"{base}{'/' + root if root else ''}/api/session/oidc/callback"


def _state(request: Caller, options: ServerOptions, value: str, seconds: int) -> Cookie:
    """Return the cookie of a person who is at the provider, which sends the browser back from another site."""
    path = f"/{options.root_path.strip('/')}".rstrip("/") + "/api/session/oidc"
    name = cookie_name("oidc", request.headers.get("host", ""))
    return _cookie(request, options, name, value, path=path, max_age=seconds, samesite="lax")


@get("/api/session/oidc", opt={"permission": "public"}, include_in_schema=False)
async def begin_oidc(
    request: Caller,
    provider: NamedDependency[Provider | None],
    options: NamedDependency[ServerOptions],
) -> Response[None]:
    """Send the browser to the provider."""
    address, state = await _of(provider).begin(_here(request, options))
    return Response(
        None,
        status_code=303,
        headers={"Location": address, "Cache-Control": "no-store"},
        cookies=[_state(request, options, state, SIGN_IN)],
    )


@get("/api/session/oidc/callback", opt={"permission": "public"}, include_in_schema=False)
async def end_oidc(
    request: Caller,
    store: NamedDependency[Store],
    callers: NamedDependency[Callers],
    provider: NamedDependency[Provider | None],
    options: NamedDependency[ServerOptions],
) -> Response[None]:
    """Begin a session of the user whom the provider names."""
    known = request.cookies.get(cookie_name("oidc", request.headers.get("host", "")), "")
    query = {name: value for name, value in request.query_params.items() if isinstance(value, str)}
    claims = await _of(provider).end(query, known, _here(request, options))
    user = await run_sync(_of(provider).user_of, store, claims)
    callers.forget()
    cookies = [
        _session_cookie(request, options, await callers.start(user.id)),
        _state(request, options, "", 0),
    ]
    return _home(options, cookies)


# The one-time URL


def _home(options: ServerOptions, cookies: list[Cookie]) -> Response[None]:
    root = options.root_path.strip("/")
    headers = {
        "Location": f"/{root}/" if root else "/",
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
    }
    return Response(None, status_code=303, headers=headers, cookies=cookies)


async def opened_link(
    request: Caller, callers: Callers, options: ServerOptions, key: str
) -> Response[None]:
    """Begin a session of who opens the one-time URL, and lead the browser to the page.

    Raises:
        NotAllowed: the URL was opened before.
    """
    if request.scope["user"] is not None:
        return _home(options, [])
    if not callers.open_link(key):
        raise NotAllowed("this URL was opened before, or is of another start; restart the server")
    value = await callers.start(None)
    return _home(options, [_session_cookie(request, options, value)])


ROUTES: tuple[Any, ...] = (
    whoami, sign_in, change_password, sign_out, begin_oidc, end_oidc,
)  # fmt: skip
