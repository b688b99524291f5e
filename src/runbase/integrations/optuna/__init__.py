"""Optuna: a storage and an artifact store on a runbase store."""

from runbase.integrations.optuna.artifacts import RunbaseArtifactStore
from runbase.integrations.optuna.storage import RunbaseStorage

__all__ = ["RunbaseArtifactStore", "RunbaseStorage"]
