"""Record which clients changed something."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from anyio.to_thread import run_sync
from litestar.types import Scope

from runbase.errors import RunbaseError
from runbase.server.routes.storage import permission_of
from runbase.store.store import Store

_LOG = logging.getLogger(__name__)
_FREQUENT = frozenset({"apply", "heartbeat", "renew_claim", "describe", "flush"})
"""Calls of the storage that runs make all the time, and that the records of the runs show."""


def recorder(store: Store) -> Callable[[Scope], Awaitable[None]]:
    """Return the function that is called after each request.

    Args:
        store: the store that keeps the log.
    """

    async def audit(scope: Scope) -> None:
        known: Any = scope
        handler, principal = known.get("route_handler"), known.get("user")
        method: str = known["method"]
        if handler is None or principal is None or method in ("GET", "HEAD", "OPTIONS"):
            return
        path: str = known["path"]
        if path.startswith("/api/storage/"):
            name = path.rpartition("/")[2]
            if name in _FREQUENT or permission_of(name, {}) == "read":
                return
        elif (
            handler.opt.get("permission") not in ("write", "admin") and "audited" not in handler.opt
        ):
            return
        address: str = (known.get("client") or ("", 0))[0]
        status: int = known.get("runbase_status", 0)
        action = f"{method} {path} {known.get('runbase_detail', '')}".rstrip()
        try:
            await run_sync(store.storage.add_audit, principal.name, address, action, status)
        except RunbaseError as error:
            _LOG.warning("a change could not be recorded: %s", error)

    return audit
