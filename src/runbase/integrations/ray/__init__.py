"""Ray Tune: the callback, search spaces, and the reader of its result.json."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runbase.integrations.ray.callback import RunbaseLoggerCallback
    from runbase.integrations.ray.space import from_tune, to_tune

__all__ = ["RunbaseLoggerCallback", "from_tune", "to_tune"]
_MODULES = {"RunbaseLoggerCallback": "callback", "from_tune": "space", "to_tune": "space"}


def __getattr__(name: str) -> Any:
    """Import Ray when it is needed, not for the reader."""
    if name in _MODULES:
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
