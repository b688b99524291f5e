"""Each test begins without a run, settings or variables of W&B."""

import os
from collections.abc import Iterator

import pytest

from runbase.wandb import terms
from runbase.wandb.state import state


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No variable of W&B, no run and no earlier warning."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    terms._said.clear()
    yield
    if state.run is not None:
        state.run.finish()
