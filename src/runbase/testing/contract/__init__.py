"""The promises of `runbase.storage.protocol`, as tests. Needs pytest and NumPy.

class TestMine(StorageContract):
    @pytest.fixture
    def storage(self): ...
"""

from runbase.testing.contract.alerts import AlertContract, AlertRuleContract
from runbase.testing.contract.deliveries import DeliveryContract
from runbase.testing.contract.journal import T0, Journal, points
from runbase.testing.contract.metrics import MetricContract
from runbase.testing.contract.odd_values import OddValueContract
from runbase.testing.contract.reading import ReadingContract
from runbase.testing.contract.state import StateContract
from runbase.testing.contract.users import UserContract

__all__ = ["AlertRuleContract", "T0", "Journal", "StorageContract", "UserContract", "points"]


class StorageContract(
    DeliveryContract,
    OddValueContract,
    StateContract,
    MetricContract,
    ReadingContract,
    AlertContract,
):
    """Run on every backend; override `storage`."""
