"""Metrics: points are stored exactly, in blocks, with figures and envelopes."""

# pyright: basic
import math

import numpy as np
import pytest

from runbase.errors import NotFound
from runbase.ids import new_id
from runbase.storage.protocol import Storage
from runbase.testing.contract.base import OnStorage
from runbase.testing.contract.journal import T0, Journal, points


class MetricContract(OnStorage):
    """Store points of metrics, and read them, their figures and their envelopes."""

    def test_every_point_exactly(self, storage: Storage) -> None:
        special = [1.5, math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 3]
        journal = Journal(storage)
        journal.write(points(special))
        series = storage.series(journal.run, "loss")
        np.testing.assert_array_equal(series.values, np.array(special, dtype=float))
        assert math.copysign(1, series.values[4]) == -1
        assert series.steps.dtype == np.int64
        rows = storage.sql("select value from metrics order by step")
        assert [row[0] for row in rows] == [
            1.5,
            None,
            math.inf,
            -math.inf,
            -0.0,
            5e-324,
            1.7976931348623157e308,
            3,
        ]

    def test_figures_of_a_metric(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(points([3.0, math.nan, 1.0]))
        journal.write(points([7.0, 2.0], first=3))
        metric = storage.runs()[0].metrics["loss"]
        assert (metric.count, metric.nans, metric.mean) == (5, 1, 13 / 4)
        assert (metric.first, metric.last, metric.min, metric.max) == (3.0, 2.0, 1.0, 7.0)
        assert (metric.first_step, metric.last_step) == (0, 4)
        assert (metric.min_step, metric.max_step) == (2, 3)

    def test_figures_under_nan_and_infinities(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(points([math.nan, math.inf, -math.inf, 1.0, math.nan]))
        metric = storage.runs()[0].metrics["loss"]
        assert (metric.count, metric.nans) == (5, 2)
        assert (metric.min, metric.max) == (-math.inf, math.inf)
        assert metric.last is not None
        assert math.isnan(metric.last)

    def test_duplicate_and_backward_steps(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(points([1.0, 2.0, 3.0, 4.0, 5.0], steps=[5, 6, 5, -1, 6]))
        latest = storage.series(journal.run, "loss")
        assert (latest.steps.tolist(), latest.values.tolist()) == ([-1, 5, 6], [4.0, 3.0, 5.0])
        every = storage.series(journal.run, "loss", every=True)
        assert every.values.tolist() == [4.0, 1.0, 3.0, 2.0, 5.0]
        for wanted, all_of_them in ((latest, False), (every, True)):
            many = storage.points([journal.run], None, every=all_of_them)[journal.run, "loss"]
            assert many.values.tolist() == wanted.values.tolist()
        metric = storage.runs()[0].metrics["loss"]
        assert (metric.count, metric.last, metric.last_step, metric.first) == (5, 5.0, 6, 4.0)

    def test_fractional_huge_and_constant_steps(self, storage: Storage) -> None:
        for steps in ([0.5, 0.25, 3], [2**62, 2**62 + 1], [7, 7, 7], [10, 8, 6], [1, 2, 4, 8]):
            journal = Journal(storage)
            journal.write(points([float(i) for i in range(len(steps))], steps=steps))
            series = storage.series(journal.run, "loss", every=True)
            assert series.steps.tolist() == sorted(steps)
            rows = storage.sql("select step from metrics where run_id = :run", {"run": journal.run})
            assert [row[0] for row in rows] == steps

    def test_a_part_of_a_metric(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(points([float(i) for i in range(5000)]))
        part = storage.series(journal.run, "loss", start=1000, end=3000)
        assert part.steps.tolist() == list(range(1000, 3001))
        assert len(storage.series(journal.run, "loss", start=9000)) == 0

    @pytest.mark.parametrize("sizes", [[1] * 40, [1000, 48, 3000, 1], [2500], [1023, 1, 1, 1023]])
    def test_blocks_fill_however_points_come_in(self, storage: Storage, sizes: list[int]) -> None:
        journal, done = Journal(storage), 0
        for size in sizes:
            values = [float(i) for i in range(done, done + size)]
            journal.write(points(values, first=done, times=[T0 + i * 0.25 for i in values]))
            done += size
        series = storage.series(journal.run, "loss")
        assert series.values.tolist() == [float(i) for i in range(done)]
        np.testing.assert_allclose(series.times, T0 + np.arange(done) * 0.25, atol=2e-6)
        counts = [row[0] for row in storage.sql("select count from blocks order by group_id")]
        assert counts[:-1] == [1024] * (len(counts) - 1)
        assert sum(counts) == done

    def test_steps_that_stop_being_regular(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(points([0.0, 1.0, 2.0]))
        journal.write(points([3.0, 4.0], steps=[10, 11]))
        journal.write(points([5.0], steps=[12]))
        assert storage.series(journal.run, "loss").steps.tolist() == [0, 1, 2, 10, 11, 12]
        assert [row[0] for row in storage.sql("select step from metrics")] == [0, 1, 2, 10, 11, 12]

    def test_progress_given_late_and_seldom(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(points([0.0, 1.0]))
        journal.write(points([2.0, 3.0], first=2, progress=[None, 0.5]))
        journal.write(points([4.0], first=4))
        rows = storage.sql("select progress from metrics order by step")
        assert [row[0] for row in rows] == [None, None, None, 0.5, None]

    def test_many_processes_of_one_run(self, storage: Storage) -> None:
        run = new_id()
        for rank in range(3):
            Journal(storage, run).write(points([float(rank)] * 10, first=rank * 10))
        series = storage.series(run, "loss")
        assert series.steps.tolist() == list(range(30))
        assert storage.runs()[0].metrics["loss"].count == 30

    def test_envelope_hides_no_outlier(self, storage: Storage) -> None:
        journal, values = Journal(storage), np.sin(np.arange(40_000) / 500)
        values[12_345], values[12_346], values[30_001] = 99.0, -99.0, np.nan
        for start in range(0, 40_000, 8000):
            journal.write(points(values[start : start + 8000].tolist(), first=start))
        for resolution in (1, 7, 100, 1000, 100_000):
            envelope = storage.envelope(journal.run, "loss", resolution=resolution)
            assert len(envelope) <= resolution
            assert envelope.counts.sum() == 40_000
            assert (np.nanmax(envelope.max), np.nanmin(envelope.min)) == (99.0, -99.0)
            assert (envelope.last_steps[:-1] < envelope.first_steps[1:]).all()
            weights = envelope.counts - (envelope.first_steps <= 30_001) * (
                envelope.last_steps >= 30_001
            )
            assert (envelope.counts - weights == envelope.nans).all()
            mean = np.nansum(envelope.mean * weights) / weights.sum()
            assert mean == pytest.approx(np.nanmean(values))
        part = storage.envelope(journal.run, "loss", 10_000, 20_000, resolution=10)
        assert part.counts.sum() == 10_001
        assert part.max.max() == 99.0

    def test_a_part_of_an_envelope_from_blocks(self, storage: Storage) -> None:
        journal, values = Journal(storage), np.cos(np.arange(20_000))
        values[[5_000, 15_000, 15_001]] = 50.0, 60.0, 70.0
        for start in range(0, 20_000, 5000):
            journal.write(points(values[start : start + 5000].tolist(), first=start))
        part = storage.envelope(journal.run, "loss", 5_000, 15_000, resolution=8)
        assert len(part) <= 8
        assert (part.first_steps[0], part.last_steps[-1]) == (5_000, 15_000)
        assert part.counts.sum() == 10_001
        assert part.max.max() == 60.0
        mean = (part.mean * part.counts).sum() / 10_001
        assert mean == pytest.approx(values[5_000:15_001].mean())

    def test_clocks_turn_steps_into_times(self, storage: Storage) -> None:
        journal = Journal(storage)
        for start in (0, 3000):
            journal.write(points([float(n) for n in range(3000)], first=start))
        series = storage.series(journal.run, "loss")
        ((steps, times),) = storage.clocks([(journal.run, "loss")])
        assert (steps[0], steps[-1]) == (0, 5999)
        assert len(steps) >= 6000 / 1024
        assert sorted(times) == times
        found = np.interp(series.steps, steps, times)
        np.testing.assert_allclose(found[[0, -1]], series.times[[0, -1]], rtol=0, atol=1e-5)
        with pytest.raises(NotFound):
            storage.clocks([(journal.run, "missing")])
