"""TensorBoard: `SummaryWriter`, and the reader of its event files."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runbase.integrations.tensorboard.writer import SummaryWriter

__all__ = ["SummaryWriter"]


def __getattr__(name: str) -> Any:
    if name == "SummaryWriter":  # NumPy is imported when the writer is needed, not by the reader
        from runbase.integrations.tensorboard.writer import SummaryWriter

        return SummaryWriter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
