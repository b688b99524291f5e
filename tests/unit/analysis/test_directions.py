"""Whether less or more of a metric is better, and that nothing is marked where this is unknown."""

import math

import pytest

from runbase.analysis.directions import best_of, direction_of
from runbase.model import Objective


@pytest.mark.parametrize(
    ("key", "direction"),
    [
        ("loss", "min"),
        ("val/loss", "min"),
        ("val_rmse", "min"),
        ("step_time", "min"),
        ("val/accuracy", "max"),
        ("test.f1", "max"),
        ("mean_reward", "max"),
        ("val/acc5", "max"),
        ("recall@10", "max"),
        ("loss2", "min"),
        ("lr", None),
        ("layer1", None),
        ("epoch", None),
        ("grad_norm", None),
    ],
)
def test_the_direction_follows_from_a_certain_name(key: str, direction: str | None) -> None:
    assert direction_of(key) == direction


def test_objectives_come_before_names() -> None:
    objective = Objective(metric="loss", direction="max", weight=1.0)
    assert direction_of("loss", [objective]) == "max"


def test_the_best_is_known_only_with_a_direction() -> None:
    values = [3.0, math.nan, None, 1.0]
    assert best_of(values, "min") == 1.0
    assert best_of(values, "max") == 3.0
    assert best_of(values, None) is None
    assert best_of([1.0, None], "min") is None
