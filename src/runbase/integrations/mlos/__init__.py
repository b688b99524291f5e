"""mlos_bench: a storage on a runbase store, and the reader of its database."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runbase.integrations.mlos.storage import RunbaseStorage

__all__ = ["RunbaseStorage"]


def __getattr__(name: str) -> Any:
    # Imported on use, because the reader in this folder works without mlos_bench.
    if name == "RunbaseStorage":
        from runbase.integrations.mlos.storage import RunbaseStorage

        return RunbaseStorage
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
