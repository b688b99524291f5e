"""The contract of a backend, as test classes to inherit; needs pytest."""

from runbase.testing.contract import StorageContract, UserContract
from runbase.testing.store import StoreContract
from runbase.testing.trials import TrialContract

__all__ = ["StorageContract", "StoreContract", "TrialContract", "UserContract"]
