"""Envelopes from outlines: no outlier is hidden, whatever the order of the steps, beside brute force."""

import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import runbase
from runbase.events import Points
from runbase.model import Envelope
from runbase.storage.open import open_storage
from runbase.storage.protocol import Storage
from runbase.testing.contract import T0, Journal, points

ODD = [math.nan, math.inf, -math.inf, 1e300, -1e300, 5e-324, 0, 7]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def storage(
    request: pytest.FixtureRequest,
) -> Iterator[Storage]:
    url = "sqlite://"
    if request.param == "postgres":
        server = request.getfixturevalue("postgres_server")
        url = f"{server}{'&' if '?' in server else '?'}schema=outlines"
    storage = open_storage(url)
    yield storage
    storage.close()


def logged(rng: random.Random) -> list[tuple[list[Any], list[float]]]:
    """Deliveries of steps and values: mostly regular, sometimes late, repeated, reversed or fractional."""
    deliveries, step = [], 0.0 if rng.random() < 0.2 else 0
    for _ in range(rng.randrange(1, 6)):
        count = rng.choice([1, 73, 500, 1024, 1500, 3000])
        stride = rng.choice([1, 1, 1, 1, 5, 0, -1, 0.5])
        if rng.random() < 0.3:
            step -= rng.randrange(2000)  # the run goes back to a checkpoint
        steps = [step + stride * n for n in range(count)]
        if rng.random() < 0.15:
            rng.shuffle(steps)
        step = steps[-1] + 1
        values = [rng.gauss(0, 1) for _ in range(count)]
        for _ in range(rng.choice([0, 0, 1, 5])):
            values[rng.randrange(count)] = rng.choice([*ODD, 1e6 * rng.random()])
        if rng.random() < 0.1:
            values = [math.nan] * count
        deliveries.append((steps, values))
    return deliveries * rng.choice([1, 2, 3])


def check(envelope: Envelope, steps: np.ndarray, values: np.ndarray, resolution: int) -> None:
    assert len(envelope) <= resolution
    assert int(envelope.counts.sum()) == len(steps)
    if not len(steps):
        return
    numbers = values[~np.isnan(values)]
    if not len(numbers):
        assert np.isnan(envelope.min).all()
        assert np.isnan(envelope.max).all()
        return
    assert np.fmin.reduce(envelope.min) == numbers.min()
    assert np.fmax.reduce(envelope.max) == numbers.max()
    for step, value in zip(steps.tolist(), values.tolist(), strict=True):
        there = (envelope.first_steps <= step) & (envelope.last_steps >= step)
        assert there.any()
        if value == value:
            assert ((envelope.min <= value) & (envelope.max >= value) & there).any(), (step, value)
    undefined = np.isneginf(envelope.min) & np.isposinf(envelope.max)
    some = ~np.isnan(envelope.min) & ~undefined
    assert (envelope.mean[some] >= envelope.min[some]).all()
    assert (envelope.mean[some] <= envelope.max[some]).all()
    if np.isfinite(numbers).all() and np.abs(numbers).max() < 1e9 and not np.isnan(values).any():
        mean = (envelope.mean * envelope.counts).sum() / envelope.counts.sum()
        assert mean == pytest.approx(values.mean(), abs=1e-6 * max(np.abs(values).max(), 1))


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), resolution=st.integers(1, 40))
def test_an_envelope_contains_every_point(storage: Storage, seed: int, resolution: int) -> None:
    rng = random.Random(seed)
    deliveries = logged(rng)
    journal = Journal(storage, name="outlined")
    for number, (steps, values) in enumerate(deliveries):
        if number and rng.random() < 0.2:
            journal = Journal(storage, journal.run)  # resumed by another process
        for start in range(0, len(steps), size := rng.choice([200, 1024, 4000])):
            part = slice(start, start + size)
            times = [T0 + n for n in range(len(steps[part]))]
            journal.write(
                Points(keys=("loss",), steps=steps[part], times=times, columns=[values[part]])
            )
    all_steps = np.array([s for steps, _ in deliveries for s in steps], dtype=np.float64)
    all_values = np.array([v for _, values in deliveries for v in values], dtype=np.float64)
    ranges: list[tuple[Any, Any]] = [(None, None)]
    for _ in range(4):
        ends = sorted(rng.choice(all_steps.tolist()) for _ in range(2))
        ranges += [(ends[0], ends[1]), (ends[0] - 0.25, None), (None, ends[1])]
    for start, end in ranges:
        kept = np.ones(len(all_steps), dtype=bool)
        kept &= all_steps >= (-math.inf if start is None else start)
        kept &= all_steps <= (math.inf if end is None else end)
        envelope = storage.envelope(journal.run, "loss", start, end, resolution)
        check(envelope, all_steps[kept], all_values[kept], resolution)


