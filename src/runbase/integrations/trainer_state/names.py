"""The names of what the Trainer of transformers logs; nothing of transformers is imported."""

from collections.abc import Mapping
from typing import Any

TOTALS = (
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    "train_loss",
    "total_flos",
)
"""What the last log call of a training reports. `train_loss` is the mean of all steps: no point of the curve `train/loss`."""


def spelt(logs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a Trainer logs under the names of its own loggers: `eval_loss` → `eval/loss`, `loss` → `train/loss`."""
    named: dict[str, Any] = {}
    for key, value in logs.items():
        kind, _, rest = key.partition("_")
        if key in TOTALS:
            named[key] = value
        elif kind in ("eval", "test") and rest:
            named[f"{kind}/{rest}"] = value
        else:
            named[f"train/{key}"] = value
    return named
