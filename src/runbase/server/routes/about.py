"""The server itself: whether it is alive, what it offers, who calls."""

from typing import Any

from litestar import MediaType, Request, get
from litestar.di import NamedDependency
from litestar.params import FromQuery
from msgspec import Struct
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from runbase import __version__
from runbase.server.describe import describe
from runbase.server.live import LiveHub
from runbase.server.principals import Principal
from runbase.server.scope import visible, visible_experiments
from runbase.server.threads import in_thread
from runbase.storage.types import Sizes
from runbase.store.store import Store


class About(Struct, frozen=True, kw_only=True):
    """What a server is.

    Attributes:
        version: the version of runbase.
        dialect: `sqlite` or `postgres`.
        features: what this server offers.
        name: the name of the caller.
        permissions: what the caller may do.
        experiments: ids of the only experiments that the caller may use; null: all but those in `grants`.
        grants: id of an experiment → what the caller may do there instead.
        totals: the number of experiments and runs that the caller may read; with the permission to read all, also of points,
            journals and lines.
    """

    version: str
    dialect: str
    features: list[str]
    name: str
    permissions: list[str]
    experiments: list[str] | None
    grants: dict[str, list[str]]
    totals: dict[str, int]


def everything(caller: Principal) -> frozenset[str]:
    """Return what a caller may do on the store or on at least one experiment."""
    return caller.permissions.union(*caller.grants.values())


def readable(caller: Principal) -> list[str]:
    """Return the experiments on which a caller may do something."""
    return [experiment for experiment, may in caller.grants.items() if may]


def totals_for(store: Store, caller: Principal) -> dict[str, int]:
    """Return the totals of what a caller may read."""
    if caller.may_everywhere("read"):
        return store.totals()
    experiments = store.experiments(visible_experiments(caller, None))
    return {"experiments": len(experiments), "runs": store.count(visible(caller, None))}


FEATURES = ["table", "curves", "live", "storage", "files", "sql", "documents", "alerts"]


@get("/health", opt={"permission": "public"}, media_type=MediaType.TEXT, sync_to_thread=False)
def health() -> str:
    """Return `OK` as soon as the server answers."""
    return "OK"


@get("/ready", opt={"permission": "public"}, media_type=MediaType.TEXT)
@in_thread
def ready(store: NamedDependency[Store]) -> str:
    """Return `OK` if the database answers, for load balancers; 503 otherwise."""
    store.changes()
    return "OK"


@get("/api/server", opt={"permission": "read"})
@in_thread
def about(request: "Request[Principal, Any, Any]", store: NamedDependency[Store]) -> About:
    """Return the version and features of the server, and the permissions of the caller."""
    caller = request.user
    return About(
        version=__version__,
        dialect=store.storage.dialect,
        features=FEATURES,
        name=caller.name,
        permissions=sorted(everything(caller)),
        experiments=None if caller.permissions else readable(caller),
        grants={experiment: sorted(may) for experiment, may in caller.grants.items()},
        totals=totals_for(store, caller),
    )


@get("/api/sizes", opt={"permission": "read"})
@in_thread
def sizes(
    request: "Request[Principal, Any, Any]",
    store: NamedDependency[Store],
    most: FromQuery[int] = 20,
) -> Sizes:
    """Return where the bytes of the store are: by table, and the largest experiments and runs. Needs the whole store."""
    request.user.require_everywhere("read")
    return store.sizes(min(max(most, 1), 200))


@get("/metrics", opt={"permission": "read"}, media_type="text/plain; version=0.0.4")
@in_thread
def metrics(
    request: "Request[Principal, Any, Any]",
    store: NamedDependency[Store],
    hub: NamedDependency[LiveHub],
) -> str:
    """Return figures of the server, and of what the caller may read, in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=True)
    for name, value in totals_for(store, request.user).items():
        Gauge(f"runbase_{name}", f"Number of {name} in the store.", registry=registry).set(value)
    Gauge("runbase_live_clients", "Open streams of changes.", registry=registry).set(hub.clients)
    return generate_latest(registry).decode()


@get(
    "/api/openapi.json", opt={"permission": "public"}, include_in_schema=False, sync_to_thread=False
)
def openapi(request: "Request[Any, Any, Any]") -> dict[str, Any]:
    """Return the description of this API (OpenAPI 3.1)."""
    return describe(request.app)


ROUTES: tuple[Any, ...] = (health, ready, about, sizes, metrics, openapi)
