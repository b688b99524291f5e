"""How much each parameter tells about a metric, on its own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

BINS = 6
"""Bins of a numeric parameter, of about equal numbers of runs."""
LEAST = 8
"""Runs that are needed for an estimate."""


def importances(
    params: Mapping[str, Sequence[Any]], values: Sequence[float | None]
) -> dict[str, float]:
    """Return for each parameter the share of the variance of a metric that it explains alone.

    The measure is epsilon squared of a one-way analysis of variance: eta squared, corrected for the number of groups
    (T. L. Kelley, "An unbiased correlation ratio measure", PNAS 21, 1935). Values of the metric are replaced by their ranks, so
    that an outlier does not decide. Numeric parameters with many values are binned. Interactions of parameters are not seen.

    Args:
        params: parameter → one value a run; None where a run does not have it.
        values: one value of the metric a run.

    Returns:
        Parameter → share from 0 to 1, greatest first; parameters with a single value are left out.
    """
    y = np.array([np.nan if v is None else float(v) for v in values], dtype=np.float64)
    known = np.isfinite(y)
    shares: dict[str, float] = {}
    for key, column in params.items():
        groups = _groups([v for v, kept in zip(column, known, strict=True) if kept])
        if groups is not None:
            shares[key] = _share(_ranks(y[known]), groups)
    return dict(sorted(shares.items(), key=lambda item: -item[1]))


def _ranks(values: Any) -> Any:
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]


def _groups(column: Sequence[Any]) -> Any:
    """Return the group of each run, or None if there is nothing to compare."""
    if len(column) < LEAST:
        return None
    numeric = all(isinstance(v, int | float) and not isinstance(v, bool) for v in column)
    if numeric:
        numbers = np.array(column, dtype=np.float64)
        distinct = np.unique(numbers)
        if len(distinct) > BINS:
            edges = np.quantile(numbers, np.linspace(0, 1, BINS + 1)[1:-1])
            return np.searchsorted(edges, numbers, side="right")
        return np.searchsorted(distinct, numbers) if len(distinct) > 1 else None
    names = [repr(v) for v in column]
    order = {name: place for place, name in enumerate(dict.fromkeys(names))}
    return np.array([order[name] for name in names]) if 1 < len(order) <= len(names) / 2 else None


def _share(y: Any, groups: Any) -> float:
    counts = np.bincount(groups)
    used = counts > 0
    sums = np.bincount(groups, weights=y)
    total = float(((y - y.mean()) ** 2).sum())
    if not total:
        return 0.0
    between = float((counts[used] * (sums[used] / counts[used] - y.mean()) ** 2).sum())
    kinds, runs = int(used.sum()), len(y)
    noise = (total - between) / max(runs - kinds, 1)
    return min(max((between - (kinds - 1) * noise) / total, 0.0), 1.0)
