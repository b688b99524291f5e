"""Rank completed trials by several objectives, within limits. No I/O."""

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from runbase.errors import UsageError
from runbase.model import Experiment, Objective
from runbase.storage.types import Observation
from runbase.typing import JsonObject


class Scored(Struct, frozen=True, kw_only=True):
    """A completed trial with its objectives."""

    run: str
    number: int
    params: JsonObject
    values: dict[str, float]
    """Objective → value."""
    total: float
    """The weighted sum of the objectives, where those to maximize are negated: lower is better."""
    feasible: bool
    """Whether all limits are satisfied."""


def score(experiment: Experiment, observations: Sequence[Observation]) -> list[Scored]:
    """Return the trials that have all objectives; raise UsageError if the experiment has none."""
    if not experiment.objectives:
        raise UsageError(
            f"experiment {experiment.name!r} has no objectives; "
            "set them with store.update_experiment(…, objectives={'loss': 'min'})"
        )
    scored: list[Scored] = []
    for observation in observations:
        values = {
            objective.metric: value
            for objective in experiment.objectives
            if (value := observation.metrics.get(objective.metric)) is not None
        }
        if len(values) == len(experiment.objectives):
            scored.append(
                Scored(
                    run=observation.run,
                    number=observation.number,
                    params=observation.params,
                    values=values,
                    total=sum(_loss(o, values[o.metric]) * o.weight for o in experiment.objectives),
                    feasible=_feasible(experiment, observation),
                )
            )
    return scored


def best(scored: Sequence[Scored], count: int) -> list[Scored]:
    """Return the feasible trials with the lowest weighted sum; if equal, the earlier one first."""
    return sorted((s for s in scored if s.feasible), key=lambda s: (s.total, s.number))[:count]


def pareto_front(objectives: Sequence[Objective], scored: Sequence[Scored]) -> list[Scored]:
    """Return the feasible trials that no other dominates (as good in all objectives, better in one)."""
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
    """Return (number, lowest weighted sum so far) for the feasible trials, by number."""
    steps: list[tuple[int, float]] = []
    lowest = float("inf")
    for trial in sorted(scored, key=lambda s: s.number):
        if trial.feasible:
            lowest = min(lowest, trial.total)
            steps.append((trial.number, lowest))
    return steps


def _loss(objective: Objective, value: float) -> float:
    return -value if objective.direction == "max" else value


def excesses(
    limits: Mapping[str, tuple[float | None, float | None]], metrics: Mapping[str, float | None]
) -> list[float]:
    """Return by how much each limit is exceeded: at most 0 is feasible, a missing metric is infinite.

    This is the form in which optimizers expect constraints.
    """
    distances: list[float] = []
    for metric, (low, high) in limits.items():
        value = metrics.get(metric)
        if value is None:
            distances.append(math.inf)
            continue
        distances.append(
            max(
                -math.inf if low is None else low - value,
                -math.inf if high is None else value - high,
            )
        )
    return distances


def _feasible(experiment: Experiment, observation: Observation) -> bool:
    """Return whether all limits are satisfied; a missing metric does not satisfy its limit."""
    return all(excess <= 0 for excess in excesses(experiment.limits, observation.metrics))
