"""The storage that a contract is tested on."""

# pyright: basic

import pytest

from runbase.storage.protocol import Storage


class OnStorage:
    """A test class on a storage; override `storage`."""

    @pytest.fixture
    def storage(self) -> Storage:
        """An empty storage."""
        raise NotImplementedError("give this class a storage fixture")
