"""Repeated measurements: trials with equal parameters, and the spread of their metrics."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbase.status import Status
from runbase.trials.groups import group, spread
from tests.unit.trials.observations import observation


def test_the_interval_of_the_mean_is_students() -> None:
    found = spread([1.0, 2.0, 3.0, 4.0], 0.95)
    assert (found.count, found.mean) == (4, 2.5)
    assert found.std == pytest.approx(1.2909944487)
    # t(0.975, 3 degrees of freedom) = 3.18245; the half width is t * std / sqrt(4).
    assert found.low == pytest.approx(2.5 - 3.1824463 * 1.2909944487 / 2)
    assert found.high == pytest.approx(2.5 + 3.1824463 * 1.2909944487 / 2)


def test_one_value_has_no_spread() -> None:
    found = spread([7.0], 0.95)
    assert (found.mean, found.std, found.low, found.high) == (7.0, None, None, None)


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_values_that_are_not_finite_have_no_spread(odd: float) -> None:
    found = spread([1.0, odd], 0.95)
    assert (found.count, found.std, found.low, found.high) == (2, None, None, None)
    assert not math.isfinite(found.mean)


@settings(deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20),
    st.floats(0.5, 0.9),
    st.floats(0.91, 0.999),
)
def test_a_higher_confidence_gives_a_wider_interval_around_the_mean(
    values: list[float], low: float, high: float
) -> None:
    narrow, wide = spread(values, low), spread(values, high)
    assert narrow.low is not None
    assert narrow.high is not None
    assert wide.low is not None
    assert wide.high is not None
    assert wide.low <= narrow.low <= narrow.mean <= narrow.high <= wide.high


def test_trials_are_grouped_by_their_parameters_in_any_order_of_keys() -> None:
    trials = [
        observation(1, {"lr": 0.1, "n": 1}, loss=1.0),
        observation(2, {"lr": 0.2, "n": 1}, loss=5.0),
        observation(3, {"n": 1, "lr": 0.1}, loss=3.0),
    ]
    first, second = group(trials, 0.95)
    assert (first.number, first.runs) == (1, ["run-1", "run-3"])
    assert first.metrics["loss"].mean == 2.0
    assert (second.number, second.runs) == (2, ["run-2"])


def test_failed_trials_count_in_the_share_and_in_no_metric() -> None:
    trials = [
        observation(1, loss=1.0),
        observation(2, status=Status.FAILED, loss=100.0),
        observation(3, loss=3.0, acc=None),
        observation(4, status=Status.TIMEOUT),
    ]
    [found] = group(trials, 0.95)
    assert found.failed == 0.5
    assert {key: (s.count, s.mean) for key, s in found.metrics.items()} == {"loss": (2, 2.0)}
