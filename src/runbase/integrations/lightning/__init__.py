"""Lightning: the logger, and the reader of its CSVLogger folders."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runbase.integrations.lightning.logger import RunbaseLogger

__all__ = ["RunbaseLogger"]


def __getattr__(name: str) -> Any:
    if (
        name == "RunbaseLogger"
    ):  # Lightning is imported when the logger is needed, not by the reader
        from runbase.integrations.lightning.logger import RunbaseLogger

        return RunbaseLogger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
