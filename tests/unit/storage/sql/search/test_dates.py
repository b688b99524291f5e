"""Times in filters: durations, dates and numbers."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from runbase.errors import FilterError
from runbase.storage.sql.search.dates import duration, from_number, moment


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("2 days", timedelta(days=2)),
        ("1h 30m", timedelta(minutes=90)),
        ("1 Hour and 30 Minutes", timedelta(minutes=90)),
        ("1.5 h", timedelta(minutes=90)),
        ("2 weeks, 1 day", timedelta(days=15)),
        ("1 month", timedelta(days=30)),
        ("1 year", timedelta(days=365)),
    ],
)
def test_durations(text: str, expected: timedelta) -> None:
    assert duration(text) == expected


@pytest.mark.parametrize(
    "text", ["", "2", "days", "two days", "2 fortnights", "2 days ago", "-1 h"]
)
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    with pytest.raises(FilterError, match="not a duration"):
        duration(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        (" 2026-11-20 14:30 ", datetime(2026, 11, 20, 14, 30, tzinfo=UTC)),
        ("2026-11-20T14:30:05.25Z", datetime(2026, 11, 20, 14, 30, 5, 250_000, UTC)),
        (
            "2026-11-20 14:30+02:00",
            datetime(2026, 11, 20, 14, 30, tzinfo=timezone(timedelta(hours=2))),
        ),
    ],
)
def test_dates_without_an_offset_are_in_utc(text: str, expected: datetime) -> None:
    assert moment(text) == expected
    assert moment(text).tzinfo is not None


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "14:30"])
def test_what_is_not_a_date_is_refused(text: str) -> None:
    with pytest.raises(FilterError, match="not a date"):
        moment(text)


def test_large_numbers_are_milliseconds() -> None:
    expected = datetime(2027, 1, 15, 8, tzinfo=UTC)
    assert from_number(1_800_000_000) == from_number(1_800_000_000_000) == expected


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e300])
def test_numbers_out_of_range_are_refused(number: float) -> None:
    with pytest.raises(FilterError, match="not a time"):
        from_number(number)
