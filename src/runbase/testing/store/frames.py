"""Frames, exported files, and copies to another store."""

# pyright: basic
import json
import math
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.errors import UsageError
from runbase.events import Ended, Started
from runbase.status import Status
from runbase.testing.contract import T0, Journal, points
from runbase.testing.store.base import OnStore


class FrameContract(OnStore):
    """Read runs and metrics as tables, export them, and copy them."""

    def test_runs_as_a_frame(self, store: Any) -> None:
        self.logged(store, params={"lr": 0.1}, tags={"t": None}, values=[1.0])
        self.logged(store, params={"opt": "adam"}, values=[2.0])
        frame = store.runs(order_by="number").to_pandas()
        assert list(frame["metrics.loss"]) == [1.0, 2.0]
        assert frame["params.lr"][0] == 0.1
        assert frame["params.opt"][1] == "adam"
        assert frame["tags.t"][0]
        assert list(frame["status"]) == ["COMPLETED", "COMPLETED"]
        assert store.runs("number = 5").to_pandas().empty
        assert "<table" in store.runs()._repr_html_()

    def test_metrics_of_many_runs(self, store: Any) -> None:
        one = self.logged(store, name="one", values=[1.0, 2.0, 3.0, 4.0])
        two = self.logged(store, name="two", values=[5.0, 6.0], keys=("loss", "acc"))
        long = store.metrics_frame([one, two])
        assert list(long["value"]) == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 5.0, 6.0]
        assert list(long["metric"])[-4:] == ["acc", "acc", "loss", "loss"]
        assert list(long["relative"])[:4] == [0.0, 1.0, 2.0, 3.0]
        wide = store.metrics_frame([one, two], layout="wide")
        assert list(wide.columns) == ["run", "name", "step", "acc", "loss"]
        assert len(wide) == 6
        runs = store.metrics_frame([one, two], "loss", layout="runs")
        assert list(runs.columns) == ["step", "one", "two"]
        assert list(runs["one"]) == [1.0, 2.0, 3.0, 4.0]
        coarse = store.metrics_frame([one], "loss", resample=2, layout="runs")
        assert list(coarse["step"]) == [0, 2]
        assert list(coarse["one"]) == [1.5, 3.5]
        assert (
            next(iter(store.metrics_frame([one], "loss", axis="time", layout="runs")["time"])) == T0
        )
        with pytest.raises(UsageError, match="one metric"):
            store.metrics_frame([one, two], layout="runs")
        with pytest.raises(UsageError, match="backend"):
            store.metrics_frame(one, backend="excel")

    def test_exports(self, store: Any, tmp_path: Path) -> None:
        self.logged(store, name="one", params={"lr": 0.1}, values=[1.0, math.inf])
        assert store.export(tmp_path / "runs.csv") == 1
        assert "one" in (tmp_path / "runs.csv").read_text()
        store.export(tmp_path / "points.jsonl", what="metrics")
        rows = [json.loads(line) for line in (tmp_path / "points.jsonl").read_text().splitlines()]
        assert [(row["metric"], row["step"], row["value"]) for row in rows] == [
            ("loss", 0, 1.0),
            ("loss", 1, "Infinity"),
        ]
        store.export(tmp_path / "runs.parquet")
        assert (tmp_path / "runs.parquet").read_bytes()[:4] == b"PAR1"
        with pytest.raises(UsageError, match="format"):
            store.export(tmp_path / "runs.xls")

    def test_a_copy_is_the_same_and_nothing_is_there_twice(
        self, store: Any, tmp_path: Path
    ) -> None:
        one = self.logged(
            store, name="one", params={"lr": 0.1, "n": None, "big": 2**70}, tags={"t": None},
            values=[1.0, math.nan, -math.inf, 4.0], experiment="a",
        )  # fmt: skip
        two = self.logged(store, name="two", experiment="b")
        store.link(two, "continues", one)
        store.update_experiment("a", config={"x": [1]}, objectives={"loss": "min"}, tags=["e"])
        file = tmp_path / "all.db"
        assert store.export(file) == 2
        with runbase.open(file) as copy:
            assert {r.id for r in copy.runs()} == {one, two}
            for run in (one, two):
                assert strip(copy.run(run)) == strip(store.run(run))
                there, here = copy.metrics(run, "loss"), store.metrics(run, "loss")
                assert repr(there.values.tolist()) == repr(here.values.tolist())
                assert there.times.tolist() == here.times.tolist()
            here, there = (vars_of(each.experiment("a")) for each in (store, copy))
            assert here == there
            before = copy.totals()
            assert store.export(file) == 2
            assert copy.totals() == before
            assert copy.check() == []
            # People's changes over there stay, new points come along, and the way back works too.
            copy.note(one, "changed there")
            copy.tag(one, "there")
            back = copy.copy_to(self.sync(store))
            assert (back.runs, back.new, back.fuller) == (2, 0, 0)
            assert store.run(one).tags == {"t": None, "there": None}
            assert store.run(one).notes == "changed there"

    def test_a_frame_of_telemetry_has_all_of_it(self, store: Any) -> None:
        journal = Journal(self.storage(store))
        values, steps = (
            [1.0, 2.0, 3.0],
            [0, 0, 0],
        )  # as log_telemetry writes it: at times, without steps
        journal.write(points(values, key="cpu", steps=steps, kind="telemetry"))
        frame = store.telemetry_frame(journal.run)
        assert frame["value"].tolist() == values

    def test_a_copy_of_a_run_that_goes_on(self, store: Any, tmp_path: Path) -> None:
        journal = Journal(self.storage(store))
        journal.write(Started(time=T0), points([1.0]))
        store.export(tmp_path / "x.db")
        journal.write(points([2.0], first=1), Ended(time=T0 + 9, status=Status.COMPLETED))
        store.export(tmp_path / "x.db")
        with runbase.open(tmp_path / "x.db") as copy:
            assert copy.metrics(journal.run, "loss").values.tolist() == [1.0, 2.0]
            assert copy.run(journal.run).status is Status.COMPLETED
            assert copy.check() == []


def strip(run: Any) -> dict[str, Any]:
    """A run as comparable data; NaN equals itself here."""
    import msgspec

    found = msgspec.to_builtins(run)
    return json.loads(json.dumps({k: v for k, v in found.items() if k != "links"}, default=str))


def vars_of(record: Any) -> dict[str, Any]:
    """A record's fields, of whichever of its classes it is."""
    return {name: getattr(record, name) for name in record.__struct_fields__}
