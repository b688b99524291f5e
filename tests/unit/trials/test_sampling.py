"""Samplers that do not use results: random and grid."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbase.errors import UsageError
from runbase.space import Categorical, Float, Int, applies
from runbase.trials import sampling

parameters = st.one_of(
    st.builds(
        lambda low, width, step: Int(low, low + width, step=step),
        st.integers(-99, 99),
        st.integers(0, 9),
        st.integers(1, 4),
    ),
    st.builds(
        lambda low, width, step: Float(low, low + width, step=step),
        st.floats(-9, 9),
        st.floats(0, 3),
        st.floats(0.5, 2),
    ),
    st.builds(Categorical, st.lists(st.integers(), min_size=1, max_size=4, unique=True)),
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from("abc"), parameters, min_size=1), st.integers(0, 99))
def test_a_random_point_is_a_point_of_the_grid(space: Any, seed: int) -> None:
    grid: list[Any] = []
    while (found := sampling.grid(space, grid)) is not None:
        grid.append(found)
    for key, parameter in space.items():
        for point in grid:
            if isinstance(parameter, Categorical):
                assert point[key] in parameter.choices
            else:
                assert parameter.low <= point[key] <= parameter.high + 1e-9
    assert sampling.random(space, (seed,)) in grid
    assert all(applies(space[key], point) for point in grid for key in point)


def test_circles_are_found() -> None:
    space = {"a": Int(0, 1, when={"b": [1]}), "b": Int(0, 1, when={"a": [1]})}
    with pytest.raises(UsageError, match="circle"):
        sampling.random(space, None)


def test_a_grid_is_walked_in_order_and_ends() -> None:
    space = {"n": Int(1, 5, step=2), "kind": Categorical(["a", "b"])}
    tried: list[Any] = []
    while (found := sampling.grid(space, tried)) is not None:
        tried.append(found)
    assert tried == [{"n": n, "kind": kind} for n in (1, 3, 5) for kind in ("a", "b")]


def test_a_grid_has_a_parameter_only_where_it_applies() -> None:
    space = {
        "momentum": Float(0, 0.5, step=0.5, when={"optimizer": ["sgd"]}),
        "optimizer": Categorical(["sgd", "adam"]),
    }
    tried: list[Any] = []
    while (found := sampling.grid(space, tried)) is not None:
        tried.append(found)
    assert tried == [
        {"momentum": 0.0, "optimizer": "sgd"},
        {"momentum": 0.5, "optimizer": "sgd"},
        {"optimizer": "adam"},
    ]


def test_a_grid_skips_points_that_were_tried_with_further_parameters() -> None:
    space = {"n": Int(1, 3)}
    assert sampling.grid(space, [{"n": 1, "seed": 7}, {"n": 2}]) == {"n": 3}


def test_rounding_does_not_lose_the_last_point_of_a_grid() -> None:
    tried: list[Any] = []
    space = {"x": Float(0.1, 0.7, step=0.1)}
    while (found := sampling.grid(space, tried)) is not None:
        tried.append(found)
    assert [params["x"] for params in tried] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])


def test_grids_that_cannot_be_walked_are_refused() -> None:
    with pytest.raises(UsageError, match="'lr'"):
        sampling.grid({"lr": Float(0, 1)}, [])
    with pytest.raises(UsageError, match="1,002,001 points"):
        sampling.grid({"a": Int(0, 1000), "b": Int(0, 1000)}, [])


def test_a_random_point_depends_on_the_seed_alone() -> None:
    space = {"lr": Float(1e-5, 1, log=True), "n": Int(1, 10**6), "k": Categorical(["a", "b"])}
    assert sampling.random(space, (3, 1)) == sampling.random(space, (3, 1))
    assert sampling.random(space, (3, 1)) != sampling.random(space, (3, 2))


@settings(deadline=None)
@given(st.integers(0, 10**6))
def test_a_random_point_on_a_logarithmic_scale_is_in_its_range(seed: int) -> None:
    space = {"lr": Float(1e-5, 1e-1, log=True), "n": Int(1, 8, log=True)}
    found = sampling.random(space, (seed,))
    assert 1e-5 <= found["lr"] <= 1e-1
    assert found["n"] in range(1, 9)
