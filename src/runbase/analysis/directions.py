"""Whether less or more of a metric is better: as its experiment says, else as its name suggests."""

from collections.abc import Iterable
from typing import Literal

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
_MORE = frozenset(
    [
        "acc",
        "accuracy",
        "ap",
        "auc",
        "auprc",
        "auroc",
        "bleu",
        "dice",
        "f1",
        "fscore",
        "iou",
        "map",
        "mcc",
        "miou",
        "precision",
        "psnr",
        "r2",
        "recall",
        "return",
        "reward",
        "rouge",
        "score",
        "ssim",
        "throughput",
        "top1",
        "top5",
    ]
)
_LESS_AT_THE_END = frozenset(["time", "seconds", "latency", "ms", "us", "s", "bytes", "cost"])


Direction = Literal["min", "max"]


def direction_of(key: str, objectives: Iterable[Objective] = ()) -> Direction | None:
    """Return whether less or more of a metric is better, by the objectives or by its name; None if it is unknown."""
    for objective in objectives:
        if objective.metric == key:
            return "min" if objective.direction == "min" else "max"
    words = key.lower().replace("-", "_").replace("/", "_").replace(".", "_").split("_")
    named = {*words, *(word.rstrip("0123456789@") for word in words)}  # acc5, recall@10
    if _LESS & named or words[-1] in _LESS_AT_THE_END:
        return "min"
    return "max" if _MORE & named else None


def lower_is_better(key: str, objectives: Iterable[Objective] = ()) -> bool:
    """Return whether a metric is minimized where somebody asks for the best one; a metric of unknown direction is not."""
    return direction_of(key, objectives) == "min"


def best_of(values: Iterable[float | None], direction: Direction | None) -> float | None:
    """Return the best of the values that are numbers; None if there are fewer than two, or the direction is unknown."""
    numbers = [value for value in values if value is not None and value == value]
    if len(numbers) < 2 or direction is None:
        return None
    return min(numbers) if direction == "min" else max(numbers)
