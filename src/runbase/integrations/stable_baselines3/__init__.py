"""stable-baselines3: the callback, and the reader of its progress.csv."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runbase.integrations.stable_baselines3.callback import RunbaseCallback

__all__ = ["RunbaseCallback"]


def __getattr__(name: str) -> Any:
    if (
        name == "RunbaseCallback"
    ):  # the tool is imported when the callback is needed, not by the reader
        from runbase.integrations.stable_baselines3.callback import RunbaseCallback

        return RunbaseCallback
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
