"""The grid of a curve against brute force."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from runbase.model import Envelope
from runbase.server.curves import grid


def envelope(steps: list[int], values: list[float], size: int) -> Envelope:
    """Buckets of consecutive points, as a storage makes them."""
    parts = [(steps[i : i + size], values[i : i + size]) for i in range(0, len(steps), size)]
    lows = [np.nanmin(v) if not all(map(math.isnan, v)) else math.nan for _, v in parts]
    highs = [np.nanmax(v) if not all(map(math.isnan, v)) else math.nan for _, v in parts]
    return Envelope(
        "x",
        np.array([float(s[0]) for s, _ in parts]),
        np.array([float(s[-1]) for s, _ in parts]),
        np.array(lows),
        np.array(highs),
        np.array(lows),
        np.array([len(s) for s, _ in parts]),
        np.array([sum(map(math.isnan, v)) for _, v in parts]),
    )


@given(
    st.lists(st.integers(0, 10_000), min_size=1, max_size=200, unique=True).map(sorted),
    st.data(),
    st.integers(1, 50),
    st.integers(1, 7),
)
def test_no_point_is_outside_of_its_column(
    steps: list[int], data: st.DataObject, columns: int, size: int
) -> None:
    one = st.floats(-1e6, 1e6) | st.just(math.nan)
    values = data.draw(st.lists(one, min_size=len(steps), max_size=len(steps)))
    low, high = float(steps[0]), float(steps[-1])
    minimum, maximum = grid(envelope(steps, values, size), low, high, columns)
    width = (high - low) / columns or 1.0
    for step, value in zip(steps, values, strict=True):
        if math.isnan(value):
            continue
        column = min(int((step - low) / width), columns - 1)
        assert minimum[column] <= value <= maximum[column]
    finite = [value for value in values if not math.isnan(value)]
    if finite:
        assert np.nanmin(minimum) == min(finite)
        assert np.nanmax(maximum) == max(finite)
    else:
        assert np.isnan(minimum).all()
