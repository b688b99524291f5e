"""What `log` takes for a number, and what it says to everything else."""

import datetime as dt
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from runbase.errors import InvalidValue
from runbase.values import flatten, to_parameter, to_scalar, to_step


class TorchLike:
    """As PyTorch's and JAX's 0-d arrays: item(), a shape, and no other way."""

    def __init__(self, value: Any, shape: tuple[int, ...] = ()) -> None:
        self.value, self.shape = value, shape

    def item(self) -> Any:
        if self.shape:
            raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")
        return self.value


class TensorFlowLike:
    """As TensorFlow's eager tensors: numpy(), and no item()."""

    def numpy(self) -> Any:
        return np.float32(0.5)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, (1, "int")),
        (True, (1, "bool")),
        (1.5, (1.5, "float")),
        (2**63, (float(2**63), "float")),
        (np.float32(0.5), (0.5, "float")),
        (np.float64(0.5), (0.5, "float")),
        (np.float16(0.5), (0.5, "float")),
        (np.int64(7), (7, "int")),
        (np.uint8(7), (7, "int")),
        (np.bool_(True), (1, "bool")),
        (np.array(2.5), (2.5, "float")),
        (np.array([2.5]), (2.5, "float")),
        (Decimal("0.25"), (0.25, "float")),
        (Fraction(1, 4), (0.25, "float")),
        (TorchLike(0.5), (0.5, "float")),
        (TorchLike(3), (3, "int")),
        (TensorFlowLike(), (0.5, "float")),
        (dt.datetime(2026, 1, 1, tzinfo=dt.UTC), (1767225600.0, "time")),
        (np.datetime64("2026-01-01T00:00:00"), (1767225600.0, "time")),
        (dt.timedelta(minutes=1), (60.0, "float")),
    ],
)
def test_numbers(value: Any, expected: tuple[Any, str]) -> None:
    number, kind = to_scalar("x", value)
    assert (number, kind) == expected
    assert type(number) in (int, float)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("0.5", "'loss' is text.*log_text"),
        (None, "'loss' is of type NoneType"),
        ([1.0], "'loss' is of type list"),
        ({}, "'loss' is of type dict"),
        (1j, "'loss' is of type complex"),
        (object(), "'loss' is of type object"),
        (np.zeros(3), r"shape \(3,\).*log_histogram"),
        (TorchLike(1.0, (2,)), r"shape \(2,\)"),
    ],
)
def test_what_is_none(value: Any, says: str) -> None:
    with pytest.raises(InvalidValue, match=says):
        to_scalar("loss", value)


def test_nested_keys() -> None:
    assert dict(flatten({"a": {"b": 1, "c": {"d": 2}}, "e": 3})) == {"a/b": 1, "a/c/d": 2, "e": 3}


def test_steps() -> None:
    assert (to_step(np.int64(3)), to_step(0.5)) == (3, 0.5)
    for wrong in (float("nan"), float("inf"), "1", None):
        with pytest.raises(InvalidValue, match="step"):
            to_step(wrong)


def test_parameters_are_plain() -> None:
    class Config:
        def __str__(self) -> str:
            return "config"

    assert to_parameter("p", (1, np.float32(0.5), {"a": {2}})) == [1, 0.5, {"a": [2]}]
    assert to_parameter("p", np.array([1, 2])) == "[1 2]"
    assert to_parameter("p", Config()) == "config"
    assert to_parameter("p", Config).endswith("Config")
    assert to_parameter("p", dt.date(2026, 1, 2)) == "2026-01-02"
