"""Scalars of any type in the columns type, number and text."""

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbase.storage.sql.typed_values import document, typed, value

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.datetimes(
        min_value=datetime(1970, 1, 2),
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
    ).map(lambda moment: moment.replace(fold=0)),
)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(
    SCALARS | st.lists(DATA, max_size=3) | st.dictionaries(st.text(max_size=5), DATA, max_size=3)
)
def test_values_come_back_with_their_type(given_value: Any) -> None:
    columns = typed(given_value)
    found = value(columns["type"], columns["number"], columns["text"])
    assert type(found) is type(given_value)
    assert repr(found) == repr(given_value)


@pytest.mark.parametrize(
    ("given_value", "number"),
    [
        (True, 1),
        (7, 7.0),
        (2**53 + 1, float(2**53)),
        (10**305, math.inf),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        (0.5, 0.5),
        (math.nan, None),
        ("7", None),
        (None, None),
        (datetime(2026, 1, 1, tzinfo=UTC), 1767225600.0),
        ([1], None),
    ],
    ids=lambda x: repr(x)[:12],
)
def test_the_number_that_filters_compare(given_value: Any, number: float | None) -> None:
    assert typed(given_value)["number"] == number


def test_documents_with_the_same_content_have_the_same_text() -> None:
    assert document({"b": 1, "a": [1.5, None]}) == document({"a": [1.5, None], "b": 1})
    assert document({"a": 1}) != document({"a": 1.0})


@settings(deadline=None)
@given(DATA)
def test_a_document_is_strict_json_without_nul(data: Any) -> None:
    def refuse(word: str) -> Any:
        raise AssertionError(word)

    text = document(data)
    assert "\0" not in text
    assert "\\u0000" not in text
    json.loads(text, parse_constant=refuse)


def test_numbers_that_json_lacks_are_text_in_a_document() -> None:
    assert json.loads(document([math.inf, -math.inf, 2**63, 2**63 - 1])) == [
        "inf",
        "-inf",
        str(2**63),
        2**63 - 1,
    ]
    assert json.loads(document({"a": math.nan})) == {"a": "nan"}
