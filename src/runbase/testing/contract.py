"""The promises of `runbase.storage.protocol`, as tests. Needs pytest and NumPy.

class TestMine(StorageContract):
    @pytest.fixture
    def storage(self): ...
"""

# pyright: basic
import math
import random
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from runbase.errors import Ambiguous, FilterError, NotFound, QueryError, UsageError
from runbase.events import (
    ArtifactLogged,
    Captured,
    Ended,
    Event,
    Noted,
    Opened,
    Params,
    Points,
    Process,
    RecordLogged,
    Started,
    StatusChanged,
    Tags,
    Types,
)
from runbase.ids import new_id
from runbase.status import Status
from runbase.storage.protocol import Storage
from runbase.storage.types import Delivery, Query

RANDOM_TEXT = "".join(random.Random(0).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))
"""A text that no database can make shorter."""
T0 = 1_800_000_000.0
"""A moment in 2027, seconds since the epoch."""


class Journal:
    """A journal that exists only as deliveries."""

    def __init__(self, storage: Storage, run: str | None = None, **head: Any) -> None:
        self.storage, self.run, self.id, self.offset = storage, run or new_id(), new_id(), 0
        self.head = {"experiment": "contract", "name": "a-run-1", "time": T0} | head

    def opened(self) -> Opened:
        """Its first event."""
        process = Process("elsewhere", 1, "1", "boot ns")
        return Opened(version=1, journal=self.id, run=self.run, process=process, **self.head)

    def write(self, *events: Event) -> bool:
        """Deliver events as its next lines."""
        head = [self.opened()] if self.offset == 0 else []
        done = self.storage.apply([self.delivery([*head, *events])])[0].taken
        self.offset += 1
        return done

    def delivery(self, events: Sequence[Any]) -> Delivery:
        """Events as a delivery at the present offset."""
        return Delivery(
            run=self.run,
            events=events,
            journal=self.id,
            start=self.offset,
            offset=self.offset + 1,
            file="journal.jsonl",
            folder=f"runs/contract/{self.run}",
            lines=len(events),
        )


def points(values: Sequence[float], key: str = "loss", first: int = 0, **more: Any) -> Points:
    """One metric at consecutive steps."""
    steps = more.pop("steps", list(range(first, first + len(values))))
    times = more.pop("times", [T0 + step for step in range(len(values))])
    return Points(keys=(key,), steps=steps, times=times, columns=[list(values)], **more)


