"""What a store promises its users, as tests, on every backend, sync and async. Needs pytest.

class TestMine(StoreContract):
    @pytest.fixture
    def store(self): ...     # an empty runbase.Store, or anything with its methods
"""

from runbase.testing.store.artifacts import ArtifactContract
from runbase.testing.store.experiments import ExperimentContract
from runbase.testing.store.frames import FrameContract
from runbase.testing.store.runs import RunContract
from runbase.testing.store.schema import SchemaContract
from runbase.testing.store.search import SearchContract
from runbase.testing.store.trash import TrashContract

__all__ = ["StoreContract"]


class StoreContract(
    ExperimentContract,
    RunContract,
    TrashContract,
    SearchContract,
    FrameContract,
    SchemaContract,
    ArtifactContract,
):
    """Run on every backend, sync and async; override `store`."""
