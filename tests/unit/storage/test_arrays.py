"""Arrays of numbers as JSON: exact, with each database's words for NaN and infinities."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbase.storage.arrays import encode_document, encode_numbers, total

NUMBERS = st.lists(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats(), max_size=20
)  # fmt: skip


@settings(deadline=None)
@given(NUMBERS)
def test_numbers_come_back_exactly(values: list[Any]) -> None:
    text = encode_numbers(values, nan="NaN", infinity="Infinity")
    assert repr(json.loads(text)) == repr(values)


@settings(deadline=None)
@given(NUMBERS)
def test_the_default_encoding_is_strict_json(values: list[Any]) -> None:
    def refuse(word: str) -> Any:
        raise AssertionError(word)

    found = json.loads(encode_numbers(values), parse_constant=refuse)
    expected = [None if value is None or value != value else value for value in values]
    assert repr(found) == repr(expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], "[]"),
        ([1, 2.5, -3], "[1,2.5,-3]"),
        ([None, math.nan], "[null,null]"),
        ([math.inf, -math.inf, 1.0], "[9e999,-9e999,1.0]"),
        ([1e308, 1e308], "[1e308,1e308]"),
    ],
)
def test_the_spelling_of_numbers(values: list[Any], expected: str) -> None:
    assert encode_numbers(values) == expected


def test_the_sum_of_infinities_of_both_signs_is_nan() -> None:
    assert total([1, 2.5]) == 3.5
    assert total([1e308, 1e308]) == math.inf
    assert total([10**308, 10**308]) == math.inf
    assert math.isnan(total([math.inf, -math.inf]))


def test_a_document_holds_no_text_that_a_database_refuses() -> None:
    text = encode_document({"a\0": ["\udc80", {"b": None}]})
    assert text.encode().count(b"\0") == 0
    assert json.loads(text) == {"a\u2400": ["\\udc80", {"b": None}]}
