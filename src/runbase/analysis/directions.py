"""Whether less or more of a metric is better: as its experiment says, else as its name suggests."""

from collections.abc import Iterable

from runbase.model import Objective

_LESS = frozenset(
    [
        "loss",
        "error",
        "err",
        "mse",
        "rmse",
        "mae",
        "mape",
        "perplexity",
        "ppl",
        "wer",
        "cer",
        "fid",
        "nll",
        "regret",
    ]
)
_LESS_AT_THE_END = frozenset(["time", "seconds", "latency", "ms", "us", "s", "bytes", "cost"])


def lower_is_better(key: str, objectives: Iterable[Objective] = ()) -> bool:
    """By the objectives where they name the metric; by its name otherwise: loss, error, time are bad."""
    for objective in objectives:
        if objective.metric == key:
            return objective.direction == "min"
    words = key.lower().replace("-", "_").replace("/", "_").split("_")
    return bool(_LESS & set(words)) or words[-1] in _LESS_AT_THE_END


def best_of(values: Iterable[float | None], lower: bool) -> float | None:
    """The best of the values that are numbers; None where fewer than two can be compared."""
    numbers = [value for value in values if value is not None and value == value]
    if len(numbers) < 2:
        return None
    return min(numbers) if lower else max(numbers)
