"""What a store promises about trials, as tests: the same on every backend, sync and async. Needs pytest.

class TestMine(TrialContract):
    @pytest.fixture
    def store(self): ...     # an empty runbase.Store, or anything with its methods

Where its methods are awaited, override `do`.
"""

# pyright: basic
import inspect
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import runbase
from runbase.errors import NotFound, UsageError
from runbase.events import Ended, Started
from runbase.space import Categorical, Float, Int
from runbase.status import Status
from runbase.testing.contract import Journal, points

LONG_AGO = "2001-01-01T00:00:00.000000+00:00"


class TrialContract:
    """Run on every backend, sync and async; override `store`."""

    @pytest.fixture
    def store(self) -> Any:
        """An empty store."""
        raise NotImplementedError("give this class a store fixture")

    def do(self, store: Any, result: Any) -> Any:
        """The result of a call, awaited where that is needed."""
        assert not inspect.isawaitable(result)
        return result

    def sync(self, store: Any) -> Any:
        """The store itself, behind what `store` may be."""
        return store

    @pytest.fixture
    def queue(self, store: Any) -> "Queue":
        """An experiment with an empty queue."""
        return Queue(self, store, store.create_experiment("tuning"))

    # One trial

    def test_a_trial_from_queue_to_end(self, queue: "Queue") -> None:
        trial = queue.new_trial({"lr": 0.1, "opt": {"name": "adam"}}, tags=["first"])
        assert (trial.status, trial.number, trial.attempt) == (Status.PENDING, 1, 1)
        assert trial.params == {"lr": 0.1, "opt/name": "adam"}
        assert trial.tags == {"first": None}
        assert trial.queued_at is not None
        claim = queue.claim_trial("me", lease=60)
        assert (claim.id, claim.number, claim.attempt, claim.runner) == (trial.id, 1, 1, "me")
        assert claim.params == trial.params
        running = queue.store.run(trial.id)
        assert (running.status, running.runner) == (Status.RUNNING, "me")
        assert running.lease_until > datetime.now(UTC) + timedelta(seconds=30)
        assert queue.claim_trial("you") is None
        assert queue.do(claim.renew())
        assert queue.do(claim.finish(metrics={"loss": 0.25, "deep": {"acc": 1}}))
        done = queue.store.run(trial.id)
        assert (done.status, done.lease_until, done.attempt) == (Status.COMPLETED, None, 1)
        assert done.ended_at >= done.started_at
        assert {k: m.last for k, m in done.metrics.items()} == {"loss": 0.25, "deep/acc": 1}
        assert [change.status.value for change in done.history] == [
            "PENDING",
            "RUNNING",
            "COMPLETED",
        ]
        assert not queue.do(claim.finish("FAILED")), "it ends once"
        assert not queue.do(claim.renew())
        assert queue.store.run(trial.id).status is Status.COMPLETED

    def test_how_it_may_end(self, queue: "Queue") -> None:
        queue.new_trials([{}, {}])
        claim = queue.claim_trial()
        with pytest.raises(UsageError, match="not a final status"):
            queue.do(claim.finish("RUNNING"))
        assert queue.do(claim.finish("TIMEOUT", error="ten minutes"))
        run = queue.store.run(claim.id)
        assert (run.status, run.error["message"]) == (Status.TIMEOUT, "ten minutes")

    def test_bad_input(self, queue: "Queue") -> None:
        with pytest.raises(UsageError, match="retries"):
            queue.new_trial(retries=-1)
        with pytest.raises(UsageError, match="lease"):
            queue.claim_trial(lease=0)
        with pytest.raises(UsageError, match="not a date"):
            queue.new_trial(at="tomorrow")
        with pytest.raises(NotFound, match="no trial 7"):
            queue.trial(7)
        assert queue.new_trials([]) == []

    # The queue

    def test_which_comes_first(self, queue: "Queue") -> None:
        now = time.time()
        for number, options in enumerate(
            [{}, {"priority": 5}, {"at": now + 3600, "priority": 9}, {"runner": "you"}, {"at": now - 9}]
        ):  # fmt: skip
            queue.new_trial({"n": number}, **options)
        assert [run.params["n"] for run in queue.pending_trials()] == [1, 0, 3, 4]
        later = queue.pending_trials(at=datetime.now(UTC) + timedelta(hours=2), assigned=False)
        assert [run.params["n"] for run in later] == [2, 1, 0, 4]
        assert [run.params["n"] for run in queue.pending_trials(assigned=True)] == [3]
        assert [queue.claim_trial("me").params["n"] for _ in range(3)] == [1, 0, 4]
        assert queue.claim_trial("me") is None
        assert queue.claim_trial("you").params["n"] == 3
        assert queue.pending_trials() == []
        assert len(queue.pending_trials(running=True)) == 4

    def test_many_at_once(self, queue: "Queue") -> None:
        ids = queue.new_trials([{"lr": n % 7, "b": True} for n in range(700)], priority=1)
        assert len(set(ids)) == 700
        numbers = [run.number for run in queue.trials()]
        assert numbers == list(range(1, 701))
        assert queue.trial(9).id == ids[8]
        assert [row[0] for row in queue.store.sql("select count(*) from configs")] == [7]
        assert queue.trials("params.lr = 3", limit=2)[0].params == {"lr": 3, "b": True}

    def test_numbers_without_a_gap_and_each_claimed_once(self, queue: "Queue") -> None:
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: queue.new_trial({"n": n}), range(64)))
            assert [run.number for run in queue.trials()] == list(range(1, 65))
            claims = list(pool.map(lambda n: queue.claim_trial(f"r{n % 8}"), range(80)))
        got = [claim for claim in claims if claim is not None]
        assert sorted(claim.number for claim in got) == list(range(1, 65))

    # What goes wrong

    def expire(self, queue: "Queue", trial: str) -> None:
        """As if its lease had run out long ago."""
        queue.store.sql(
            "update runs set lease_until = :then where id = :id",
            {"then": LONG_AGO, "id": trial},
            write=True,
        )

    def test_a_claim_that_runs_out(self, queue: "Queue") -> None:
        trial = queue.new_trial({"lr": 0.1}, retries=1)
        first = queue.claim_trial("dead")
        self.expire(queue, trial.id)
        second = queue.claim_trial("alive")
        assert (second.id, second.attempt) == (trial.id, 2)
        assert not queue.do(first.renew())
        assert not queue.do(first.finish()), "the first attempt ends nothing any more"
        assert not queue.do(first.release())
        run = queue.store.run(trial.id)
        assert (run.status, run.runner, run.attempt) == (Status.RUNNING, "alive", 2)
        assert "dead's lease expired" in str([change.reason for change in run.history])
        self.expire(queue, trial.id)
        assert queue.claim_trial("third") is None, "its one retry is used up"
        run = queue.store.run(trial.id)
        assert (run.status, run.attempt, run.lease_until) == (Status.NODE_FAIL, 2, None)
        assert queue.do(second.finish()) is False

    def test_an_expired_claim_that_nobody_took_is_still_held(self, queue: "Queue") -> None:
        trial = queue.new_trial()
        claim = queue.claim_trial()
        self.expire(queue, trial.id)
        assert queue.do(claim.renew()), "it was only late"
        assert queue.claim_trial("other") is None

    def test_given_back(self, queue: "Queue") -> None:
        trial = queue.new_trial(retries=0)
        claim = queue.claim_trial()
        assert queue.do(claim.release("lunch"))
        waiting = queue.store.run(trial.id)
        assert (waiting.status, waiting.attempt, waiting.runner) == (Status.PENDING, 2, None)
        assert (waiting.ended_at, waiting.history[-1].reason) == (None, "lunch")
        again = queue.claim_trial()
        assert again.attempt == 2
        self.expire(queue, trial.id)
        assert queue.claim_trial() is None
        assert queue.store.run(trial.id).status is Status.NODE_FAIL, "no retry was meant"

    def test_cancelled(self, queue: "Queue") -> None:
        waiting, running = queue.new_trials([{}, {}])
        assert queue.cancel(waiting, "changed my mind")
        assert not queue.cancel(waiting)
        claim = queue.claim_trial()
        assert claim.id == running
        assert queue.cancel(claim.number)
        assert not queue.do(claim.renew())
        assert not queue.do(claim.finish())
        run = queue.store.run(running)
        assert (run.status, run.lease_until) == (Status.CANCELLED, None)
        assert queue.claim_trial() is None

    def test_requeued_and_pruned(self, queue: "Queue") -> None:
        trial = queue.new_trial(retries=0)
        queue.do(queue.claim_trial().finish("FAILED", error="boom"))
        again = queue.requeue(trial, "fixed it")
        assert (again.status, again.attempt, again.error) == (Status.PENDING, 2, None)
        claim = queue.claim_trial()
        assert claim.id == trial.id
        assert queue.prune(claim.id).status is Status.PRUNED
        run = queue.store.create_run("tuning", params={"x": 1})
        queue.requeue(run)
        assert queue.claim_trial().id == run.id, "any run can be queued"

    # What was learnt

    def test_several_may_replace_them_at_once(self, queue: "Queue", store: Any) -> None:
        del queue
        wanted: dict[str, Any] = {
            "space": {"lr": Float(0, 1), "n": Int(1, 9)},
            "limits": {"m": (None, 5.0)},
        }

        def change(_: int) -> None:
            self.sync(store).update_experiment("tuning", objectives={"loss": "min"}, **wanted)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(change, range(40)))
        record = self.do(store, store.experiment("tuning"))
        assert (record.space, record.limits) == (wanted["space"], wanted["limits"])
        assert [o.metric for o in record.objectives] == ["loss"]

    def test_limits_space_and_objectives_are_kept(self, queue: "Queue") -> None:
        space = {
            "lr": Float(1e-5, 1.0, log=True, default=1e-3),
            "layers": Int(1, 9, step=2),
            "opt": Categorical(["sgd", "adam", None, 3], default="sgd"),
            "momentum": Float(0, 1, when={"opt": ["sgd"]}),
        }
        queue.change(space=space, limits={"latency": (None, 5.0)}, objectives={"acc": "max"})
        record = queue.store.experiment("tuning")
        assert record.space == space
        assert list(record.space) == list(space)
        assert record.limits == {"latency": (None, 5.0)}
        for wrong, match in [
            ({"lr": Float(0, 1, log=True)}, "logarithm"),
            ({"n": Int(3, 1)}, "from 3 to 1"),
            ({"n": Int(1, 3, default=9)}, "default of 'n'"),
            ({"c": Categorical([])}, "no choices"),
            ({"m": Float(0, 1, when={"opt": ["sgd"]})}, "depends on 'opt'"),
            ({"x": (0, 1)}, "use Int, Float or Categorical"),
        ]:
            with pytest.raises(UsageError, match=match):
                queue.change(space=wrong)

    def test_what_an_optimizer_begins_from(self, queue: "Queue") -> None:
        with pytest.raises(UsageError, match="no objectives"):
            queue.load()
        queue.change(objectives={"loss": "min"})
        queue.new_trials([{"lr": n / 10} for n in range(5)])
        for status in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"):
            claim = queue.claim_trial()
            queue.do(claim.finish(status, metrics={"loss": claim.number * 1.5, "other": 1}))
        found = queue.load()
        assert found.numbers == [1, 2, 4]
        assert [s.value for s in found.statuses] == ["COMPLETED", "FAILED", "TIMEOUT"]
        assert found.params == [{"lr": 0.0}, {"lr": 0.1}, {"lr": 0.3}]
        assert found.scores == [{"loss": 1.5}, None, None]
        assert found.imputed == [frozenset()] * 3
        assert queue.load(found.after).numbers == []
        assert queue.load(2).numbers == [4]
        queue.do(queue.claim_trial().finish(metrics={"loss": 0.5}))
        assert queue.load(found.after).numbers == [5]
        assert queue.load(metrics=["other"]).scores[0] == {"other": 1}
        frame = found.to_pandas()
        assert list(frame["params.lr"]) == [0.0, 0.1, 0.3]
        assert frame["metrics.loss"][0] == 1.5

    def test_merged_experiments(self, queue: "Queue") -> None:
        queue.change(
            objectives={"loss": "min"},
            space={"lr": Float(0, 1), "depth": Int(1, 9), "cache": Int(0, 9, default=4)},
            config={"unused": 1},
        )
        queue.new_trial({"lr": 0.1, "depth": 2, "cache": 1})
        queue.do(queue.claim_trial().finish(metrics={"loss": 1.0}))
        other = queue.other("earlier", objectives={"loss": "min"}, config={"depth": 7})
        other.new_trials([{"lr": 0.5, "gone": True}, {"lr": 0.6, "depth": 3, "cache": 2}])
        for loss in (2.0, 3.0):
            other.do(other.claim_trial().finish(metrics={"loss": loss}))
        assert [e.name for e in queue.merge("earlier")] == ["earlier"]
        found = queue.load()
        assert found.params == [
            {"lr": 0.1, "depth": 2, "cache": 1},
            {"lr": 0.5, "depth": 7, "cache": 4},
            {"lr": 0.6, "depth": 3, "cache": 2},
        ]
        assert found.imputed == [frozenset(), {"depth", "cache"}, frozenset()]
        assert found.scores == [{"loss": 1.0}, {"loss": 2.0}, {"loss": 3.0}]
        assert queue.load(merged=False).numbers == [1]
        assert queue.load(found.after).numbers == []
        poor = queue.other("poor", objectives={"loss": "min"})
        poor.new_trial({"lr": 0.9})
        poor.do(poor.claim_trial().finish(metrics={"loss": 4.0}))
        queue.merge("poor")
        found = queue.load()
        assert len(found) == 3
        assert found.left_out == 1, "nobody knows its depth"

    def test_what_is_around_an_experiment_is_copied(self, queue: "Queue", tmp_path: Any) -> None:
        queue.change(objectives={"loss": "min"}, space={"lr": Float(0, 1)}, limits={"m": (0, 1)})
        other = queue.other("earlier", objectives={"loss": "min"})
        other.new_trial({"lr": 0.5}, config={"host": "a"}, priority=7)
        queue.store.add_telemetry(other.trial(1), [(1.0, "load", "high")])
        queue.merge("earlier")
        here = self.sync(queue.store)
        with runbase.open(tmp_path / "copy.db", sync=False) as copy:
            here.copy_to(copy)
            there = copy.experiment("tuning")
            assert (there.space, there.limits) == ({"lr": Float(0, 1)}, {"m": (0, 1)})
            assert [e.name for e in there.merged()] == ["earlier"]
            claim = copy.experiment("earlier").claim_trial()
            assert claim is not None
            assert (claim.params, claim.config, claim.run.priority) == (
                {"lr": 0.5},
                {"host": "a"},
                7,
            )
            assert list(copy.telemetry_frame(claim.id)["value"]) == ["high"]

    def test_incompatible_experiments_are_refused(self, queue: "Queue") -> None:
        queue.change(objectives={"loss": "min"})
        queue.new_trial({"lr": 0.1, "opt": "adam"})
        queue.do(queue.claim_trial().finish(metrics={"loss": 1.0}))
        for name, params, direction, match in [
            ("up", {"lr": 0.1}, "max", "'loss' is max"),
            ("types", {"lr": "high", "opt": "adam"}, "min", "'lr' is text there and a number here"),
            ("strange", {"size": 3}, "min", "no parameter in common"),
        ]:
            other = queue.other(name, objectives={"loss": direction})
            other.new_trial(params)
            other.do(other.claim_trial().finish(metrics={"loss": 1.0}))
            with pytest.raises(UsageError, match=match):
                queue.merge(name)
        with pytest.raises(UsageError, match="into itself"):
            queue.merge("tuning")
        assert queue.merged() == []

    def test_the_best(self, queue: "Queue") -> None:
        queue.change(objectives={"loss": "min", "speed": "max"}, limits={"memory": (None, 10)})
        rows = [(3, 1, 5), (1, 1, 5), (1, 3, 50), (2, 2, 5), (5, 5, 5), (4, 2, 5), (0, 9, None)]
        queue.new_trials([{"n": n} for n in range(len(rows))])
        for loss, speed, memory in rows:
            metrics = {"loss": loss, "speed": speed}
            more = {} if memory is None else {"memory": memory}
            queue.do(queue.claim_trial().finish(metrics=metrics | more))
        assert [s.number for s in queue.best_trials(3)] == [2, 4, 5]
        assert [s.number for s in queue.pareto_front()] == [2, 4, 5]
        assert queue.progress() == [(1, 2), (2, 0), (4, 0), (5, 0), (6, 0)]
        best = queue.best_trials()[0]
        assert (best.values, best.params) == ({"loss": 1, "speed": 1}, {"n": 1})

    def test_repeated_measurements(self, queue: "Queue") -> None:
        queue.change(objectives={"latency": "min"})
        queue.new_trials([{"c": 1}, {"c": 2}, {"c": 1}, {"c": 1}])
        for value, status in [
            (1.0, "COMPLETED"),
            (9.0, "COMPLETED"),
            (3.0, "COMPLETED"),
            (0, "FAILED"),
        ]:
            queue.do(queue.claim_trial().finish(status, metrics={"latency": value}))
        first, second = queue.groups()
        assert (first.number, first.params, len(first.runs)) == (1, {"c": 1}, 3)
        assert first.failed == pytest.approx(1 / 3)
        spread = first.metrics["latency"]
        assert (spread.count, spread.mean, spread.std) == (2, 2.0, pytest.approx(2**0.5))
        assert spread.high - spread.mean == pytest.approx(12.706, abs=1e-3), (
            "Student's, of one degree"
        )
        lone = second.metrics["latency"]
        assert (lone.mean, lone.std, lone.low) == (9.0, None, None)

    def test_what_else_a_runner_is_to_know(self, queue: "Queue") -> None:
        queue.new_trial({"lr": 1}, config={"host": "a", "port": 5432, "dry": None})
        claim = queue.claim_trial()
        assert claim.config == {"host": "a", "port": 5432, "dry": None}
        assert claim.params == {"lr": 1}
        with pytest.raises(UsageError, match="plain"):
            queue.new_trial(config={"host": object()})

    def test_telemetry_from_elsewhere(self, queue: "Queue") -> None:
        trial = queue.new_trial()
        at = datetime(2026, 11, 21, 12, tzinfo=UTC)
        rows: list[Any] = [
            (at, "load", 0.5),
            (at + timedelta(microseconds=1), "load", 7),
            (at, "mode", "turbo"),
            (at, "ok", True),
            (at, "gone", None),
        ]
        queue.store.add_telemetry(trial, rows)
        queue.store.add_telemetry(trial, [*rows, (at, "load", 99)])
        frame = queue.store.telemetry_frame(trial)
        assert len(frame) == 5
        assert frame["time"].min() == at
        found = {(row.key, row.time.microsecond): row.value for row in frame.itertuples()}
        assert found[("load", 0)] == 0.5
        assert found[("load", 1)] == 7
        assert type(found[("load", 1)]) is int
        assert found[("mode", 0)] == "turbo"
        assert found[("ok", 0)] is True
        assert found[("gone", 0)] is None
        many = [(at.timestamp() + n, f"m{n % 3}", n / 2) for n in range(3000)]
        queue.store.add_telemetry(trial, many)
        queue.store.add_telemetry(trial, many)
        assert len(queue.store.telemetry_frame([trial], "m1")) == 1000
        assert "m1" in queue.store.keys(trial, "telemetry")
        assert queue.store.telemetry(trial, "m1").values[-1] == 2998 / 2
        count = queue.store.sql("select count(*), max(value) from telemetry where key = 'm2'")
        assert tuple(count[0]) == (1000, 1499.5)

    # Trials that keep journals

    def test_lists_of_trials(self, queue: "Queue", store: Any) -> None:
        for n in (1, 2, 1):
            queue.new_trial({"x": n, "y": "a"}, at=datetime(2026, 1, n, tzinfo=UTC))
        claim = queue.claim_trial("me", lease=60)
        sync = self.sync(store)
        storage, experiment = sync.storage, sync.experiment("tuning").id
        rows = storage.trial_rows(experiment)
        assert [(row.number, row.status) for row in rows] == [
            (1, Status.RUNNING),
            (2, Status.PENDING),
            (3, Status.PENDING),
        ]
        assert rows[0].claimed_until is not None
        assert rows[1].claimed_until is None
        assert rows[1].began == datetime(2026, 1, 2, tzinfo=UTC)
        assert storage.trial_rows(experiment, 2) == [rows[1]]
        assert storage.trial_rows(experiment, 4) == []
        assert rows[0].config == rows[2].config != rows[1].config
        configs = storage.configs([rows[0].config, rows[1].config, 10**9])
        assert list(configs.values()) == [{"x": 1, "y": "a"}, {"x": 2, "y": "a"}]
        first = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
        assert [row.number for row in storage.due_trials(experiment, first)] == [3]
        assert [row.number for row in storage.due_trials(experiment, time.time())] == [1, 2, 3]
        queue.do(claim.finish(metrics={"loss": 1.0}))
        assert [row.number for row in storage.due_trials(experiment, time.time())] == [2, 3]
        assert storage.trial_rows(experiment, 1)[0].ended is not None

    def test_a_late_end_of_an_earlier_attempt(self, queue: "Queue") -> None:
        """Whatever the clocks say, and in whatever order journals come in."""
        trial = queue.new_trial()
        queue.claim_trial("first")
        self.expire(queue, trial.id)
        queue.claim_trial("second")
        now = time.time()
        storage = self.sync(queue.store).storage
        old = Journal(storage, trial.id, experiment="tuning", time=now, attempt=1)
        old.write(
            Started(time=now + 50), points([1.0, 2.0]), Ended(time=now + 60, status=Status.FAILED)
        )
        run = queue.store.run(trial.id)
        assert (run.status, run.attempt) == (Status.RUNNING, 2)
        assert run.metrics["loss"].count == 2, "what it logged is kept"
        new = Journal(storage, trial.id, experiment="tuning", time=now, attempt=2)
        new.write(Started(time=now - 3600), Ended(time=now - 3500, status=Status.COMPLETED))
        assert queue.store.run(trial.id).status is Status.RUNNING, "the claim came after it"
        new.write(Ended(time=now + 1, status=Status.COMPLETED))
        run = queue.store.run(trial.id)
        assert (run.status, run.error, run.lease_until) == (Status.COMPLETED, None, None)

    def test_a_trial_whose_process_died_waits_again(self, queue: "Queue") -> None:
        trial = queue.new_trial(retries=1)
        queue.claim_trial("first")
        storage = self.sync(queue.store).storage
        storage.mark_lost(trial.id, time.time(), "its process is gone")
        run = queue.store.run(trial.id)
        assert (run.status, run.attempt) == (Status.PENDING, 2)
        queue.claim_trial("second")
        storage.mark_lost(trial.id, time.time(), "its process is gone")
        assert queue.store.run(trial.id).status is Status.NODE_FAIL


class Queue:
    """An experiment whose calls are awaited where that is needed."""

    def __init__(self, contract: TrialContract, store: Any, experiment: Any) -> None:
        self._contract, self.store, self._experiment = contract, store, experiment

    def do(self, result: Any) -> Any:
        return self._contract.do(self.store, result)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._experiment, name)
        return lambda *args, **kwargs: self.do(method(*args, **kwargs))

    def change(self, **fields: Any) -> None:
        """Set fields of the experiment, and read it again."""
        self._experiment = self.store.update_experiment(self._experiment, **fields)

    def other(self, name: str, **fields: Any) -> "Queue":
        """Another experiment."""
        return Queue(self._contract, self.store, self.store.create_experiment(name, **fields))
