"""Remote storage: each method of `Storage` is one request (`runbase.storage.remote.wire`)."""

from typing import Any

from anyio.to_thread import run_sync
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from runbase.errors import NotAllowed, UsageError
from runbase.events import Opened
from runbase.server import console
from runbase.server.bodies import read
from runbase.server.principals import Principal
from runbase.server.scope import id_of_experiment
from runbase.storage.protocol import Storage
from runbase.storage.remote import wire
from runbase.storage.types import Delivery
from runbase.store.store import Store

LOGGING = frozenset({"apply", "offsets", "heartbeat", "purged", "get_runs"})
"""What a run needs to log."""

SHOWN = frozenset(
    {
        "changes",
        "clocks",
        "count_runs",
        "envelope",
        "envelopes",
        "first_rows",
        "known_keys",
        "points",
        "runs",
        "sizes",
        "table",
        "totals",
    }
)
"""What is read from a replica, if the server has one: what clients show, and nothing that their imports decide by."""


def permission_of(name: str, kwargs: dict[str, Any]) -> str:
    """Return the permission that a call needs."""
    if name in wire.ADMIN or (name == "sql" and kwargs.get("write")):
        return "admin"
    return "read" if name in wire.READS else "write"


@post(
    "/api/storage/{name:str}", opt={"permission": "any"}, status_code=200, include_in_schema=False
)
async def call(
    name: FromPath[str], request: "Request[Principal, Any, Any]", store: NamedDependency[Store]
) -> Response[Any]:
    """Call a method of the storage."""
    storage = store.storage
    if name == "describe":
        return Response({"dialect": storage.dialect, "protocol": 1})
    kind = request.headers.get("content-type", "")
    if not kind.startswith((wire.MEDIA_TYPE, wire.JSON_TYPE)):
        raise UsageError(f"the body must be {wire.MEDIA_TYPE}")
    args, kwargs = wire.decode_arguments(name, await read(request), kind)
    await run_sync(_check, request.user, storage, name, args, kwargs)

    def work() -> tuple[bytes, str]:
        target = store.reader if name in SHOWN else storage
        return wire.encode_result(getattr(target, name)(*args, **kwargs))

    body, kind = await run_sync(work)
    return Response(body, media_type=kind)


def _check(
    principal: Principal, storage: Storage, name: str, args: list[Any], kwargs: dict[str, Any]
) -> None:
    """Raise NotAllowed if a caller may not make this call.

    Who may log to some experiments delivers journals, asks how much of them is stored, and keeps its runs alive. Everything else
    needs the permission on all experiments, because a method of the storage can reach any run.
    """
    needed = permission_of(name, kwargs)
    if name in LOGGING and principal.may_everywhere("log"):
        return
    if principal.may_everywhere(needed):
        if name in ("sql", "first_rows") and needed != "admin" and not principal.may("admin"):
            console.check(args[0])
        return
    if name in LOGGING and principal.may_somewhere("log"):
        _check_runs(principal, storage, name, args[0])
        return
    if principal.grants:
        raise NotAllowed(
            f"{principal.name!r} may not {needed} all experiments: it logs runs and uses the HTTP API; "
            "the Python store and the commands need a token for the whole store"
        )
    principal.require(needed)


def _check_runs(principal: Principal, storage: Storage, name: str, targets: list[Any]) -> None:
    """Raise NotAllowed unless the runs of a call are of experiments that the caller may log to."""
    if name == "offsets":
        return  # ids of journals, which nobody guesses
    if name == "apply":
        places = _places(storage, targets)
    else:
        places = {run.id: run.experiment_id for run in storage.get_runs(targets)}
    for run, place in places.items():
        if not principal.may("log", place):
            raise NotAllowed(f"{principal.name!r} is for other experiments than that of run {run}")


def _places(storage: Storage, deliveries: list[Delivery]) -> dict[str, str | None]:
    """Return the experiment of each run that deliveries change or create; None for one that does not exist.

    Raises:
        NotAllowed: a delivery does not say of which experiment its run is.
    """
    firsts = [d.events[0] if d.events else None for d in deliveries]
    opened = [first.run for first in firsts if isinstance(first, Opened)]
    found = storage.get_runs([*(d.run for d in deliveries), *opened])
    places: dict[str, str | None] = {run.id: run.experiment_id for run in found}
    for delivery, first in zip(deliveries, firsts, strict=True):
        if isinstance(first, Opened):
            if first.run != delivery.run:
                raise NotAllowed(f"a delivery of run {delivery.run} opens run {first.run}")
            place = delivery.experiment or id_of_experiment(storage, first.experiment)
            places.setdefault(delivery.run, place)
        if delivery.run not in places:
            raise NotAllowed(
                f"a delivery of run {delivery.run} does not say which experiment it is of"
            )
    return places


ROUTES: tuple[Any, ...] = (call,)
