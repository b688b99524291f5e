"""What to try next, on both databases, sync and async."""

import inspect
import math
from typing import Any

import optuna
import pytest

from runbase.errors import UsageError
from runbase.space import Categorical, Float, Int
from tests.integration.backends import AsyncPostgres, AsyncSqlite, Postgres, Sqlite

SPACE = {
    "x": Float(-5, 5),
    "n": Int(1, 64, log=True),
    "kind": Categorical(["a", "b", None]),
    "deep": Int(2, 8, step=2, when={"kind": ["b"]}),
}


def score(params: Any) -> float:
    return (params["x"] - 2) ** 2 + abs(math.log2(params["n"]) - 3) + (params["kind"] != "b")


class SuggestContract:
    def do(self, store: Any, result: Any) -> Any:
        assert not inspect.isawaitable(result)
        return result

    @pytest.fixture
    def make(self, store: Any) -> Any:
        def experiment(name: str = "tuning", **fields: Any) -> Any:
            given = {"space": SPACE, "objectives": {"loss": "min"}, **fields}
            return self.do(store, store.create_experiment(name, **given))

        return experiment

    def tell(self, store: Any, experiment: Any, params: Any, metrics: Any = None) -> Any:
        """A trial of these parameters, brought to its end."""
        trial = self.do(store, experiment.new_trial(params))
        claim = self.do(store, experiment.claim_trial("me"))
        found = {"loss": score(params)} if metrics is None else metrics
        self.do(store, claim.finish("COMPLETED" if found else "FAILED", metrics=found))
        return trial

    def ask(self, store: Any, experiment: Any, **options: Any) -> Any:
        return self.do(store, experiment.suggest(**options))

    def test_at_random_within_the_space(self, store: Any, make: Any) -> None:
        experiment = make()
        found = [self.ask(store, experiment) for _ in range(50)]
        assert len({each["x"] for each in found}) == 50
        assert {each["kind"] for each in found} == {"a", "b", None}
        assert all(("deep" in each) == (each["kind"] == "b") for each in found)
        first = self.ask(store, experiment, seed=7)
        assert first == self.ask(store, experiment, seed=7)
        self.do(store, experiment.new_trial(first))
        assert first != self.ask(store, experiment, seed=7)  # the next of the sequence

    def test_a_grid_is_walked_once(self, store: Any, make: Any) -> None:
        space = {
            "lr": Float(0.1, 0.3, step=0.1),
            "kind": Categorical(["a", "b"]),
            "deep": Int(2, 4, step=2, when={"kind": ["b"]}),
        }
        experiment = make(space=space)
        walked = []
        while (found := self.ask(store, experiment, sampler="grid")) is not None:
            self.do(store, experiment.new_trial(found))
            walked.append(dict(found))
        assert len(walked) == 9  # 3 rates, and "a" or one of two depths
        assert walked[:4] == [
            {"lr": 0.1, "kind": "a"},
            {"lr": 0.1, "kind": "b", "deep": 2},
            {"lr": 0.1, "kind": "b", "deep": 4},
            {"lr": 0.2, "kind": "a"},
        ]
        assert self.ask(store, experiment, sampler="grid") is None

    def test_tpe_learns_from_the_record(self, store: Any, make: Any) -> None:
        pytest.importorskip("optuna")
        experiment = make()
        for _ in range(40):
            params = self.ask(store, experiment, sampler="optuna:tpe", seed=3, n_startup_trials=8)
            self.tell(store, experiment, params)
        values = [trial.metrics["loss"].last for trial in self.do(store, experiment.trials())]
        assert sorted(values[20:])[10] < sorted(values[:8])[4] / 2
        assert min(values) < 1

    @pytest.mark.parametrize("sampler", ["cmaes", "nsgaii", "qmc", "random", "bruteforce"])
    def test_every_sampler_goes_on_from_its_notes(
        self, store: Any, make: Any, sampler: str
    ) -> None:
        experiment = make(space={"x": Float(-5, 5, step=0.5), "n": Int(1, 9)})
        options = {"population_size": 4} if sampler == "nsgaii" else {}
        points = []
        for _ in range(12):
            params = self.ask(store, experiment, sampler=f"optuna:{sampler}", seed=1, **options)
            points.append(tuple(params.values()))
            self.tell(store, experiment, params, {"loss": params["x"] ** 2 + params["n"]})
        assert len(set(points)) > 8
        notes = self.do(store, store.sql("select distinct scope, key from attributes"))
        if sampler == "nsgaii":
            generations = "select max(number) from attributes where key like '%generation'"
            assert self.do(store, store.sql(generations))[0][0] >= 1
        if sampler == "cmaes":
            assert any("cma:" in key for _, key in notes)
        if sampler == "qmc":
            counted = self.do(store, store.sql("select number from experiment_attributes"))
            assert max(row[0] for row in counted) >= 10

    def test_waiting_trials_failed_ones_and_merged_ones_count(self, store: Any, make: Any) -> None:
        old = make("old")
        for n in range(15):
            self.tell(store, old, {"x": 2.0 + n / 100, "n": 8, "kind": "b", "deep": 4})
        for n in range(15):
            self.tell(store, old, {"x": -4.0 - n / 100, "n": 8, "kind": "a"})
        experiment = make()
        self.tell(store, experiment, {"x": 0.0, "n": 8, "kind": "a"}, {})  # it fails
        self.do(store, experiment.new_trial({"x": 1.0, "n": 8, "kind": "a"}))  # it waits
        self.do(store, experiment.merge("old"))
        near = [
            self.ask(store, experiment, sampler="optuna:TPESampler", seed=n)["x"] for n in range(9)
        ]
        assert sum(x > 0 for x in near) >= 7

    def test_limits_and_several_objectives(self, store: Any, make: Any) -> None:
        experiment = make(
            space={"x": Float(0, 1)},
            objectives={"loss": "min", "speed": "max"},
            limits={"memory": (None, 0.5)},
        )
        for n in range(30):
            x = n / 30
            self.tell(store, experiment, {"x": x}, {"loss": -x, "speed": x, "memory": x})
        found = [self.ask(store, experiment, sampler="optuna:tpe", seed=n)["x"] for n in range(9)]
        assert sum(x < 0.6 for x in found) >= 7  # without the limit, all would be near 1
        with pytest.raises(UsageError, match="cannot be used here"):
            self.ask(store, experiment, sampler="optuna:cmaes")

    def test_a_study_goes_on_with_what_was_suggested(self, store: Any, make: Any) -> None:
        experiment = make()
        for _ in range(3):
            params = self.ask(store, experiment, sampler="optuna:tpe")
            trial = self.tell(store, experiment, params)
            rows = self.do(
                store,
                store.sql(
                    "select key from params where run_id = :id and suggested is not null order by key",
                    {"id": trial.id},
                ),
            )
            assert [key for (key,) in rows] == sorted(params)

    def test_what_is_wrong_is_said(self, store: Any, make: Any) -> None:
        experiment = make()
        with pytest.raises(UsageError, match=r"grid needs a step for 'x'"):
            self.ask(store, experiment, sampler="grid")
        with pytest.raises(UsageError, match=r"no sampler 'tpe'; there are .*optuna:tpe"):
            self.ask(store, experiment, sampler="tpe")
        with pytest.raises(UsageError, match="has no option n"):
            self.ask(store, experiment, n=3)
        with pytest.raises(UsageError, match="TPESampler"):
            self.ask(store, experiment, sampler="optuna:tpe", nonsense=3)
        with pytest.raises(UsageError, match="is an object"):
            self.ask(store, experiment, sampler=optuna.samplers.RandomSampler(), seed=1)
        with pytest.raises(UsageError, match="no search space"):
            self.ask(store, make("bare", space={}))
        with pytest.raises(UsageError, match="no objectives"):
            self.ask(store, make("aimless", objectives={}), sampler="optuna:tpe")
        with pytest.raises(UsageError, match="1,002,001 points"):
            self.ask(
                store, make("big", space={"a": Int(0, 1000), "b": Int(0, 1000)}), sampler="grid"
            )
        self.tell(store, experiment, self.ask(store, experiment))
        with pytest.raises(UsageError, match="pip install torch"):
            self.ask(store, experiment, sampler="optuna:gp", n_startup_trials=0)
        given = self.ask(store, experiment, sampler=optuna.samplers.RandomSampler(seed=1))
        assert set(given) >= {"x", "n", "kind"}


class TestSqlite(Sqlite, SuggestContract):
    pass


class TestPostgres(Postgres, SuggestContract):
    pass


class TestAsyncSqlite(AsyncSqlite, SuggestContract):
    pass


class TestAsyncPostgres(AsyncPostgres, SuggestContract):
    pass
