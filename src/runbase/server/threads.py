"""Handlers that wait for a database run in threads, so that others are answered meanwhile."""

import functools
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from anyio.to_thread import run_sync

P = ParamSpec("P")
R = TypeVar("R")


def in_thread(function: Callable[P, R]) -> Callable[P, Awaitable[R]]:
    """Make an async handler from a function that waits."""

    @functools.wraps(function)
    async def handler(*args: P.args, **kwargs: P.kwargs) -> R:
        return await run_sync(functools.partial(function, *args, **kwargs))

    return handler
