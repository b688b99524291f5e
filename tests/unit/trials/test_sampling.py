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
