"""What a storage backend must pass: subclass `StorageContract`, give it a `storage` fixture."""

from runbase.testing.contract import StorageContract

__all__ = ["StorageContract"]