class StorageContract:
    """Run on every backend; override `storage`."""

    @pytest.fixture
    def storage(self) -> Storage:
        """An empty storage."""
        raise NotImplementedError("give this class a storage fixture")

    # Observations

    def test_a_run_appears_with_all_that_was_said_of_it(self, storage: Storage) -> None:
        journal = Journal(storage, name="brisk-heron-42")
        journal.write(
            Started(time=T0 + 1, user="ada"),
            Params(time=T0, values={"lr": 0.001, "layers": 3, "opt": "adam", "m": {"deep": True}}),
            Tags(time=T0, set={"baseline": None, "stage": "test"}),
            Noted(time=T0, text="first try"),
            Captured(time=T0, git={"commit": "abc"}, env={"RANK": "0"}),
            Captured(time=T0, git={"dirty": True}),
            Ended(time=T0 + 9, status=Status.COMPLETED, exit_code=0),
        )
        (run,) = storage.runs()
        assert (run.id, run.name, run.experiment, run.number) == (
            journal.run,
            "brisk-heron-42",
            "contract",
            1,
        )
        assert run.status is Status.COMPLETED
        assert run.seconds == 8.0
        assert run.params == {"lr": 0.001, "layers": 3, "opt": "adam", "m/deep": True}
        assert run.tags == {"baseline": None, "stage": "test"}
        assert (run.notes, run.user, run.exit_code) == ("first try", "ada", 0)
        assert run.git == {"commit": "abc", "dirty": True}
        assert run.env == {"RANK": "0"}

    @pytest.mark.parametrize(
        "value",
        [
            0,
            -1,
            2**53 + 1,
            2**80,
            1.5,
            -0.0,
            5e-324,
            math.inf,
            -math.inf,
            True,
            False,
            None,
            "",
            "1",
            "ünï'\"%_",
            [1, "a", None],
            {"a": []},
        ],
    )
    def test_parameters_come_back_as_they_were(self, storage: Storage, value: Any) -> None:
        Journal(storage).write(Params(time=T0, values={"p": value, "other": 1}))
        (run,) = storage.runs()
        expected = {"p": value} if not (isinstance(value, dict) and value) else {"p/a": []}
        assert run.params == {**expected, "other": 1}
        assert {k: type(v) for k, v in run.params.items()} == {
            k: type(v) for k, v in {**expected, "other": 1}.items()
        }

    def test_runs_with_the_same_parameters_share_a_config(self, storage: Storage) -> None:
        for values in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3}):
            Journal(storage).write(Params(time=T0, values=values))
        counts = storage.sql("select count(*) from runs group by config_id order by 1")
        assert [row[0] for row in counts] == [1, 2]

    def test_a_delivery_lands_once_whoever_brings_it(self, storage: Storage) -> None:
        journal = Journal(storage)
        delivery = journal.delivery([journal.opened(), points([1.0, 2.0, 3.0])])
        taken: list[bool] = []
        threads = [
            threading.Thread(
                target=lambda: taken.extend(one.taken for one in storage.apply([delivery]))
            )
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken) == [False] * 7 + [True]
        assert storage.series(journal.run, "loss").values.tolist() == [1.0, 2.0, 3.0]
        assert storage.offsets([journal.id, "unknown"]) == {journal.id: 1}

    @pytest.mark.parametrize(
        "odd",
        [
            Points(keys=("a",), steps=[1], times=[T0], columns=[["text"]]),  # type: ignore[list-item]
            Points(keys=("a",), steps=[1], times=[1e300], columns=[[1.0]]),
            Points(keys=("a",), steps=[1], times=[math.nan], columns=[[1.0]]),
            Points(keys=("a",), steps=[2**63], times=[T0], columns=[[1.0]]),
            Points(keys=("a",), steps=[math.inf], times=[T0], columns=[[1.0]]),
            Points(keys=("a",), steps=[1], times=[T0], columns=[[10**400]]),
            Noted(time=1e18, text="far away"),
            Noted(time=math.nan, text="nowhen"),
            Ended(time=T0, status=Status.FAILED, exit_code=2**40),
            Ended(time=T0, status="NO_SUCH"),  # type: ignore[arg-type]
            RecordLogged(time=T0, key="r", kind="json", step=2**80, value=1),
            ArtifactLogged(time=T0, path="p", kind="file", uri="p", size=2**70),
        ],
        ids=repr,
    )
    def test_an_odd_event_keeps_nothing_else_out(self, storage: Storage, odd: Any) -> None:
        good, bad = Journal(storage), Journal(storage)
        around = [Params(time=T0, values={"lr": 0.1}), points([1.0, 2.0]), odd]
        applied = storage.apply(
            [
                good.delivery([good.opened(), points([1.0])]),
                bad.delivery([bad.opened(), *around, points([3.0], first=2)]),
            ]
        )
        assert [one.taken for one in applied] == [True, True]
        assert [len(one.problems) for one in applied] == [0, 1]
        assert storage.series(good.run, "loss").values.tolist() == [1.0]
        assert storage.series(bad.run, "loss").values.tolist() == [1.0, 2.0, 3.0]
        (run,) = storage.get_runs([bad.run])
        assert (run.params, run.status) == ({"lr": 0.1}, Status.PENDING)
        ((about, problem),) = storage.problems(bad.run)
        assert about == bad.run
        assert "cannot be stored" in problem.reason
        assert [about for about, _ in storage.problems()] == [bad.run]
        assert storage.problems(good.run) == []
        assert storage.totals()["problems"] == 1
        assert storage.check() == []

    def test_of_points_with_an_odd_one_the_others_come_in(self, storage: Storage) -> None:
        journal = Journal(storage)
        columns: Any = [[1.0] * 9, [float(n) for n in range(9)]]
        columns[0][4] = "text"
        times = [T0 + n for n in range(9)]
        times[7] = math.inf
        journal.write(Points(keys=("a", "b"), steps=[*range(9)], times=times, columns=columns))
        assert storage.series(journal.run, "a").steps.tolist() == [0, 1, 2, 3, 5, 6, 8]
        assert storage.series(journal.run, "b").steps.tolist() == [0, 1, 2, 3, 4, 5, 6, 8]
        assert len(storage.problems(journal.run)) == 3

    def test_of_values_with_an_odd_one_the_others_come_in(self, storage: Storage) -> None:
        journal = Journal(storage)
        values = {"a": 1, "odd": object(), "b": 2}
        journal.write(Params(time=T0, values=values))
        (run,) = storage.get_runs([journal.run])
        assert run.params == {"a": 1, "b": 2}
        assert len(storage.problems(journal.run)) == 1

    def test_an_odd_first_event_is_mended(self, storage: Storage) -> None:
        journal = Journal(storage, time=math.nan, attempt=2**80)
        assert journal.write(points([1.0]))
        assert storage.series(journal.run, "loss").values.tolist() == [1.0]

    @pytest.mark.parametrize(
        "text",
        ["x" * 9000, RANDOM_TEXT, "nul\0inside", "lone \udc80 surrogate", "", "ünï ☃ 𝄞"],
        ids=["long", "random", "nul", "surrogate", "empty", "unicode"],
    )
    def test_any_text_is_stored_and_found(self, storage: Storage, text: str) -> None:
        from runbase.values import plain_text

        plain = plain_text(text)
        name = text or "a-run-1"
        journal = Journal(storage, name=name, experiment=name)
        journal.write(
            Params(time=T0, values={text: 1, "value": text}),
            Tags(time=T0, set={text: "1", "value": text}),
            Noted(time=T0, text=text),
            Captured(time=T0, git={"commit": text}, args={text: text}),
            points([1.0, 2.0], key=text),
            RecordLogged(time=T0, key=text, kind="text", step=0, value=text),
        )
        storage.put_attributes("run", journal.run, "user", {text: text})
        assert storage.problems(journal.run) == []
        (run,) = storage.get_runs([journal.run])
        assert run.name == plain_text(name)
        assert run.params == {plain: 1, "value": plain}
        assert run.tags == {plain: "1", "value": plain}
        assert run.notes == plain
        assert run.git == {"commit": plain}
        assert list(run.metrics) == [plain]
        assert storage.series(journal.run, text).values.tolist() == [1.0, 2.0]
        found = storage.attributes("run", [journal.run], "user")
        assert found == {journal.run: {plain: plain}}
        assert storage.find_run(name) == journal.run
        assert storage.get_experiments([storage.find_experiment(name)])[0].runs == 1
        if text and "\0" not in text and text.isascii():
            for where in (
                f'params."{text}" = 1',
                f'metrics."{text}" = 2',
                f"tags.value = '{text}'",
            ):
                assert [found.id for found in storage.runs(Query(where=where))] == [journal.run]

    @pytest.mark.parametrize("seed", range(4))
    def test_reads_and_bulk_writes_take_turns(self, storage: Storage, seed: int) -> None:
        # On PostgreSQL, psycopg prepares what is executed often, and forgets all of it at a ROLLBACK.
        chance = random.Random(seed)
        experiment = storage.get_or_create_experiment("turns", {"objectives": []})
        run = storage.create_run(experiment, "a", {})
        kept: dict[str, dict[str, Any]] = {"user": {}, "system": {}}

        def put(kind: Any, key: str) -> None:
            scope = chance.choice(list(kept))
            kept[scope][f"k{len(kept[scope])}"] = 1
            storage.put_attributes(kind, key, scope, kept[scope])

        def fail() -> None:
            with pytest.raises(NotFound):
                storage.series(run, "nothing")
            with pytest.raises(QueryError):
                storage.sql("select nothing")

        turns = [
            lambda: put("experiment", experiment),
            lambda: put("run", run),
            lambda: storage.attributes("run", [run], "user"),
            lambda: storage.sql("select id from runs where id = :id", {"id": run}),
            storage.runs,
            lambda: storage.get_experiments([experiment]),
            lambda: storage.add("run", run, {"tags": {"a": "1", "b": "2"}}),
            fail,
        ]
        for _ in range(80):
            chance.choice(turns)()
        (record,) = storage.runs()
        assert record.id == run

    def test_numbers_count_the_experiments_runs(self, storage: Storage) -> None:
        for experiment in ("a", "b", "a"):
            Journal(storage, experiment=experiment).write()
        found = {(run.experiment, run.number) for run in storage.runs()}
        assert found == {("a", 1), ("b", 1), ("a", 2)}
        assert {e.name: e.runs for e in storage.experiments()} == {"a": 2, "b": 1}

    # State

    def test_the_latest_report_counts_in_whatever_order_it_comes(self, storage: Storage) -> None:
        run = new_id()
        later = Journal(storage, run)
        later.write(
            Started(time=T0 + 100, resumed=True), Ended(time=T0 + 200, status=Status.COMPLETED)
        )
        earlier = Journal(storage, run)
        error = {"type": "ValueError", "message": "x", "traceback": ""}
        earlier.write(
            Started(time=T0), Ended(time=T0 + 50, status=Status.FAILED, error=error, exit_code=1)
        )
        (record,) = storage.runs()
        assert record.status is Status.COMPLETED
        assert record.error is None
        assert record.seconds == 200.0
        states = [change.status.value for change in storage.history(run)]
        assert states == ["RUNNING", "FAILED", "RUNNING", "COMPLETED"]

    def test_a_resumed_run_runs_again(self, storage: Storage) -> None:
        journal = Journal(storage)
        error = {"type": "ValueError", "message": "x", "traceback": ""}
        journal.write(Started(time=T0), Ended(time=T0 + 5, status=Status.FAILED, error=error))
        assert storage.runs()[0].error == error
        Journal(storage, journal.run).write(Started(time=T0 + 9, resumed=True))
        (record,) = storage.runs()
        assert (record.status, record.error, record.ended_at) == (Status.RUNNING, None, None)

    def test_a_resumed_run_comes_later_whatever_the_clocks_say(self, storage: Storage) -> None:
        journal = Journal(storage)  # on a machine whose clock is an hour ahead
        journal.write(Started(time=T0 + 3600), Ended(time=T0 + 3700, status=Status.PREEMPTED))
        later = Journal(storage, journal.run)
        later.write(Started(time=T0 + 110, resumed=True))
        assert storage.runs()[0].status is Status.RUNNING
        later.write(Ended(time=T0 + 200, status=Status.COMPLETED))
        (record,) = storage.runs()
        assert (record.status, record.alive) == (Status.COMPLETED, False)
        states = [change.status.value for change in storage.history(journal.run)]
        assert states == ["RUNNING", "PREEMPTED", "RUNNING", "COMPLETED"]

    def test_lost_and_found_again(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(Started(time=T0), points([1.0], times=[T0 + 5]))
        (live,) = storage.live_runs()
        assert (live.id, live.lost, live.seen) == (journal.run, False, T0 + 5)
        assert live.processes == [Process("elsewhere", 1, "1", "boot ns")]
        storage.mark_lost(journal.run, live.seen, "gone")
        (record,) = storage.runs()
        assert record.status is Status.NODE_FAIL
        assert record.ended_at is not None
        assert record.ended_at.timestamp() == T0 + 5
        assert storage.live_runs()[0].lost
        storage.mark_alive(journal.run, T0 + 60)
        assert storage.runs()[0].status is Status.RUNNING
        storage.mark_lost(journal.run, T0 + 70, "gone")
        journal.write(Ended(time=T0 + 65, status=Status.COMPLETED))
        assert storage.runs()[0].status is Status.COMPLETED
        storage.mark_lost(journal.run, T0 + 90, "gone")
        assert storage.runs()[0].status is Status.COMPLETED
        assert storage.live_runs() == []

    def test_alive_by_the_databases_clock(self, storage: Storage) -> None:
        began = (
            time.time() - 3600
        )  # a host whose clock is an hour late, or nobody there for so long
        journals = [Journal(storage, time=began) for _ in range(3)]
        for journal in journals:
            journal.write(Started(time=began), points([1.0], times=[began]))
        journals[2].write(Ended(time=time.time(), status=Status.COMPLETED))
        first, second, ended = (journal.run for journal in journals)
        assert not any(run.alive for run in storage.runs())
        assert storage.live_runs()[0].silent is None

        storage.heartbeat([first, ended])
        assert {run.id: run.alive for run in storage.runs()} == {
            first: True,
            second: False,
            ended: False,
        }
        for where in ("alive", "alive = true", "alive = 1", "not not alive", "alive is true"):
            assert [run.id for run in storage.runs(Query(where=where))] == [first]
        for where in ("not alive", "alive = false", "alive <> 1"):
            assert storage.count_runs(Query(where=where)) == 2
        assert storage.runs(Query(order_by="alive desc, id"))[0].id == first
        silent = {run.id: run.silent for run in storage.live_runs()}
        assert silent[first] == pytest.approx(0, abs=30)
        seen = storage.get_runs([first])[0].seen_at
        assert seen is not None
        assert seen.timestamp() > began + 3000

    def test_a_beat_finds_the_lost(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(Started(time=T0))
        storage.mark_lost(journal.run, T0, "gone")
        storage.heartbeat([journal.run, "0" * 32])
        assert storage.runs()[0].status is Status.RUNNING
        assert storage.runs()[0].alive

    def test_a_status_in_between(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(
            Started(time=T0), StatusChanged(time=T0 + 1, status=Status.SUSPENDED, reason="nice")
        )
        assert storage.runs()[0].status is Status.SUSPENDED

    # Points

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

    def test_types_and_telemetry(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(
            Types(time=T0, types={"loss": "time"}),
            points([T0, T0 + 1]),
            points([50.0], key="cpu", kind="telemetry"),
        )
        (run,) = storage.runs()
        assert run.metrics["loss"].type == "time"
        assert "cpu" not in run.metrics
        assert storage.series(journal.run, "cpu", kind="telemetry").values.tolist() == [50.0]
        assert storage.sql("select key, value from telemetry") == [("cpu", 50.0)]

    def test_records_and_artifacts(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(
            RecordLogged(time=T0, key="greeting", kind="text", step=3, value="hi"),
            RecordLogged(time=T0, key="plot", kind="image", step=4, path="media/plot.4.png"),
            ArtifactLogged(time=T0, path="m/a.pt", kind="model", uri="artifacts/m/a.pt", size=3),
            ArtifactLogged(time=T0 + 1, path="m/a.pt", kind="model", uri="x", size=4, step=7),
        )
        first, second = storage.records(journal.run)
        assert (first["key"], first["value"], first["step"]) == ("greeting", "hi", 3)
        assert (second["path"], second["value"]) == ("media/plot.4.png", None)
        (artifact,) = storage.artifacts(journal.run)
        assert (artifact.size, artifact.step) == (4, 7)

    # Reading

    def test_finding_a_run(self, storage: Storage) -> None:
        ids = ["aaa" + "0" * 29, "aab" + "0" * 29, "b" * 32]
        for number, run in enumerate(ids):
            Journal(storage, run, name=f"name-{number}", time=T0 + number).write()
        assert storage.find_run("b") == ids[2]
        assert storage.find_run("aab") == ids[1]
        assert storage.find_run("name-1") == ids[1]
        with pytest.raises(Ambiguous, match="name-0"):
            storage.find_run("aa")
        with pytest.raises(NotFound, match="did you mean 'name-2'"):
            storage.find_run("nam-2")

    def test_unknown_metric_and_experiment(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(points([1.0], key="train/loss"))
        with pytest.raises(NotFound, match="did you mean 'train/loss'"):
            storage.series(journal.run, "train/los")
        with pytest.raises(NotFound, match="did you mean 'contract'"):
            storage.find_experiment("contrakt")
        with pytest.raises(UsageError, match="resolution"):
            storage.envelope(journal.run, "train/loss", resolution=0)

    def test_filters(self, storage: Storage) -> None:
        for number in range(6):
            journal = Journal(storage, name=f"run-{number}", time=T0 + number)
            tags: dict[str, str | None] = {"even": None} if number % 2 == 0 else {"stage": "test"}
            journal.write(
                Started(time=T0 + number),
                Params(time=T0, values={"lr": 10.0**-number, "opt": "adam" if number else "SGD"}),
                Tags(time=T0, set=tags),
                points([1.0, float(number)], key="val/acc"),
            )

        def names(where: str | None = None, order_by: str = "name") -> list[int]:
            return [int(r.name[-1]) for r in storage.runs(Query(where=where, order_by=order_by))]

        assert names() == [0, 1, 2, 3, 4, 5]
        assert names("params.lr < 0.001") == [4, 5]
        assert names('params.lr <= 1e-3 and metrics."val/acc" < 5') == [3, 4]
        assert names("params.opt = 'SGD' or name = 'run-5'") == [0, 5]
        assert names("params.opt like 's%'") == []
        assert names("params.opt ilike 's%'") == [0]
        assert names("not (tags.even is null)") == [0, 2, 4]
        assert names("tags.stage = 'test' and name in ('run-1', 'run-2')") == [1]
        assert names('metrics."val/acc".max >= 4 and metrics."val/acc".min = 1') == [4, 5]
        assert names('metrics."val/acc" between 2 and 3') == [2, 3]
        assert names('metrics."val/acc" * 2 = 8') == [4]
        assert names("metrics.nothing > 1") == []
        assert names("status = 'RUNNING' and experiment = 'contract'") == [0, 1, 2, 3, 4, 5]
        assert names(order_by='metrics."val/acc" desc') == [5, 4, 3, 2, 1, 0]
        assert names(order_by="params.lr") == [5, 4, 3, 2, 1, 0]
        assert names(order_by="tags.even, name desc") == [4, 2, 0, 5, 3, 1]
        assert [run.name for run in storage.runs(Query(order_by="name", limit=2, offset=3))] == [
            "run-3",
            "run-4",
        ]

    @pytest.mark.parametrize(
        ("where", "message"),
        [
            ("params.lr <", "character"),
            ("nonsense.x = 1", "did you mean|known"),
            ("statu = 'x'", "did you mean 'status'"),
            ("exists (select 1)", "not part of the filter language"),
            ("load_extension('x') = 1", "not part of the filter language"),
            ("id in (select id from runs)", "list of values"),
        ],
    )
    def test_filters_that_cannot_be(self, storage: Storage, where: str, message: str) -> None:
        with pytest.raises(FilterError, match=message):
            storage.runs(Query(where=where))

    def test_values_are_bound(self, storage: Storage) -> None:
        evil = "x' or 1=1; drop table runs; --"
        journal = Journal(storage, name=evil, experiment=evil)
        journal.write(Params(time=T0, values={evil: evil}), points([1.0], key=evil))
        quoted = evil.replace("'", "''")
        assert len(storage.runs(Query(where=f"name = '{quoted}'"))) == 1
        assert (
            len(
                storage.runs(
                    Query(where=f'metrics."{evil}" = 1 and params."{evil}" = \'{quoted}\'')
                )
            )
            == 1
        )
        assert len(storage.runs(Query(where="name = 'other'"))) == 0
        assert storage.find_run(evil) == journal.run

    def test_sql_reads_and_only_reads(self, storage: Storage) -> None:
        Journal(storage).write(points([1.0, 2.0]))
        rows = storage.sql("select key, count(*) as points from metrics group by key")
        assert rows == [("loss", 2)]
        assert rows.columns == ("key", "points")
        assert rows.to_dicts() == [{"key": "loss", "points": 2}]
        with pytest.raises(QueryError, match="write=True"):
            storage.sql("delete from runs")
        with pytest.raises(QueryError):
            storage.sql("select nothing from nowhere")
        storage.sql("update runs set notes = 'changed'", write=True)
        assert storage.runs()[0].notes == "changed"

    def test_it_is_sound(self, storage: Storage) -> None:
        Journal(storage).write(points([1.0, 2.0]))
        assert storage.check() == []
        assert storage.totals()["points"] == 2
        assert "create view metrics" in storage.schema().lower()
