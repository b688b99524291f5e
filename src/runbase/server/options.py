"""What a server is started with."""

from typing import Literal

from msgspec import Struct

Auth = Literal["none", "tokens"]


class ServerOptions(Struct, frozen=True, kw_only=True):
    """How a server listens and whom it serves.

    Attributes:
        host: the address to listen on.
        port: the port.
        auth: `none` (loopback only) or `tokens`.
        hosts: further names under which clients may call the server, apart from loopback names and `host`.
        root_path: the path of the server behind a proxy, such as `/runbase`; the proxy may remove it, or not.
        query_timeout: seconds after which a query of the SQL console is cancelled.
        most_rows: rows that a query of the SQL console may return.
        ingest: whether the server ingests the journals of its home.
        mlflow: whether MLflow's clients may use the server as their tracking server.
        alerts: whether the server evaluates rules and delivers alerts.
        alert_private_targets: whether a shared server may deliver alerts to itself and to addresses of its link.
        public_url: the address of the server for people, for links in alerts.
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

    @property
    def shared(self) -> bool:
        """Whether other people than the one who started the server may call it."""
        return self.auth != "none"

    @property
    def private_targets(self) -> bool:
        """Whether alerts may be sent to this machine and its link."""
        return self.alert_private_targets or not self.shared
