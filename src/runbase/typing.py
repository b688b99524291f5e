"""Types of what callers may pass: a run, an experiment, tags, a step, a JSON object."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, SupportsFloat, SupportsIndex

from runbase.model import Experiment


class HasId(Protocol):
    """An object with the id of a run: a run record, an active run, a trial."""

    @property
    def id(self) -> str:
        """The id of the run."""
        ...


RunLike = str | HasId
"""A run: its id, a unique prefix of the id, its name, a run record, or an active `Run`."""
ExperimentLike = str | Experiment
"""An experiment: its name, its id, a unique prefix of the id, or an experiment record."""
Subject = str | HasId | Experiment
"""A run or an experiment."""
TagsLike = str | Iterable[str | Mapping[str, object]] | Mapping[str, object] | None
"""Tags: one, several, or keys with values."""
StepLike = SupportsFloat | SupportsIndex | None
"""A step: a Python number or a scalar of NumPy, PyTorch, JAX or TensorFlow. None takes the next."""
JsonObject = dict[str, Any]
"""A JSON object as read from the database or from a file: its values have any JSON type."""
