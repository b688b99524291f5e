"""Ranks of trials: weighted sums of objectives, limits, the Pareto front."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbase.errors import UsageError
from runbase.model import Experiment, Objective
from runbase.trials.ranking import best, excesses, pareto_front, progress, score
from tests.unit.trials.observations import observation


def experiment(*objectives: Objective, **limits: Any) -> Experiment:
    now = datetime.now(UTC)
    return Experiment(
        id="e", name="tuning", description="", base_model=None, method=None, status="created",
        parent_id=None, config={}, created_at=now, updated_at=now, runs=0,
        objectives=list(objectives), limits=limits,
    )  # fmt: skip


LOSS = Objective(metric="loss")
ACC = Objective(metric="acc", direction="max", weight=10.0)


def test_the_weighted_sum_negates_what_is_maximized() -> None:
    [found] = score(experiment(LOSS, ACC), [observation(1, loss=2.0, acc=0.5, other=9.0)])
    assert found.values == {"loss": 2.0, "acc": 0.5}
    assert found.total == 2.0 - 0.5 * 10
    assert found.feasible


def test_a_trial_without_each_objective_has_no_score() -> None:
    trials = [observation(1, loss=1.0), observation(2, loss=1.0, acc=None), observation(3)]
    assert score(experiment(LOSS, ACC), trials) == []


def test_an_experiment_without_objectives_is_refused() -> None:
    with pytest.raises(UsageError, match="'tuning' has no objectives"):
        score(experiment(), [observation(1, loss=1.0)])


def test_the_best_are_the_lowest_feasible_and_the_earlier_of_equal_ones() -> None:
    trials = [
        observation(1, loss=3.0, size=1.0),
        observation(2, loss=0.0, size=99.0),
        observation(3, loss=0.5),
        observation(4, loss=1.0, size=1.0),
        observation(5, loss=1.0, size=2.0),
    ]
    scored = score(experiment(LOSS, size=(None, 10.0)), trials)
    assert [trial.number for trial in best(scored, 2)] == [4, 5]
    assert [trial.number for trial in best(scored, 9)] == [4, 5, 1]


def test_progress_is_the_lowest_so_far_by_number() -> None:
    losses = {3: 1.0, 1: 4.0, 2: 5.0, 4: 0.0, 5: 2.0}
    trials = [
        observation(number, loss=loss, size=9.0 if number == 4 else 0.0)
        for number, loss in losses.items()
    ]
    scored = score(experiment(LOSS, size=(None, 1.0)), trials)
    assert progress(scored) == [(1, 4.0), (2, 4.0), (3, 1.0), (5, 1.0)]


def test_excesses_are_the_distances_beyond_the_limits() -> None:
    limits = {"a": (1.0, 3.0), "b": (None, 5.0), "c": (0.0, None), "d": (None, None)}
    metrics = {"a": 0.5, "b": 7.0, "c": 2.0, "d": 1.0}
    assert excesses(limits, metrics) == [0.5, 2.0, -2.0, -math.inf]
    assert excesses({"a": (1.0, 3.0)}, {"a": 2.0}) == [-1.0]
    assert excesses({"a": (0.0, 1.0)}, {}) == [math.inf]


VALUES = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=25)


@settings(deadline=None)
@given(VALUES)
def test_the_front_has_each_feasible_trial_that_no_other_dominates(
    values: list[tuple[int, int, bool]],
) -> None:
    trials = [
        observation(number, loss=float(loss), acc=float(acc), size=0.0 if fits else 9.0)
        for number, (loss, acc, fits) in enumerate(values)
    ]
    made = experiment(LOSS, ACC, size=(None, 1.0))
    feasible = [(number, loss, acc) for number, (loss, acc, fits) in enumerate(values) if fits]
    expected = [
        number
        for number, loss, acc in feasible
        if not any(
            other <= loss and better >= acc and (other, better) != (loss, acc)
            for _, other, better in feasible
        )
    ]
    front = pareto_front(made.objectives, score(made, trials))
    assert [trial.number for trial in front] == expected
