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
