"""Remote storage: each method of `Storage` is one request (`runbase.storage.remote.wire`)."""

from typing import Any

from anyio.to_thread import run_sync
from litestar import Request, Response, post
from litestar.di import NamedDependency
from litestar.params import FromPath

from runbase.errors import NotAllowed, UsageError
from runbase.server.access import Principal
from runbase.server.bodies import read
from runbase.storage.remote import wire
from runbase.storage.types import Delivery
from runbase.store.store import Store


def permission_of(name: str, kwargs: dict[str, Any]) -> str:
    """Return the permission that a call needs."""
    if name in wire.ADMIN or (name == "sql" and kwargs.get("write")):
        return "admin"
    return "read" if name in wire.READS else "write"


@post(
    "/api/storage/{name:str}", opt={"permission": "log"}, status_code=200, include_in_schema=False
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
    _check(request.user, name, args, kwargs)

    def work() -> tuple[bytes, str]:
        return wire.encode_result(getattr(storage, name)(*args, **kwargs))

    body, kind = await run_sync(work)
    return Response(body, media_type=kind)


def _check(principal: Principal, name: str, args: list[Any], kwargs: dict[str, Any]) -> None:
    """Raise NotAllowed if a caller may not make this call.

    A token that only logs may deliver journals and ask how much of them is stored; everything else needs a permission for
    the whole store, because a method of the storage can reach any experiment.
    """
    if name in ("apply", "offsets", "heartbeat", "purged", "get_runs") and principal.may("log"):
        deliveries: list[Delivery] = args[0] if name == "apply" else []
        if principal.may("write") or all(d.experiment is None for d in deliveries):
            return
    if principal.experiments is not None:
        raise NotAllowed(
            f"the token {principal.name!r} is for some experiments only; remote storage needs one for the whole store"
        )
    principal.require(permission_of(name, kwargs))


ROUTES: tuple[Any, ...] = (call,)
