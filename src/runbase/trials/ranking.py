"""Which trials are the best: under several objectives, with limits."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from runbase.errors import UsageError
from runbase.model import Experiment, Objective
from runbase.storage.types import Observation


class Scored(Struct, frozen=True, kw_only=True):
    """A completed trial with its objectives."""

    run: str
    number: int
    params: dict[str, Any]
    values: dict[str, float]
    """Objective → value."""
    total: float
    """The weighted sum of the objectives, each with its sign turned where more is better: less is better."""
    feasible: bool


def score(experiment: Experiment, found: Sequence[Observation]) -> list[Scored]:
    """The trials that have all objectives, by number; UsageError where the experiment has none."""
    if not experiment.objectives:
        raise UsageError(
            f"experiment {experiment.name!r} has no objectives; "
            "set them with store.update_experiment(…, objectives={'loss': 'min'})"
        )
    scored: list[Scored] = []
    for each in found:
        values = {
            objective.metric: value
            for objective in experiment.objectives
            if (value := each.metrics.get(objective.metric)) is not None
        }
        if len(values) == len(experiment.objectives):
            scored.append(
                Scored(
                    run=each.run,
                    number=each.number,
                    params=each.params,
                    values=values,
                    total=sum(_loss(o, values[o.metric]) * o.weight for o in experiment.objectives),
                    feasible=_feasible(experiment, each),
                )
            )
    return scored


def best(scored: Sequence[Scored], count: int) -> list[Scored]:
    """The feasible ones with the least weighted sum; of equal ones, the earlier."""
    return sorted((s for s in scored if s.feasible), key=lambda s: (s.total, s.number))[:count]


def pareto_front(objectives: Sequence[Objective], scored: Sequence[Scored]) -> list[Scored]:
    """The feasible ones that no other is at least as good as in every objective and better in one."""
    import numpy as np

    feasible = [s for s in scored if s.feasible]
    if not feasible:
        return []
    losses = np.array([[_loss(o, s.values[o.metric]) for o in objectives] for s in feasible])
    order = np.lexsort(losses.T[::-1])  # a point can be dominated only by one that comes before it
    front: list[int] = []
    kept = np.empty((0, len(objectives)))
    for index in order:
        point = losses[index]
        dominated = ((kept <= point).all(axis=1) & (kept < point).any(axis=1)).any()
        if not dominated:
            front.append(int(index))
            kept = np.vstack([kept, point])
    return [feasible[index] for index in sorted(front)]


def progress(scored: Sequence[Scored]) -> list[tuple[int, float]]:
    """(number, the least weighted sum so far), over the feasible trials in order."""
    found: list[tuple[int, float]] = []
    least = float("inf")
    for one in sorted(scored, key=lambda s: s.number):
        if one.feasible:
            least = min(least, one.total)
            found.append((one.number, least))
    return found


def _loss(objective: Objective, value: float) -> float:
    return -value if objective.direction == "max" else value


def excesses(
    limits: Mapping[str, tuple[float | None, float | None]], metrics: Mapping[str, float | None]
) -> list[float]:
    """By how much each limit is passed, as optimizers have it: 0 and less is within. What is missing is outside."""
    found: list[float] = []
    for metric, (low, high) in limits.items():
        value = metrics.get(metric)
        if value is None:
            found.append(math.inf)
            continue
        found.append(
            max(
                -math.inf if low is None else low - value,
                -math.inf if high is None else value - high,
            )
        )
    return found


def _feasible(experiment: Experiment, each: Observation) -> bool:
    """Whether every limit holds; a limited metric that is missing does not hold."""
    return all(excess <= 0 for excess in excesses(experiment.limits, each.metrics))
