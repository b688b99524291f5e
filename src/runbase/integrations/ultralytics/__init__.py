"""Ultralytics: the callbacks, and the reader of its run folders."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runbase.integrations.ultralytics.callbacks import RunbaseCallbacks, add_callbacks

__all__ = ["RunbaseCallbacks", "add_callbacks"]


def __getattr__(name: str) -> Any:
    if name in __all__:  # what logs is imported when it is needed, not by the reader
        from runbase.integrations.ultralytics import callbacks

        return getattr(callbacks, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
