"""Group trials with equal parameters as repeated measurements, with statistics of their metrics. No I/O."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from runbase import extras
from runbase.status import Status
from runbase.storage.types import Observation
from runbase.typing import JsonObject


class Spread(Struct, frozen=True, kw_only=True):
    """A metric over repeated measurements.

    `std` is the sample standard deviation; `low` and `high` are the confidence interval of the mean.
    """

    count: int
    mean: float
    std: float | None
    low: float | None
    high: float | None


class Group(Struct, frozen=True, kw_only=True):
    """Trials with equal parameters; `number` is the lowest trial number."""

    number: int
    params: JsonObject
    runs: list[str]
    failed: float
    """The share of its trials that did not complete."""
    metrics: dict[str, Spread]


def group(observations: Sequence[Observation], confidence: float) -> list[Group]:
    """Return groups by number, with the spread of each metric over the completed trials."""
    parts: dict[str, list[Observation]] = {}
    for observation in observations:
        parts.setdefault(repr(sorted(observation.params.items())), []).append(observation)
    return [_group(part, confidence) for part in sorted(parts.values(), key=lambda p: p[0].number)]


def _group(part: Sequence[Observation], confidence: float) -> Group:
    done = [trial for trial in part if trial.status is Status.COMPLETED]
    keys = {key: None for trial in done for key in trial.metrics}
    metrics: dict[str, Spread] = {}
    for key in keys:
        values = [v for trial in done if (v := trial.metrics.get(key)) is not None]
        if values:
            metrics[key] = spread(values, confidence)
    return Group(
        number=part[0].number,
        params=part[0].params,
        runs=[trial.run for trial in part],
        failed=1 - len(done) / len(part),
        metrics=metrics,
    )


def spread(values: Sequence[float], confidence: float) -> Spread:
    """Return the mean, the sample standard deviation, and Student's confidence interval of the mean."""
    count, mean = len(values), statistics.fmean(values)
    if count < 2 or not math.isfinite(mean):
        return Spread(count=count, mean=mean, std=None, low=None, high=None)
    t = extras.load("scipy.stats", "analysis", "a confidence interval").t

    std = statistics.stdev(values)
    quantile: Any = t.ppf((1 + confidence) / 2, count - 1)
    half = float(quantile) * std / math.sqrt(count)
    return Spread(count=count, mean=mean, std=std, low=mean - half, high=mean + half)
