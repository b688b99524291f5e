"""A home always opens: odd lines, odd files and odd folders keep nothing good out of the database."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import adler32

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runbase
from runbase.ids import new_id
from runbase.store.rebuild import set_aside
from runbase.store.store import Store
from tests.patience import PATIENCE

T0 = 1_790_000_000.0


def line(value: Any) -> bytes:
    """A line of a journal with its checksum, whatever it says."""
    text = value if isinstance(value, bytes) else msgspec.json.encode(value)
    form = b"%b,%d]\n" if text[:1] == b"[" else b'%b,"sum":%d}\n'
    return form % (text[:-1], adler32(text))


def head(run: str, **more: Any) -> dict[str, Any]:
    return {
        "e": "open",
        "time": T0,
        "version": 1,
        "journal": new_id(),
        "run": run,
        "experiment": "odd",
        "name": f"odd-{run[-6:]}",
        "process": {"host": "elsewhere", "pid": 1},
        **more,
    }


def journal(home: Path, *values: Any, folder: Path | None = None, **first: Any) -> str:
    """A run folder with a journal of these lines; the run's id."""
    run = new_id()
    folder = folder or home / "runs" / "odd" / run
    folder.mkdir(parents=True)
    lines = [line(head(run, **first)), *map(line, values)]
    (folder / "journal.jsonl").write_bytes(b"".join(lines))
    return run


def point(step: Any = 0, when: Any = T0, value: Any = 1.0, key: str = "loss") -> list[Any]:
    return ["m", step, when, {key: value}]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str | None:
    return request.getfixturevalue("postgres") if request.param == "postgres" else None


@pytest.fixture
def opened(home: Path, url: str | None) -> Iterator[Any]:
    """Opens the home's store, as often as it is called."""
    stores: list[Store] = []

    def open() -> Store:
        stores.append(runbase.open(url, home=home))
        return stores[-1]

    yield open
    for store in stores:
        store.close()


ODD = {
    "time past 9999": point(1, 1e18),
    "time before 1": point(1, -1e18),
    "step past 64 bits": point(2**63),
    "step far past": point(-(10**300)),
    "integer past a float": point(1, T0, 10**400),
    "note far away": {"e": "note", "time": 1e18, "text": "x"},
    "exit code": {"e": "end", "time": T0, "status": "FAILED", "exit_code": 2**70},
    "artifact size": {
        "e": "artifact",
        "time": T0,
        "path": "p",
        "kind": "k",
        "uri": "p",
        "size": 2**80,
    },
    "record step": {"e": "record", "time": T0, "key": "k", "kind": "text", "step": 2**90},
    "unknown status": {"e": "end", "time": T0, "status": "GONE"},
    "unknown event": {"e": "dance", "time": T0},
    "text for a number": ["m", "one", T0, {"loss": 1.0}],
    "no values": ["m", 1, T0, None],
    "deep": b'{"e":"params","time":0,"values":{"p":' + b"[" * 5000 + b"]" * 5000 + b"}}",
    "deeper than a parser": b'{"e":"params","time":0,"values":{"p":' + b"[" * 200_000 + b"]}}",
    "deep points": b"[" * 3000 + b"]" * 3000,
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_everything_beside_an_odd_line_comes_in(home: Path, opened: Any, odd: Any) -> None:
    other = journal(home, point(0), point(1))
    run = journal(
        home,
        {"e": "start", "time": T0},
        point(0),
        odd,
        {"e": "params", "time": T0, "values": {"lr": 0.1}},
        point(5),
        {"e": "end", "time": T0 + 9, "status": "COMPLETED"},
    )
    for _ in range(2):
        store = opened()
        assert store.metrics(run, "loss").steps.tolist() == [0, 5]
        assert store.metrics(other, "loss").steps.tolist() == [0, 1]
        record = store.run(run)
        assert (record.params, record.status) == ({"lr": 0.1}, "COMPLETED")
        (problem,) = store.problems(run)
        assert problem.file.endswith("journal.jsonl")
        assert problem.offset is not None
        assert problem.line
        assert store.problems(other) == []


@pytest.mark.parametrize(
    "first",
    [
        {"time": 1e300},
        {"time": -1e300},
        {"process": {"host": "x" * 9000, "pid": 2**80}},
        {"process": {"host": "h", "pid": -5, "started": "\0", "boot": " "}},
        {"attempt": 2**80},
        {"experiment": "y" * 9000, "name": "z" * 9000},
        {"experiment": "", "name": ""},
        {"experiment": "a\0b", "name": "\0"},
    ],
    ids=str,
)
def test_an_odd_first_line_keeps_no_points_out(
    home: Path, opened: Any, first: dict[str, Any]
) -> None:
    run = journal(home, point(0), point(1), **first)
    assert opened().metrics(run, "loss").steps.tolist() == [0, 1]
    assert opened().run(run).created_at.year > 2000


def test_keys_and_texts_of_any_length_and_content(home: Path, opened: Any) -> None:
    alphabet = "abcdefghijklmnopqrstuvwxyz0123456789"
    long = "".join(random.Random(1).choices(alphabet, k=9000))
    large = "".join(random.Random(2).choices(alphabet, k=1000)) * 20_000  # 20 MB
    run = journal(
        home,
        point(key=long),
        point(key="nul\0key"),
        {"e": "params", "time": T0, "values": {long: long, "large": large}},
        {"e": "tags", "time": T0, "set": {long: long}},
        name=long,
        experiment=long,
    )
    store = opened()
    record = store.run(run)
    assert store.problems(run) == []
    assert record.params == {long: long, "large": large}
    assert record.tags == {long: long}
    assert set(record.metrics) == {long, "nul␀key"}
    assert record.name == record.experiment == long
    assert store.metrics(run, long).values.tolist() == [1.0]
    assert store.metrics(run, "nul\0key").values.tolist() == [1.0]
    assert [found.id for found in store.runs(f"name = '{long}'")] == [run]
    assert [found.id for found in store.runs(f"params.\"{long}\" = '{long}'")] == [run]


def test_pipes_devices_and_folders_in_a_journals_place(home: Path, opened: Any) -> None:
    good = journal(home, point(0))
    for number, make in enumerate((os.mkfifo, os.mkdir)):
        folder = home / "runs" / "odd" / f"odd{number}"
        folder.mkdir(parents=True)
        make(folder / "journal.jsonl")
    folder = home / "runs" / "odd" / "linked"
    folder.mkdir()
    (folder / "journal.jsonl").symlink_to("/dev/zero")
    for _ in range(2):
        began = time.monotonic()
        assert [run.id for run in opened().runs()] == [good]
        assert time.monotonic() - began < PATIENCE


def test_folders_whose_names_are_not_utf8(home: Path, opened: Any) -> None:
    folder = Path(os.fsdecode(os.fsencode(home) + b"/runs/odd/\xff\xfe"))
    run = journal(home, point(0), ["m", 2**70, T0, {"loss": 1.0}], folder=folder)
    assert opened().metrics(run, "loss").steps.tolist() == [0]
    assert len(opened().problems(run)) == 1


def test_a_scan_takes_what_is_good(tmp_path: Path, opened: Any) -> None:
    bad = tmp_path / "elsewhere"
    run = journal(tmp_path, point(0), *ODD.values(), point(5), folder=bad / "one")
    good = journal(tmp_path, point(0), folder=bad / "two")
    (bad / "three").mkdir()
    os.mkfifo(bad / "three" / "journal.jsonl")
    store = opened()
    report = store.scan(bad)
    assert len(report.problems) == len(ODD)
    assert store.metrics(run, "loss").steps.tolist() == [0, 5]
    assert store.metrics(good, "loss").steps.tolist() == [0]
    assert len(store.problems(run)) == len(ODD)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**320), 10**320)
    | st.integers(-3, 3)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(["NaN", "Infinity", "loss", "\0", "RUNNING", "FAILED", T0, 2**63]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
KINDS = [
    "open",
    "start",
    "capture",
    "params",
    "tags",
    "note",
    "status",
    "types",
    "artifact",
    "use",
    "unartifact",
    "record",
    "end",
    "close",
]
FIELDS = [
    "time",
    "values",
    "set",
    "remove",
    "text",
    "status",
    "reason",
    "types",
    "path",
    "kind",
    "uri",
    "size",
    "key",
    "step",
    "value",
    "error",
    "exit_code",
    "git",
    "args",
    "env",
    "system",
    "owner",
    "metadata",
    "name",
    "user",
    "parent",
    "resumed",
    "version",
]
LINES = st.one_of(
    st.tuples(st.sampled_from(["m", "t"]), JSON, JSON, st.dictionaries(st.text(), JSON), JSON),
    st.tuples(st.sampled_from(["m", "t"]), JSON, JSON, st.dictionaries(st.text(), JSON)),
    st.builds(
        lambda kind, fields: {"e": kind, "time": T0, **fields},
        st.sampled_from(KINDS),
        st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=8),
    ),
    JSON,
)


