"""Observations of trials, without a database."""

from typing import Any

from runbase.status import Status
from runbase.storage.types import Observation


def observation(
    number: int,
    params: dict[str, Any] | None = None,
    status: Status = Status.COMPLETED,
    **metrics: float | None,
) -> Observation:
    """A trial that has ended, with its last metrics."""
    return Observation(
        run=f"run-{number}",
        experiment="e",
        number=number,
        status=status,
        params=params or {},
        metrics=metrics,
    )
