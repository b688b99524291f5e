"""The async experiment store: a compatible interface on a runbase store, and the reader of its database."""

from runbase.integrations.experiment_store.client import (
    Experiment,
    ExperimentRun,
    ExperimentStore,
    get_experiment_store,
)

__all__ = ["Experiment", "ExperimentRun", "ExperimentStore", "get_experiment_store"]
