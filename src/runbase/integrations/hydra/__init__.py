"""Hydra: a callback that makes each job a run, and a launcher that queues the jobs of a multirun as trials."""

# pyright: basic, reportMissingImports=false

from runbase.integrations.hydra.callback import RunbaseCallback

__all__ = ["RunbaseCallback"]
