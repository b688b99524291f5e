"""What a server is started with."""

from typing import Literal, get_args

from msgspec import Struct

from runbase.storage.users_protocol import Role

Auth = Literal["none", "tokens", "users", "oidc", "link"]
AUTHS: tuple[Auth, ...] = get_args(Auth)


class OidcOptions(Struct, frozen=True, kw_only=True):
    """An OpenID Connect provider.

    Attributes:
        issuer: its URL.
        client_id: the id of this server there.
        client_secret: the secret of this server there; empty: a public client.
        roles: group → role. If there are any, the groups of a user decide the role at each sign-in.
        groups_claim: the claim with the groups.
        scope: what the provider is asked for.
    """

    issuer: str
    client_id: str
    client_secret: str = ""
    roles: dict[str, Role] = {}
    groups_claim: str = "groups"
    scope: str = "openid profile email"


class ServerOptions(Struct, frozen=True, kw_only=True):
    """How a server listens and whom it serves.

    Attributes:
        host: the address to listen on.
        port: the port.
        auth: `none` (loopback only), `tokens`, `users` (tokens, too), `oidc` (users of a provider, passwords and tokens, too)
            or `link` (loopback only: who opens a one-time URL, and tokens).
        hosts: further names under which clients may call the server, apart from loopback names and `host`.
        root_path: the path of the server behind a proxy, such as `/runbase`; the proxy may remove it, or not.
        query_timeout: seconds after which a query of the SQL console is cancelled.
        most_rows: rows that a query of the SQL console may return.
        ingest: whether the server ingests the journals of its home.
        mlflow: whether MLflow's clients may use the server as their tracking server.
        alerts: whether the server evaluates rules and delivers alerts.
        alert_private_targets: whether a shared server may deliver alerts to itself and to addresses of its link.
        public_url: the address of the server for people, for links in alerts.
        embedders: origins, as in a content security policy, whose pages may show the page in a frame.
        link_key: with `link`, the key in the one-time URL.
        oidc: with `oidc`, the provider.
    """

    host: str = "127.0.0.1"
    port: int = 4400
    auth: Auth = "none"
    hosts: tuple[str, ...] = ()
    root_path: str = ""
    query_timeout: float = 30.0
    most_rows: int = 10_000
    ingest: bool = True
    mlflow: bool = True
    alerts: bool = True
    alert_private_targets: bool = False
    public_url: str = ""
    link_key: str | None = None
    embedders: tuple[str, ...] = ()
    oidc: OidcOptions | None = None

    @property
    def shared(self) -> bool:
        """Whether other people than the one who started the server may call it."""
        return self.auth != "none"

    @property
    def private_targets(self) -> bool:
        """Whether alerts may be sent to this machine and its link."""
        return self.alert_private_targets or not self.shared
