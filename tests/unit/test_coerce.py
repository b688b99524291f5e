"""Tags, parameters and tables in the forms in which callers pass them."""

from argparse import Namespace
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest

from runbase.coerce import as_direction, as_params, as_table, as_tags
from runbase.errors import InvalidValue, UsageError


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
