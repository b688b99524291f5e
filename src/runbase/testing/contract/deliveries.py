"""Deliveries: each is stored once, with everything that its events say."""

# pyright: basic
import math
import random
import threading
from typing import Any

import pytest

from runbase.errors import NotFound, QueryError
from runbase.events import (
    ArtifactLogged,
    Captured,
    Ended,
    Noted,
    Params,
    RecordLogged,
    Started,
    Tags,
    Types,
)
from runbase.status import Status
from runbase.storage.protocol import Storage
from runbase.testing.contract.base import OnStorage
from runbase.testing.contract.journal import T0, Journal, points


class DeliveryContract(OnStorage):
    """Apply deliveries, and read what they say of runs."""

    def test_a_run_appears_with_all_that_was_said_of_it(self, storage: Storage) -> None:
        journal = Journal(storage, name="brisk-heron-42")
        journal.write(
            Started(time=T0 + 1, user="ada"),
            Params(time=T0, values={"lr": 0.001, "layers": 3, "opt": "adam", "m": {"deep": True}}),
            Tags(time=T0, set={"baseline": None, "stage": "test"}),
            Noted(time=T0, text="first try"),
            Noted(time=T0, text="lr was too high", append=True),
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
        assert (run.notes, run.user, run.exit_code) == ("first try\nlr was too high", "ada", 0)
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

    @pytest.mark.parametrize("seed", range(4))
    def test_reads_and_bulk_writes_take_turns(self, storage: Storage, seed: int) -> None:
        # psycopg prepares statements that are executed often, and drops them at a ROLLBACK.
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