def encoded(value: Any) -> bytes | None:
    if not isinstance(value, list | tuple | dict) or not value:
        return None
    return line(value)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(lines=st.lists(LINES, max_size=12), cut=st.integers(1, 10**6))
def test_any_lines_at_all(home: Path, url: str | None, lines: list[Any], cut: int) -> None:
    """Whatever a journal says: nothing raises, good points are all there, the others are listed."""
    written = [part for part in map(encoded, lines) if part is not None]
    run = new_id()
    folder = home / "runs" / "odd" / run
    folder.mkdir(parents=True)
    good = [line(point(1000 + n, T0 + n, key="sure")) for n in range(len(written) + 1)]
    mixed = [part for pair in zip(good, written, strict=False) for part in pair] + good[-1:]
    content = line(head(run)) + b"".join(mixed)
    path = folder / "journal.jsonl"
    path.write_bytes(content[: cut % len(content)])
    with runbase.open(url, home=home):  # while it is being written
        pass
    path.write_bytes(content)
    with runbase.open(url, home=home) as store:
        steps = store.metrics(run, "sure", every=True).steps.tolist()
        assert set(steps) >= {1000 + n for n in range(len(good))}
        record = store.run(run)
        assert record.id == run
        found = store.sql("select lines, problems from journals where run_id = :run", {"run": run})
        assert found[0][0] + found[0][1] >= len(good) + 1
        assert len(store.problems(run)) == found[0][1]
        assert store.check() == []
        points, problems = store.totals()["points"], store.totals()["problems"]
    # The same by a scan, and by a rebuild.
    with runbase.open(home.parent / "scanned.db", sync=False) as scanned:
        scanned.scan(folder)
        assert scanned.metrics(run, "sure", every=True).steps.tolist() == steps
        assert len(scanned.problems(run)) == found[0][1]
    if url is None:
        set_aside(f"sqlite:///{home / 'runbase.db'}", home)
        with runbase.open(home=home) as store:
            assert store.totals()["points"] == points
            assert store.totals()["problems"] == problems
            assert store.check() == []
