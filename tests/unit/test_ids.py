"""Ids and names: unique, sorted by time, safe as folder names."""

import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbase.ids import derived_id, folder_name, name_for, new_id


def test_a_new_id_is_a_uuid_of_version_7() -> None:
    made = new_id()
    assert len(made) == 32
    assert set(made) <= set("0123456789abcdef")
    assert made[12] == "7"
    assert made[16] in "89ab"


def test_a_new_id_holds_the_time_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 1_800_000_000_123_456_789)
    assert int(new_id()[:12], 16) == 1_800_000_000_123


def test_later_ids_sort_behind_earlier_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    times = [0, 10**6, 255 * 10**6, 1_800_000_000 * 10**9]
    made = []
    for moment in times:
        monkeypatch.setattr(time, "time_ns", lambda moment=moment: moment)
        made.append(new_id())
    assert made == sorted(made)


def test_ids_of_one_millisecond_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    assert len({new_id() for _ in range(1000)}) == 1000


def test_a_derived_id_depends_on_each_part_and_its_limits() -> None:
    assert derived_id("mlflow", "1") == derived_id("mlflow", "1")
    assert len(derived_id("mlflow", "1")) == 32
    different = [("mlflow", "1"), ("mlflow", "2"), ("mlflow1",), ("mlflo", "w1"), ("1", "mlflow")]
    assert len({derived_id(*parts) for parts in different}) == len(different)


def test_a_name_has_two_words_and_a_number_and_belongs_to_the_id() -> None:
    adjective, animal, number = name_for("0" * 32).split("-")
    assert adjective.isalpha()
    assert animal.isalpha()
    assert 0 <= int(number) < 100
    assert name_for("0" * 32) == name_for("0" * 32)


def test_ids_of_one_moment_have_different_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time_ns", lambda: 10**18)
    assert len({name_for(new_id()) for _ in range(50)}) > 40


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain_name-1.0", "plain_name-1.0"),
        ("a b/c", "a-b-c"),
        ("../../etc", "etc"),
        (".hidden", "hidden"),
        ("größe", "größe"),
        ("", "experiment"),
        ("///", "experiment"),
        ("x" * 100, "x" * 80),
    ],
)
def test_a_folder_name_keeps_what_is_allowed(name: str, expected: str) -> None:
    assert folder_name(name) == expected


@settings(deadline=None)
@given(st.text(max_size=200))
def test_a_folder_name_is_one_visible_component(name: str) -> None:
    made = folder_name(name)
    assert 0 < len(made) <= 80
    assert not made.startswith(".")
    assert not set(made) & set("/\\\0" + string.whitespace)
