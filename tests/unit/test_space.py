"""Search spaces: which are refused, which parameters apply, which values are inside."""

from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from runbase.errors import UsageError
from runbase.space import Categorical, Float, Int, applies, check, inside, to_distribution


def test_a_space_that_makes_sense_is_returned() -> None:
    space = {
        "lr": Float(1e-5, 1e-1, log=True, default=1e-3),
        "layers": Int(1, 8, default=-1, special=[-1]),
        "optimizer": Categorical(["sgd", "adam"], default="adam"),
        "momentum": Float(0, 1, when={"optimizer": ["sgd"]}),
    }
    assert check(space) == space


@pytest.mark.parametrize(
    "wrong",
    [
        Int(2, 1),
        Float(0, float("inf")),
        Float(float("nan"), 1),
        Float(0, 1, log=True),
        Int(0, 9, step=0),
        Float(0, 1, step=-0.5),
        Int(0, 9, default=10),
        Categorical([]),
        Categorical(["a"], default="b"),
        Int(0, 1, when={"wrong": [1]}),
        Int(0, 1, when={"unknown": [1]}),
        Int(0, 1, when={"other": []}),
        (0, 1),
    ],
    ids=repr,
)
def test_a_parameter_that_makes_no_sense_is_named(wrong: Any) -> None:
    with pytest.raises(UsageError, match="'wrong'"):
        check({"other": Int(0, 1), "wrong": wrong})


def test_a_parameter_applies_at_the_given_values_of_all_others() -> None:
    parameter = Int(0, 1, when={"optimizer": ["sgd", "adam"], "nesterov": [True]})
    assert applies(parameter, {"optimizer": "adam", "nesterov": True})
    assert not applies(parameter, {"optimizer": "adam", "nesterov": False})
    assert not applies(parameter, {"optimizer": "lbfgs", "nesterov": True})
    assert not applies(parameter, {"optimizer": "sgd"})
    assert applies(Int(0, 1), {})


@pytest.mark.parametrize(
    ("parameter", "values", "others"),
    [
        (Int(1, 7, step=3), [1, 4, 7, 4.0], [0, 2, 8, 4.5, True, "4", None]),
        (Float(0, 1), [0, 1, 0.37], [-0.1, 1.1, float("nan"), False]),
        (Float(0.1, 0.7, step=0.2), [0.1, 0.1 + 0.2, 0.7], [0.2, 0.8]),
        (Int(0, 4, special=[-1]), [0, 4], [-1]),
        (Categorical([1, "a", None]), [1, "a", None], [1.0, True, "b"]),
    ],
    ids=repr,
)
def test_values_inside_a_parameter(parameter: Any, values: list[Any], others: list[Any]) -> None:
    assert [value for value in values if not inside(parameter, value)] == []
    assert [value for value in others if inside(parameter, value)] == []


@pytest.mark.parametrize(
    ("parameter", "expected"),
    [
        (Int(1, 9, step=2), IntDistribution(1, 9, step=2)),
        (Int(1, 9, log=True), IntDistribution(1, 9, log=True)),
        (Float(0.1, 1, log=True), FloatDistribution(0.1, 1, log=True)),
        (Float(0, 1, step=0.5), FloatDistribution(0, 1, step=0.5)),
        (Categorical(["a", 1]), CategoricalDistribution(["a", 1])),
    ],
    ids=repr,
)
def test_the_distribution_of_optuna(parameter: Any, expected: Any) -> None:
    assert to_distribution(parameter) == expected
