"""Optuna: a storage and an artifact store on a runbase store, and a callback for studies with another storage."""

from runbase.integrations.optuna.artifacts import RunbaseArtifactStore
from runbase.integrations.optuna.callback import RunbaseCallback
from runbase.integrations.optuna.storage import RunbaseStorage

__all__ = ["RunbaseArtifactStore", "RunbaseCallback", "RunbaseStorage"]
