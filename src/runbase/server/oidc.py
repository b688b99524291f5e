"""Sign in with OpenID Connect: the authorization code flow with PKCE."""

import base64
import json
import secrets
import time
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from litestar.exceptions import HTTPException

from runbase.errors import NotAllowed, UsageError
from runbase.extras import load
from runbase.server.options import OidcOptions
from runbase.server.users import check_name
from runbase.storage.users_protocol import Role, User
from runbase.store.store import Store

KEEP = 3600.0
"""Seconds for which the description and the keys of the provider are kept."""
TIMEOUT = 10.0
"""Seconds to wait for the provider."""
LEEWAY = 60
"""Seconds by which clocks may differ."""
ORDER: tuple[Role, ...] = ("none", "viewer", "editor", "admin")
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
"""How a provider may sign. Not with the secret of the client, and not at all without a signature."""
WHAT = "--auth oidc"


class Provider:
    """An OpenID Connect provider.

    Args:
        options: where it is, and who this server is there.

    Raises:
        UsageError: the issuer is not an https URL, or a role does not exist.
        MissingPackage: authlib is not installed.
    """

    def __init__(self, options: OidcOptions) -> None:
        place = urlsplit(options.issuer)
        local = place.hostname in ("localhost", "127.0.0.1", "::1")
        if not place.netloc or (place.scheme != "https" and not (place.scheme == "http" and local)):
            raise UsageError(f"the issuer {options.issuer!r} is not an https URL")
        if unknown := {role for role in options.roles.values() if role not in ORDER}:
            raise UsageError(f"no role {min(unknown)!r}; use {', '.join(ORDER)}")
        self._options = options
        self._client_class: Any = load(
            "authlib.integrations.httpx_client", "oidc", WHAT
        ).AsyncOAuth2Client
        self._about: tuple[float, dict[str, Any]] = (-KEEP, {})
        self._keys: tuple[float, Any] = (-KEEP, None)

    async def begin(self, redirect: str) -> tuple[str, str]:
        """Return the address at the provider to which the browser goes, and what the browser keeps meanwhile.

        Args:
            redirect: where the provider sends the browser back to.
        """
        state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
        async with self._client(redirect) as client:
            about = await self._description(client)
            address, _ = client.create_authorization_url(
                about["authorization_endpoint"], state=state, nonce=nonce, code_verifier=verifier
            )
        kept = json.dumps([state, nonce, verifier]).encode()
        return address, base64.urlsafe_b64encode(kept).decode().rstrip("=")

    async def end(self, query: Mapping[str, str], kept: str, redirect: str) -> dict[str, Any]:
        """Return the claims about the user whom the provider sent back.

        Args:
            query: the parameters with which the browser comes back.
            kept: what the browser kept.
            redirect: where the provider sent the browser to.

        Raises:
            NotAllowed: the browser did not begin here, the provider refused, or its token is not valid.
            HTTPException: the provider does not answer.
        """
        state, nonce, verifier = _unpacked(kept)
        if not secrets.compare_digest(query.get("state", ""), state):
            raise NotAllowed(
                "this sign-in did not begin in this browser, or took too long; try again"
            )
        if "code" not in query:
            error = query.get("error_description") or query.get("error") or "it sent no code"
            raise NotAllowed(f"the provider refused to sign in: {error[:200]}")
        async with self._client(redirect) as client:
            about = await self._description(client)
            try:
                answer = await client.fetch_token(
                    about["token_endpoint"], code=query["code"], code_verifier=verifier
                )
            except load("authlib.integrations.base_client", "oidc", WHAT).OAuthError as error:
                raise NotAllowed(f"the provider refused the code: {error}") from error
            except Exception as error:
                raise _away(self._options.issuer, error) from error
            claims = await self._claims(client, answer, nonce)
            place = about.get("userinfo_endpoint")
            if self._options.groups_claim not in claims and place:
                more = await self._json(client, place, signed=True)
                if more.get("sub") == claims["sub"]:  # else, it is about somebody else
                    claims = more | claims
        return claims

    async def _claims(self, client: Any, answer: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Return the claims of an ID token, after checks of signature, issuer, audience, times, and nonce."""
        jwt, errors = load("joserfc.jwt", "oidc", WHAT), load("joserfc.errors", "oidc", WHAT)
        token_class = load("authlib.oidc.core", "oidc", WHAT).CodeIDToken
        given = answer.get("id_token")
        if not isinstance(given, str):
            raise NotAllowed("the provider sent no ID token")
        try:
            try:
                token = jwt.decode(given, await self._key_set(client), algorithms=ALGORITHMS)
            except (errors.JoseError, ValueError):  # it may have new keys
                keys = await self._key_set(client, again=True)
                token = jwt.decode(given, keys, algorithms=ALGORITHMS)
            claims = token_class(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": self._options.issuer},
                    "aud": {"essential": True, "value": self._options.client_id},
                },
                {
                    "nonce": nonce,
                    "client_id": self._options.client_id,
                    "access_token": answer.get("access_token"),
                },
            )
            claims.validate(leeway=LEEWAY)
        except (errors.JoseError, ValueError) as error:
            raise NotAllowed(f"the ID token of the provider is not valid: {error}") from error
        if not isinstance(token.claims.get("sub"), str) or not token.claims["sub"]:
            raise NotAllowed("the ID token of the provider names nobody")
        return dict(token.claims)

    def user_of(self, store: Store, claims: Mapping[str, Any]) -> User:
        """Return the user of claims, added at the first time; groups decide the role, if roles are given for groups."""
        storage, role = store.storage, self.role_of(claims)
        subject = f"{self._options.issuer} {claims['sub']}"
        user = storage.user_of_subject(subject)
        if user is None:
            key = storage.add_user(_free_name(store, claims), role or "none", subject=subject)
            user = storage.find_user(key)
        elif role is not None and role != user.role:
            storage.set_role(user.id, role)
            user = storage.find_user(user.id)
        assert user is not None
        return user

    def role_of(self, claims: Mapping[str, Any]) -> Role | None:
        """Return the highest role of a user's groups; None: groups decide nothing here."""
        if not self._options.roles:
            return None
        value: Any = claims.get(self._options.groups_claim) or []
        groups = cast("list[Any]", value if isinstance(value, list) else [value])
        names = [group for group in groups if isinstance(group, str)]
        found: list[Role] = ["none", *(self._options.roles.get(name, "none") for name in names)]
        return max(found, key=ORDER.index)

    # The provider

    def _client(self, redirect: str) -> Any:
        return self._client_class(
            self._options.client_id,
            self._options.client_secret or None,
            scope=self._options.scope,
            redirect_uri=redirect,
            code_challenge_method="S256",
            token_endpoint_auth_method=None if self._options.client_secret else "none",
            timeout=TIMEOUT,
            follow_redirects=False,
        )

    async def _description(self, client: Any) -> dict[str, Any]:
        """Return what the provider says about itself."""
        at, about = self._about
        if time.monotonic() - at > KEEP:
            place = f"{self._options.issuer.rstrip('/')}/.well-known/openid-configuration"
            about = await self._json(client, place)
            if about.get("issuer") != self._options.issuer:
                raise HTTPException(
                    status_code=503,
                    detail=f"the provider calls itself {about.get('issuer')!r}, not {self._options.issuer!r}",
                )
            self._about = time.monotonic(), about
        return about

    async def _key_set(self, client: Any, *, again: bool = False) -> Any:
        """Return the keys with which the provider signs."""
        at, keys = self._keys
        if again or time.monotonic() - at > KEEP:
            about = await self._description(client)
            found = await self._json(client, about["jwks_uri"])
            keys = load("joserfc.jwk", "oidc", WHAT).KeySet.import_key_set(found)
            self._keys = time.monotonic(), keys
        return keys

    async def _json(self, client: Any, place: str, *, signed: bool = False) -> dict[str, Any]:
        """Return a JSON object of the provider, read with the access token if `signed`."""
        try:
            answer = await client.request("GET", place, withhold_token=not signed)
            answer.raise_for_status()
            found: Any = answer.json()
        except Exception as error:
            raise _away(place, error) from error
        if not isinstance(found, dict):
            raise _away(place, TypeError("the answer is not a JSON object"))
        return cast("dict[str, Any]", found)


def _away(place: str, error: Exception) -> HTTPException:
    return HTTPException(
        status_code=503, detail=f"the provider at {place} does not answer: {error}"
    )


def _unpacked(kept: str) -> tuple[str, str, str]:
    """Return state, nonce and verifier that a browser kept. Raises NotAllowed."""
    try:
        plain = base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4))
        state, nonce, verifier = (str(each) for each in json.loads(plain))
    except (ValueError, TypeError):
        raise NotAllowed(
            "this sign-in did not begin in this browser, or took too long; try again"
        ) from None
    if not all((state, nonce, verifier)):
        raise NotAllowed("this sign-in did not begin in this browser; try again")
    return state, nonce, verifier


def _free_name(store: Store, claims: Mapping[str, Any]) -> str:
    """Return a name for a new user that no other user has, so that nobody takes the place of another."""
    for claim in ("preferred_username", "email", "name", "sub"):
        value = claims.get(claim)
        if not isinstance(value, str):
            continue
        try:
            name = check_name(value.strip())
        except UsageError:
            continue
        if store.storage.find_user(name) is None:
            return name
    return f"user-{secrets.token_hex(4)}"
