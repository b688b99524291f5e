"""What callers pass: numbers, tags, parameters and tables, and what is said to everything else."""

import datetime as dt
from argparse import Namespace
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest

from runbase.errors import InvalidValue, UsageError
from runbase.values import (
    as_direction,
    as_params,
    as_table,
    as_tags,
    flatten,
    to_parameter,
    to_scalar,
    to_step,
)


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


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (None, {}),
        ("one", {"one": None}),
        (["one", "two"], {"one": None, "two": None}),
        ({"stage": "test", "plain": None}, {"stage": "test", "plain": None}),
        (["one", {"seed": 3}], {"one": None, "seed": "3"}),
        ((1, 2.5), {"1": None, "2.5": None}),
        ([{"a": "1"}, {"a": "2"}], {"a": "2"}),
    ],
)
def test_tags_in_every_form(tags: Any, expected: dict[str, str | None]) -> None:
    assert as_tags(tags) == expected


def test_tags_that_are_not_text_are_refused_with_their_type() -> None:
    with pytest.raises(InvalidValue, match="int"):
        as_tags(5)


@dataclass
class Config:
    lr: float
    model: dict[str, Any]


@pytest.mark.parametrize(
    "values",
    [
        {"lr": 0.1, "model": {"layers": 2, "act": "relu"}},
        Namespace(lr=0.1, model={"layers": 2, "act": "relu"}),
        Config(0.1, {"layers": 2, "act": "relu"}),
    ],
    ids=["mapping", "namespace", "dataclass"],
)
def test_parameters_are_flat(values: Any) -> None:
    assert as_params(values) == {"lr": 0.1, "model/layers": 2, "model/act": "relu"}


@pytest.mark.parametrize("values", [5, "text", [1, 2], None])
def test_parameters_without_names_are_refused(values: Any) -> None:
    with pytest.raises(InvalidValue, match=type(values).__name__):
        as_params(values)


@pytest.mark.parametrize(
    ("rows", "columns", "expected"),
    [
        ([{"a": 1}, {"b": 2, "c": 3}], None, (["a", "b", "c"], [[1, None, None], [None, 2, 3]])),
        ([{"a": 1, "b": 2}], ["b"], (["b"], [[2]])),
        ({"a": [1, 2], "b": [3, 4]}, None, (["a", "b"], [[1, 3], [2, 4]])),
        ([[1, 2], [3, 4]], ["x", "y"], (["x", "y"], [[1, 2], [3, 4]])),
        ([(1, 2)], None, (["0", "1"], [[1, 2]])),
        ([], None, ([], [])),
        (pd.DataFrame({"a": [1, 2], "b": ["x", "y"]}), None, (["a", "b"], [[1, "x"], [2, "y"]])),
    ],
    ids=["mappings", "some columns", "columns", "rows", "rows only", "empty", "frame"],
)  # fmt: skip
def test_tables_in_every_form(rows: Any, columns: Any, expected: Any) -> None:
    assert as_table("t", rows, columns) == expected


@pytest.mark.parametrize("rows", [5, None, [1, 2], {"a": [1], "b": [1, 2]}])
def test_what_is_not_a_table_is_refused_with_its_key(rows: Any) -> None:
    with pytest.raises(InvalidValue, match="'results' is not a table"):
        as_table("results", rows, None)


def test_directions() -> None:
    assert [as_direction(word) for word in ("min", "minimize", "MAX", "maximize")] == [
        "min",
        "min",
        "max",
        "max",
    ]
    with pytest.raises(UsageError, match=r"direction of 'loss' is 'down'; use 'min' or 'max'"):
        as_direction("down", "loss")
