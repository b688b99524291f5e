"""Find out who calls: by token, session cookie, or name and password."""

import asyncio
import base64
import binascii
import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from weakref import WeakValueDictionary

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from litestar.types import HTTPScope

from runbase.server import passwords
from runbase.server.limits import Attempts
from runbase.server.options import ServerOptions
from runbase.server.principals import LOCAL, Principal, of_token, of_user
from runbase.server.tokens import PREFIX, hashed
from runbase.storage.protocol import Storage
from runbase.storage.users_protocol import User

_LOG = logging.getLogger(__name__)
KEEP = 10.0
"""Seconds for which a caller that was found is not looked up again; changes of rights count after that."""
USED_EVERY = 60.0
"""Seconds between two updates of the last use of a token or a session."""
DAYS = 30.0
"""Days without use after which a session expires."""
HASHING = 2
"""Passwords that are checked at once; each takes 64 MiB and a tenth of a second."""


class Callers:
    """Finds out who sends requests, and remembers it for some seconds.

    Args:
        storage: the storage with tokens, users and sessions.
        options: how the server is reached.
    """

    def __init__(self, storage: Storage, options: ServerOptions) -> None:
        self._storage, self._options = storage, options
        self._found: dict[bytes, tuple[float, Principal | None]] = {}
        self._secret = secrets.token_bytes(32)
        self._turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._hashing = CapacityLimiter(HASHING)
        self._failures = Attempts()
        self._link = None if options.link_key is None else hashed(options.link_key)

    @property
    def with_users(self) -> bool:
        """Whether users can sign in."""
        return self._options.auth in ("users", "oidc")

    def forget(self) -> None:
        """Look up each caller again: rights were changed."""
        self._found.clear()

    async def of_scope(self, scope: HTTPScope) -> Principal | None:
        """Return who sends a request; None if the token, cookie or password is missing or wrong.

        Raises:
            TooManyRequestsException: too many wrong passwords came from this address.
        """
        if self._options.auth == "none":
            return LOCAL
        headers = headers_of(scope)
        scheme, _, rest = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return await self.of_token(rest.strip())
        if scheme.lower() == "basic":
            return await self._of_basic(rest, address_of(scope))
        cookie = self.cookie_of(scope)
        if cookie is None:
            return None
        if cookie.startswith(PREFIX):
            return await self.of_token(cookie)
        return await self._cached(cookie, self._of_session)

    def cookie_of(self, scope: HTTPScope) -> str | None:
        """Return the session's cookie in a request."""
        headers = headers_of(scope)
        wanted = cookie_name("session", headers.get("host", ""))
        for part in headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == wanted and value:
                return value
        return None

    async def start(self, user: str | None) -> str:
        """Begin a session of a user, or of who opened the one-time URL; return the value of its cookie."""
        value = secrets.token_urlsafe(32)
        await run_sync(self._storage.add_session, hashed(value), user, DAYS)
        return value

    async def end(self, cookie: str) -> None:
        """End a session."""
        await run_sync(self._storage.remove_session, hashed(cookie))
        self.forget()

    def open_link(self, key: str) -> bool:
        """Return whether a key is that of the one-time URL; it is valid once."""
        if self._link is None or not secrets.compare_digest(hashed(key), self._link):
            return False
        self._link = None
        return True

    async def check_password(self, name: str, password: str, address: str) -> User | None:
        """Return the user with a name if the password is right.

        Raises:
            TooManyRequestsException: too many wrong ones came from this address.
        """
        async with self._turn(address):
            return await self._checked(name, password, address)

    def _turn(self, address: str) -> asyncio.Lock:
        """Return the lock of an address: its passwords are checked one after the other, so that the limit is exact."""
        return self._turns.setdefault(address, asyncio.Lock())

    async def _checked(self, name: str, password: str, address: str) -> User | None:
        self._failures.check(address)
        work = (passwords.user_with, self._storage, name, password)
        user = await run_sync(*work, limiter=self._hashing)
        if user is None:
            self._failures.add(address)
            _LOG.warning("a wrong password for %r came from %s", name[:100], address)
        return user

    # Kinds of proof

    async def of_token(self, token: str) -> Principal | None:
        """Return who has a token; None if it is wrong, revoked or expired."""
        return await self._cached(token, self._with_token) if token else None

    async def _of_basic(self, encoded: str, address: str) -> Principal | None:
        """Return who has a name and a password, or a token as the password, which MLflow's clients send."""
        try:
            name, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        found = None
        if not self.with_users or password.startswith(PREFIX):
            found = await self.of_token(password)
        if found is not None or not self.with_users:
            return found
        key = self._key(f"{name}\0{password}")
        known, principal = self._known(key)
        if known:
            return principal
        async with self._turn(address):
            known, principal = self._known(key)  # another request of the same client had its turn
            if not known:
                user = await self._checked(name, password, address)
                principal = None if user is None else of_user(user, "password")
                self._keep(key, principal)
        return principal

    def _with_token(self, token: str) -> Principal | None:
        found = self._storage.find_token(hashed(token))
        if found is None:
            return None
        user = None if found.user is None else self._storage.find_user(found.user)
        if found.user is not None and user is None:
            return None
        if found.used_at is None or _seconds_since(found.used_at) > USED_EVERY:
            self._storage.touch_token(found.id)
        return of_token(found, user)

    def _of_session(self, cookie: str) -> Principal | None:
        digest = hashed(cookie)
        session = self._storage.find_session(digest)
        if session is None or (session.user is None) != (self._options.auth == "link"):
            return None
        if session.user is None:
            principal = Principal(
                name="local", person="local", permissions=LOCAL.permissions, kind="session"
            )
        else:
            user = self._storage.find_user(session.user) if self.with_users else None
            if user is None:
                return None
            principal = of_user(user, "session")
        if _seconds_since(session.used_at) > USED_EVERY:
            self._storage.touch_session(digest, DAYS)
        return principal

    # What was found before

    async def _cached(
        self, proof: str, find: Callable[[str], Principal | None]
    ) -> Principal | None:
        key = self._key(proof)
        known, principal = self._known(key)
        if not known:
            principal = await run_sync(find, proof)
            self._keep(key, principal)
        return principal

    def _key(self, proof: str) -> bytes:
        return hashlib.blake2b(proof.encode(), key=self._secret).digest()

    def _known(self, key: bytes) -> tuple[bool, Principal | None]:
        at, principal = self._found.get(key, (-KEEP, None))
        return time.monotonic() - at < KEEP, principal

    def _keep(self, key: bytes, principal: Principal | None) -> None:
        if len(self._found) > 10_000:
            self._found.clear()
        self._found[key] = time.monotonic(), principal


def headers_of(scope: HTTPScope) -> dict[str, str]:
    """Return the headers of a request, with names in lower case."""
    return {
        name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
    }


def cookie_name(kind: str, host: str) -> str:
    """Return the name of a cookie.

    Browsers send cookies to all ports of a machine, so the name contains the port that the browser calls. Several servers behind
    one proxy have ports of their own, and the same name.

    Args:
        kind: what it is for.
        host: the header `Host`.
    """
    port = host.rpartition(":")[2]
    return f"runbase_{kind}_{port}" if port.isdecimal() else f"runbase_{kind}"


def address_of(scope: HTTPScope) -> str:
    """Return the network address of the client."""
    client = scope["client"]
    return client[0] if client else ""


def _seconds_since(moment: datetime) -> float:
    return (datetime.now(UTC) - moment).total_seconds()
