"""Ray Tune: the callback, and the reader of its result.json."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runbase.integrations.ray.callback import RunbaseLoggerCallback

__all__ = ["RunbaseLoggerCallback"]


def __getattr__(name: str) -> Any:
    if (
        name == "RunbaseLoggerCallback"
    ):  # Ray is imported when the callback is needed, not by the reader
        from runbase.integrations.ray.callback import RunbaseLoggerCallback

        return RunbaseLoggerCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