def outlines(storage: Storage) -> list[Any]:
    return [
        (*row[:-1], bytes(row[-1]))
        for row in storage.sql(
            "select s.run_id, s.key, o.blocks, o.first_step, o.stride, o.pieces "
            "from outlines o join series s on s.id = o.series_id order by s.run_id, s.key, o.seq"
        )
    ]


def test_only_long_metrics_have_an_outline(storage: Storage) -> None:
    journal = Journal(storage, name="short")
    journal.write(points([0.0] * 4095))
    journal.write(points([0.0] * 10, key="other", first=5000))
    assert not [row for row in outlines(storage) if row[0] == journal.run]
    journal.write(points([0.0], first=4095))
    (row,) = [row for row in outlines(storage) if row[0] == journal.run]
    assert row[1:3] == ("loss", 4)


def test_an_outline_costs_less_than_a_third_of_a_byte_a_point(storage: Storage) -> None:
    journal = Journal(storage, name="long")
    rng = random.Random(1)
    for first in range(0, 2**16, 2**13):
        journal.write(points([rng.random() for _ in range(2**13)], first=first))
    rows = storage.sql(
        "select length(pieces) + length(group_ids), o.nans, o.steps from outlines o "
        "join series s on s.id = o.series_id where s.run_id = :run",
        {"run": journal.run},
    )
    assert len(rows) == 4
    assert sum(row[0] for row in rows) / 2**16 <= 0.3
    assert {(row[1], row[2]) for row in rows} == {(None, None)}


def test_an_outline_is_the_same_from_small_and_from_large_deliveries(storage: Storage) -> None:
    rng = random.Random(2)
    values = [rng.choice([rng.gauss(0, 1), math.nan]) for _ in range(9000)]
    runs = []
    for size in (9000, 700):
        journal = Journal(storage, name=f"by {size}")
        for first in range(0, 9000, size):
            journal.write(points(values[first : first + size], first=first))
        runs.append([row[1:] for row in outlines(storage) if row[0] == journal.run])
    assert runs[0] == runs[1]
    assert sum(row[1] for row in runs[0]) == 8


def long_run(store: Any) -> str:
    journal = Journal(store.storage, name="long")
    values = [math.sin(n) for n in range(20_000)]
    values[12_345] = 99.0
    journal.write(points(values))
    return journal.run


def test_a_copy_has_the_outlines_of_the_original(tmp_path: Path) -> None:
    with runbase.open(tmp_path / "a.db") as store, runbase.open(tmp_path / "b.db") as other:
        long_run(store)
        store.copy_to(other)
        assert outlines(other.storage) == outlines(store.storage)
        assert len(outlines(other.storage)) == 2


def forget_outlines(store: Any) -> list[Any]:
    """Return the outlines, after the database was made what a program without outlines leaves."""
    held = outlines(store.storage)
    store.sql("delete from outlines", write=True)
    store.sql("insert into unoutlined select id from series where count >= 4096", write=True)
    return held


def test_a_metric_from_before_outlines_gets_its_outline_when_it_is_drawn(tmp_path: Path) -> None:
    with runbase.open(tmp_path / "a.db") as store:
        run = long_run(store)
        held = forget_outlines(store)
    with runbase.open(tmp_path / "a.db") as store:
        assert store.metrics(run, "loss", resolution=10).max.max() == 99.0
        assert outlines(store.storage) == held
        assert store.storage.unoutlined() == []


def test_points_go_on_before_the_outline_is_made(tmp_path: Path) -> None:
    with runbase.open(tmp_path / "a.db") as store:
        journal = Journal(store.storage, name="long")
        journal.write(points([0.0] * 5000))
        forget_outlines(store)
        journal.write(points([7.0] * 5000, first=5000))
        assert outlines(store.storage) == []
        envelope = store.metrics(journal.run, "loss", resolution=10)
        assert (envelope.max.max(), envelope.counts.sum()) == (7.0, 10_000)
        assert sum(row[2] for row in outlines(store.storage)) == 9


def test_a_chart_of_many_runs_is_that_of_each(tmp_path: Path) -> None:
    with runbase.open(tmp_path / "a.db") as store:
        runs = [long_run(store) for _ in range(3)]
        short = Journal(store.storage, name="short")
        short.write(points([1.0, 2.0]))
        runs.append(short.run)
        together = store.storage.envelopes([(run, "loss") for run in runs], 5, 15_000, 50)
        for run, envelope in zip(runs, together, strict=True):
            alone = store.storage.envelope(run, "loss", 5, 15_000, 50)
            for name in ("first_steps", "last_steps", "min", "max", "mean", "counts"):
                np.testing.assert_array_equal(getattr(envelope, name), getattr(alone, name))
