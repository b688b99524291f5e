"""Repeated measurements: the trials that share one set of parameters."""

import math
import statistics
from collections.abc import Sequence
from typing import Any, cast

from msgspec import Struct

from runbase.status import Status
from runbase.storage.types import Observation


class Spread(Struct, frozen=True, kw_only=True):
    """A metric over repeated measurements. `std` is the sample's; `low` and `high` bound the mean."""

    count: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


class Group(Struct, frozen=True, kw_only=True):
    """Trials that share one set of parameters; it is numbered by its lowest trial."""

    number: int
    params: dict[str, Any]
    runs: list[str]
    failed: float
    """The share of its trials that did not complete."""
    metrics: dict[str, Spread]


def group(found: Sequence[Observation], confidence: float) -> list[Group]:
    """Groups by their numbers, with the spread of each metric over the trials that completed."""
    parts: dict[str, list[Observation]] = {}
    for each in found:
        parts.setdefault(repr(sorted(each.params.items())), []).append(each)
    return [_group(part, confidence) for part in sorted(parts.values(), key=lambda p: p[0].number)]


def _group(part: Sequence[Observation], confidence: float) -> Group:
    done = [each for each in part if each.status is Status.COMPLETED]
    keys = {key: None for each in done for key in each.metrics}
    metrics: dict[str, Spread] = {}
    for key in keys:
        values = [v for each in done if (v := each.metrics.get(key)) is not None]
        if values:
            metrics[key] = spread(values, confidence)
    return Group(
        number=part[0].number,
        params=part[0].params,
        runs=[each.run for each in part],
        failed=1 - len(done) / len(part),
        metrics=metrics,
    )


def spread(values: Sequence[float], confidence: float) -> Spread:
    """Mean, sample standard deviation, and Student's interval for the mean."""
    count, mean = len(values), statistics.fmean(values)
    if count < 2 or not math.isfinite(mean):
        return Spread(count=count, mean=mean, std=None, low=None, high=None)
    from scipy.stats import t

    std = statistics.stdev(values)
    quantile: Any = cast("Any", t).ppf((1 + confidence) / 2, count - 1)
    half = float(quantile) * std / math.sqrt(count)
    return Spread(count=count, mean=mean, std=std, low=mean - half, high=mean + half)
