"""The reader: events come back as written; damage costs the lines it touches."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runbase.events import Ended, Noted, Params, Points, Tags
from runbase.journal import JournalWriter, opened, read
from runbase.journal.reader import batches
from runbase.status import Status
from runbase.values import plain_texts
from tests.unit.journal.lines import count, everything, everything_of, head, plain, rows

NUMBERS = st.one_of(
    st.floats(), st.integers(-(2**63) + 1, 2**63 - 1), st.sampled_from([math.nan, math.inf, -0.0])
)
KEYS = st.text(min_size=1, max_size=12) | st.sampled_from(
    ["null", "train/loss", '"', "\\", "\r\n", "m"]
)
POINTS = st.tuples(
    st.integers(-(2**62), 2**62) | st.floats(-(2.0**62), 2.0**62),
    st.dictionaries(KEYS, NUMBERS, min_size=1, max_size=4),
    st.none() | st.floats(0, 1),
)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
EVENTS = st.one_of(
    st.builds(Params, time=st.floats(0, 4e9), values=st.dictionaries(KEYS, DATA, max_size=3)),
    st.builds(Noted, time=st.floats(0, 4e9), text=st.text(max_size=40)),
    st.builds(Tags, set=st.dictionaries(KEYS, st.none() | st.text(max_size=5), max_size=3)),
    st.builds(Ended, status=st.sampled_from(Status), exit_code=st.none() | st.integers(0, 255)),
)


@settings(max_examples=150, deadline=None)
@given(items=st.lists(POINTS | EVENTS, max_size=30))
def test_anything_comes_back(tmp_path_factory: pytest.TempPathFactory, items: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("journal")
    writer = JournalWriter(folder, head)
    for item in items:
        if isinstance(item, tuple):
            writer.append_points("m", item[0], item[1], item[2])
        else:
            writer.append(item)
    writer.close()
    events, problems, torn = everything(writer.path)
    assert (problems, torn) == ([], 0)
    said = [e for e in events if not isinstance(e, Points)][1:-1]
    points = [item for item in items if isinstance(item, tuple)]
    expected = [item for item in items if not isinstance(item, tuple)]
    for event, original in zip(said, expected, strict=True):
        assert type(event) is type(original)
        for field in original.__struct_fields__:
            expected = plain_texts(getattr(original, field))
            assert plain(getattr(event, field)) == plain(expected)

    def ordered(found: list[Any]) -> list[str]:
        return sorted(
            repr((plain(step), sorted(plain(values).items()), plain(progress)))
            for step, values, progress in found
        )

    given = [(step, plain_texts(values), progress) for step, values, progress in points]
    assert ordered(rows(events)) == ordered(given)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    writer = JournalWriter(tmp_path_factory.mktemp("sample"), head)
    for step in range(40):
        writer.append_points("m", step, {"loss": 1 / (step + 1), "acc": step / 40})
        if step % 10 == 0:
            writer.append(Params(time=1.0, values={"p": step}))
    writer.close()
    return writer.path.read_bytes()


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_flipped_byte_costs_its_line_and_is_reported(
    tmp_path_factory: pytest.TempPathFactory, sample: bytes, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(sample) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != sample[place]))
    damaged = sample[:place] + bytes([other]) + sample[place + 1 :]
    path = tmp_path_factory.mktemp("flip") / "journal.jsonl"
    path.write_bytes(damaged)
    events, problems, torn = everything(path)
    whole, _, _ = everything_of(sample, tmp_path_factory)
    lines = sample.splitlines(keepends=True)
    ends = [sum(map(len, lines[: i + 1])) for i in range(len(lines))]
    touched = 2 if sample[place : place + 1] == b"\n" and place != len(sample) - 1 else 1
    assert count(events) >= count(whole) - touched
    assert count(events) < len(lines)
    assert problems or torn
    if problems:
        offset = int(problems[0].split("byte ")[1].split(":")[0])
        assert offset in [0, *ends] or other == ord("\n")


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_cut_costs_only_what_is_after_it(
    tmp_path_factory: pytest.TempPathFactory, sample: bytes, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(sample)))
    path = tmp_path_factory.mktemp("cut") / "journal.jsonl"
    path.write_bytes(sample[:cut])
    events, problems, torn = everything(path)
    assert problems == []
    assert count(events) == sample[:cut].count(b"\n")
    batch = read(path, sample[:cut].rfind(b"\n") + 1)
    assert batch.torn == cut - (sample[:cut].rfind(b"\n") + 1)
    assert torn in (0, batch.torn)


@settings(max_examples=100, deadline=None)
@given(size=st.integers(1, 3000))
def test_batches_of_any_size_say_the_same(
    tmp_path_factory: pytest.TempPathFactory, sample: bytes, size: int
) -> None:
    path = tmp_path_factory.mktemp("size") / "journal.jsonl"
    path.write_bytes(sample)
    found = [event for batch in batches(path, size=size) for event in batch.events]
    assert count(found) == sample.count(b"\n")


def test_a_line_longer_than_a_batch(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, head)
    writer.append(Noted(text="x" * 100_000))
    writer.close()
    events, problems, _ = everything(writer.path)
    assert problems == []
    assert events[1] == Noted(text="x" * 100_000)


def test_the_first_line_says_whose_it_is(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, head)
    found = opened(writer.path)
    assert found is not None
    assert (found.run, found.version) == ("run-id", 1)
    whole = writer.path.read_bytes()
    writer.close()
    for broken in (b"", whole[:-1], b"x" + whole[1:], b"\n" + whole):
        (tmp_path / "journal.9.jsonl").write_bytes(broken)
        assert opened(tmp_path / "journal.9.jsonl") is None
