"""What a store promises its users, as tests: the same on every backend, sync and async. Needs pytest.

class TestMine(StoreContract):
    @pytest.fixture
    def store(self): ...     # an empty runbase.Store, or anything with its methods
"""

# pyright: basic
import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.errors import (
    Ambiguous,
    FilterError,
    NotFound,
    QueryError,
    UsageError,
)
from runbase.events import ArtifactLogged, ArtifactUsed, Ended, Params, Started, Tags
from runbase.model import Objective
from runbase.status import Status
from runbase.testing.contract import T0, Journal, points


class StoreContract:
    """Run on every backend, sync and async; override `store`."""

    @pytest.fixture
    def store(self) -> Any:
        """An empty store."""
        raise NotImplementedError("give this class a store fixture")

    # Experiments

    def test_an_experiment_with_everything(self, store: Any) -> None:
        made = store.create_experiment(
            "ablation",
            description="what matters",
            base_model="llama",
            method="lora",
            tags=["a", "100%_'\""],
            config={"lr": 0.1, "nested": {"deep": [1, None]}},
            metrics={"acc": 0.9},
            objectives={"acc": "max", "loss": "min"},
            notes="n",
        )
        again = store.experiment("ablation")
        assert again == made
        assert len(made.id) == 32
        assert (made.base_model, made.method, made.status) == ("llama", "lora", "created")
        assert made.tags == {"a": None, "100%_'\"": None}
        assert made.config == {"lr": 0.1, "nested": {"deep": [1, None]}}
        assert made.objectives == [
            Objective(metric="acc", direction="max"),
            Objective(metric="loss", direction="min"),
        ]
        assert made.created_at.tzinfo is not None
        assert abs((datetime.now(UTC) - made.created_at).total_seconds()) < 60
        assert store.experiment(made.id[:20]).id == made.id

    def test_by_name_is_the_newest(self, store: Any) -> None:
        old = store.create_experiment("twice")
        new = store.create_experiment("twice")
        assert store.experiment("twice").id == new.id
        assert store.experiment(old.id).id == old.id
        assert store.create_experiment("twice", exist_ok=True).id == new.id
        with pytest.raises(NotFound, match="did you mean 'twice'"):
            store.experiment("twise")
        with pytest.raises(UsageError, match="empty"):
            store.create_experiment(" ")

    def test_every_field_can_be_set_and_emptied(self, store: Any) -> None:
        made = store.create_experiment(
            "x", description="d", tags=["t"], config={"a": 1}, metrics={"m": 1}, base_model="b"
        )
        changed = store.update_experiment(
            "x", metrics={}, tags=[], config=None, description="", base_model=None, status="done"
        )
        assert (changed.metrics, changed.tags, changed.config) == ({}, {}, {})
        assert (changed.description, changed.base_model, changed.status) == ("", None, "done")
        assert changed.updated_at >= made.updated_at
        changed = store.update_experiment(
            "x", name="y", objectives={"l": "min"}, checkpoint="s3://x"
        )
        assert store.experiment("y").objectives[0].metric == "l"
        assert store.update_experiment("y", status="created").status == "created"
        with pytest.raises(UsageError, match="did you mean 'metrics'"):
            store.update_experiment("y", metrcs={})
        with pytest.raises(UsageError, match="name"):
            store.update_experiment("y", name="")
        with pytest.raises(UsageError, match="min"):
            store.update_experiment("y", objectives={"l": "less"})

    def test_merging_and_removing_keys(self, store: Any) -> None:
        store.create_experiment("x", config={"a": 1, "b": 2}, tags={"t": "1"})
        found = store.add_to_experiment("x", config={"b": 3, "c": 4}, tags=["u"], metrics={"m": 1})
        assert found.config == {"a": 1, "b": 3, "c": 4}
        assert found.tags == {"t": "1", "u": None}
        found = store.remove_from_experiment("x", config=["a", "none"], tags="t", metrics=["m"])
        assert (found.config, found.tags, found.metrics) == ({"b": 3, "c": 4}, {"u": None}, {})

    def test_listing_filters_and_pages(self, store: Any) -> None:
        for number in range(7):
            tags = ["even%"] if number % 2 == 0 else {"stage": "test"}
            store.create_experiment(
                f"e{number}", tags=tags, status="done" if number > 3 else "created",
                config={"size": number}, metrics={"acc": number / 10},
            )  # fmt: skip
        assert [e.name for e in store.experiments(limit=2)] == ["e6", "e5"]
        assert [e.name for e in store.experiments(limit=2, offset=2)] == ["e4", "e3"]
        assert [e.name for e in store.experiments("status = 'done'")] == ["e6", "e5", "e4"]
        assert [e.name for e in store.experiments("'even%' in tags")] == ["e6", "e4", "e2", "e0"]
        assert store.experiments("'even' in tags") == []
        assert [e.name for e in store.experiments("tags.stage = 'test'", order_by="name")] == [
            "e1",
            "e3",
            "e5",
        ]
        assert [e.name for e in store.experiments("metrics.acc >= 0.5")] == ["e6", "e5"]
        assert [e.name for e in store.experiments(order_by="metrics.acc", limit=1)] == ["e0"]
        page, seen = store.experiments(limit=3), []
        while True:
            seen += [e.name for e in page]
            if page.cursor is None:
                break
            page = store.experiments(limit=3, after=page.cursor)
        assert seen == [f"e{n}" for n in range(6, -1, -1)]

    def test_fork_and_descent(self, store: Any) -> None:
        first = store.create_experiment(
            "base", base_model="m", method="sft", tags=["t"], config={"lr": 1, "deep": {"a": 1, "b": 2}},
            objectives={"loss": "min"},
        )  # fmt: skip
        child = store.fork("base", overrides={"lr": 2, "deep": {"b": 3}})
        assert child.name == "base-fork"
        assert child.config == {"lr": 2, "deep": {"a": 1, "b": 3}}
        assert (child.base_model, child.method, child.tags) == ("m", "sft", {"t": None})
        assert (child.parent_id, child.description) == (first.id, "Forked from base")
        grandchild = store.fork(child, "third")
        assert [a.name for a in store.ancestors("third")] == ["base-fork", "base"]
        assert [(d.distance, d.name) for d in store.descendants(first)] == [
            (1, "base-fork"),
            (2, "third"),
        ]
        assert ("fork", first.id) in [(k.kind, k.to_id) for k in store.experiment_links(child)]
        with pytest.raises(NotFound):
            store.fork("unknown")
        with pytest.raises(UsageError, match="itself"):
            store.update_experiment(first, parent=grandchild)
        # The lineage is kept when an ancestor is deleted.
        store.purge(child)
        assert [(a.distance, a.name) for a in store.ancestors("third")] == [
            (1, "base-fork"),
            (2, "base"),
        ]
        assert store.experiment("third").parent_id is None

    def test_fork_with_its_runs(self, store: Any) -> None:
        run = self.logged(store, experiment="base", params={"lr": 0.5}, values=[3.0, 2.0, math.nan])
        child = store.fork("base", "copy", runs=True)
        (copied,) = store.runs(experiment=child)
        assert copied.id != run
        assert (copied.params, copied.status) == ({"lr": 0.5}, Status.COMPLETED)
        original, twin = store.metrics(run, "loss"), store.metrics(copied, "loss")
        assert twin.values[:2].tolist() == original.values[:2].tolist() == [3.0, 2.0]
        assert math.isnan(twin.values[2])
        assert [(k.kind, k.to_id) for k in store.run(copied).links] == [("fork", run)]
        assert store.fork("base", "few", runs="params.lr > 1").runs == 0
        assert store.check() == []

    # Runs

    def test_a_run_made_now_and_started_later(self, store: Any) -> None:
        run = store.create_run("later", name="planned", params={"lr": 1}, tags=["t"], notes="why")
        assert (run.status, run.name, run.number, run.params) == (
            Status.PENDING,
            "planned",
            1,
            {"lr": 1},
        )
        Journal(self.storage(store), run.id, experiment="later").write(Started(time=T0))
        started = store.run(run.id)
        assert (started.status, started.name) == (Status.RUNNING, "planned")
        assert (started.tags, started.notes) == ({"t": None}, "why")
        with pytest.raises(UsageError, match="already"):
            store.create_run("later", run_id=run.id)

    def test_every_field_of_a_run(self, store: Any) -> None:
        run = self.logged(store, params={"a": 1, "b": "x"})
        when = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
        changed = store.update_run(
            run, name="new name", notes="n", params={"c": True}, tags={"k": "v"}, args={"x": 1},
            env={"E": "1"}, started_at=when, ended_at=when + timedelta(hours=1), user="ada",
            error={"type": "E", "message": "m"}, exit_code=3, checkpoint="a.pt", source_status="killed",
        )  # fmt: skip
        assert (changed.name, changed.notes, changed.params) == ("new name", "n", {"c": True})
        assert (changed.tags, changed.args, changed.env) == ({"k": "v"}, {"x": 1}, {"E": "1"})
        assert (changed.started_at, changed.seconds) == (when, 3600.0)
        assert (changed.user, changed.exit_code, changed.checkpoint) == ("ada", 3, "a.pt")
        assert (changed.error, changed.source_status) == ({"type": "E", "message": "m"}, "killed")
        changed = store.update_run(run, notes="", params={}, tags=None, args=None, error=None)
        assert (changed.notes, changed.params, changed.tags, changed.args) == ("", {}, {}, {})
        assert changed.error is None
        store.add_to_run(run, params={"p": 1, "q": 2}, args={"a": 1}, env={"F": "2"}, tags=["t"])
        changed = store.remove_from_run(
            run, params=["p", "x"], args="a", env=["E", "F"], tags=["t"]
        )
        assert (changed.params, changed.args, changed.env, changed.tags) == ({"q": 2}, {}, {}, {})
        with pytest.raises(UsageError, match="no field 'colour'"):
            store.update_run(run, colour="red")

    def test_a_status_and_its_history(self, store: Any) -> None:
        run = store.create_run("states")
        store.set_status(run, "SUSPENDED", "lunch", at=datetime.now(UTC) + timedelta(seconds=1))
        found = store.set_status(run, "CANCELLED", at=datetime.now(UTC) + timedelta(seconds=2))
        assert [change.status.value for change in found.history] == [
            "PENDING",
            "SUSPENDED",
            "CANCELLED",
        ]
        assert found.history[1].reason == "lunch"
        assert found.ended
        with pytest.raises(UsageError, match="BROKEN"):
            store.set_status(run, "BROKEN")

    def test_labels_of_either(self, store: Any) -> None:
        run = self.logged(store, experiment="lab")
        store.tag(run, "good", stage="x")
        store.tag("lab", "hot")
        store.note("lab", "first")
        store.rename(run, "better name")
        assert store.run("better name").tags == {"good": None, "stage": "x"}
        assert (store.experiment("lab").tags, store.experiment("lab").notes) == (
            {"hot": None},
            "first",
        )
        store.untag(run, "good")
        assert store.run(run).tags == {"stage": "x"}
        store.rename(run, "lab")
        with pytest.raises(Ambiguous, match="pass the id"):
            store.tag("lab", "which")
        with pytest.raises(NotFound):
            store.note("nothing", "x")

    def test_links(self, store: Any) -> None:
        one, two = self.logged(store), self.logged(store)
        store.link(one, "continues", two)
        store.link(one, "continues", two)
        assert [(k.from_id, k.kind, k.to_id) for k in store.run(two).links] == [
            (one, "continues", two)
        ]
        assert store.unlink(one, two) == 1
        assert store.run(one).links == []
        with pytest.raises(UsageError, match="itself"):
            store.link(one, "x", one)
        with pytest.raises(UsageError, match="two runs or two experiments"):
            store.link(one, "x", "contract")

    def test_best(self, store: Any) -> None:
        runs = [self.logged(store, values=[v], experiment="b") for v in (3.0, 1.0, 2.0)]
        assert store.best("b", "loss").id == runs[1]
        assert store.best("b", "loss", "max").id == runs[0]
        assert store.best(metric="loss", where="metrics.loss > 1").id == runs[2]
        with pytest.raises(UsageError, match="objective"):
            store.best("b")
        store.update_experiment("b", objectives={"loss": "max"})
        assert store.best("b").id == runs[0]
        with pytest.raises(NotFound, match="no run has"):
            store.best("b", "nothing")

    def test_compare_any_mix(self, store: Any) -> None:
        one = self.logged(store, params={"lr": 1, "same": 0}, values=[1.0], experiment="a")
        two = self.logged(
            store, params={"lr": 2, "same": 0, "extra": "x"}, values=[2.0], experiment="a"
        )
        found = store.compare(one, two, "unknown")
        assert found.differing == ["extra", "lr"]
        assert found.diff() == {"extra": [None, "x"], "lr": [1, 2]}
        assert found.metrics == {"loss": [1.0, 2.0]}
        assert found.best == {"loss": [0]}
        assert found.missing == ["unknown"]
        assert list(found.to_pandas()["metrics.loss"]) == [1.0, 2.0]
        store.update_experiment("a", config={"size": {"x": 1}}, metrics={"acc": 0.5})
        store.create_experiment("b", config={"size": {"x": 2}}, metrics={"acc": 0.7})
        found = store.compare("a", "b", one)
        assert [item.kind for item in found.items] == ["experiment", "experiment", "run"]
        assert found.params["size/x"] == [1, 2, None]
        assert found.metrics["acc"] == [0.5, 0.7, None]
        assert found.best["acc"] == [1]
        assert found.metrics["loss"] == [1.0, None, 1.0]
        assert "best" in found._repr_html_()

    # The trash

    def test_delete_and_restore(self, store: Any) -> None:
        run = self.logged(store, experiment="gone")
        assert store.delete(run) == 1
        assert store.runs() == []
        assert [r.id for r in store.runs(deleted=True)] == [run]
        with pytest.raises(NotFound):
            store.run(run)
        assert store.restore(run) == 1
        assert store.run(run).metrics["loss"].last == 1.0
        store.delete("gone")
        assert store.experiments() == []
        with pytest.raises(NotFound, match="trash"):
            store.restore("never")
        store.restore("gone")
        assert store.experiment("gone").runs == 1

    def test_purge_takes_everything_below(self, store: Any) -> None:
        kept = self.logged(store, experiment="kept")
        run = self.logged(store, experiment="gone")
        store.link(kept, "uses", run)
        child = store.fork("gone", "child")
        report = store.purge("gone", dry_run=True)
        assert (report.runs, report.experiments) == (1, 1)
        assert store.experiment("gone").runs == 1
        store.delete("gone")
        report = store.purge("gone")
        assert (report.runs, report.experiments) == (1, 1)
        assert [r.id for r in store.runs()] == [kept]
        assert store.experiment(child.id).parent_id is None
        for table in ("blocks", "groups", "series", "params", "status_history", "journals"):
            (rows,) = store.sql(f"select count(*) from {table}")
            (one,) = store.sql(
                f"select count(*) from {table} where {self.of(table)}", {"run": kept}
            )
            assert rows == one, f"{table} holds what was purged"
        assert store.run(kept).links == []
        assert store.check() == []

    def test_an_experiment_takes_its_runs_into_the_bin(self, store: Any) -> None:
        early, late = self.logged(store, experiment="a"), self.logged(store, experiment="a")
        other = self.logged(store, experiment="b")
        store.delete(early)
        store.delete("a")
        assert [run.id for run in store.runs()] == [other]
        assert {run.id for run in store.runs(deleted=True)} == {early, late}
        store.restore("a")
        assert {run.id for run in store.runs()} == {other, late}
        assert [run.id for run in store.runs(deleted=True)] == [early]

    def test_a_fork_shares_the_files_of_its_parent(self, store: Any) -> None:
        run = self.logged(store, experiment="parent")
        store.update_run(run, folder="runs/parent/x")
        copy = store.fork("parent", "child", runs=True)
        assert store.purge("child", dry_run=True).folders == []
        assert store.purge("parent", "child", dry_run=True).folders == ["runs/parent/x"]
        assert store.purge(run).folders == []
        assert store.purge(copy).folders == ["runs/parent/x"]

    def test_a_purged_run_stays_away(self, store: Any) -> None:
        journal = Journal(self.storage(store))
        delivery = journal.delivery([journal.opened(), points([1.0])])
        self.storage(store).apply([delivery])
        store.purge(journal.run)
        assert self.storage(store).apply([delivery])[0].taken is False
        assert store.runs() == []

    def test_gc_empties_the_bin(self, store: Any) -> None:
        run = self.logged(store)
        store.delete(run)
        assert store.gc().runs == 0
        assert store.gc(older_than=-1, dry_run=True).runs == 1
        assert store.gc(older_than=-1).runs == 1
        assert store.runs(deleted=True) == []

    # Search

    def test_pages_stay_the_same_while_runs_are_added(self, store: Any) -> None:
        made = [self.logged(store, values=[float(n % 3)]) for n in range(10)]
        made += [self.logged(store, values=[], params={"none": 1})]
        for order in (
            "metrics.loss desc",
            "metrics.loss, name desc",
            None,
            "started_at, params.none",
        ):
            expected = [run.id for run in store.runs(order_by=order)]
            page, seen = store.runs(order_by=order, limit=4), []
            while True:
                seen += [run.id for run in page]
                if page.cursor is None:
                    break
                page = store.runs(order_by=order, limit=4, after=page.cursor)
            assert seen == expected
            assert sorted(seen) == sorted(made)
        cursor = store.runs(order_by="name", limit=1).cursor
        with pytest.raises(UsageError, match="cursor"):
            store.runs(order_by="name, number", after=cursor)
        assert store.count("metrics.loss = 1") == 3

    def test_times_relative_to_now(self, store: Any) -> None:
        run = store.create_run("now")
        assert store.count("created_at > now() - interval '1 hour'") == 1
        assert (
            store.count("created_at > ago('2 days') and created_at <= now() + interval '1 min'")
            == 1
        )
        assert store.count("created_at < '2020-01-01'") == 0
        assert store.count("created_at >= current_date - interval '1 day'") == 1
        assert store.count(f"start_time > 1600000000000 or run_id = '{run.id}'") == 1
        with pytest.raises(FilterError, match="not a date or time"):
            store.count("created_at > 'yesterdayish'")
        with pytest.raises(FilterError, match="duration"):
            store.count("created_at > ago('two weeks')")

    def test_what_filters_can_say(self, store: Any) -> None:
        one = self.logged(
            store, name="one", params={"a/b c.d": 1, "opt": "adam", "on": True, "n": None},
            tags={"t'1\"": "x", "plain": None}, values=[5.0, 1.0, 3.0],
        )  # fmt: skip
        two = self.logged(store, name="two", params={"opt": "0.5", "on": False}, values=[2.0])
        names = {one: "one", two: "two"}

        def found(where: str) -> str:
            return ",".join(sorted(names[run.id] for run in store.runs(where)))

        assert found('params."a/b c.d" = 1') == "one"
        assert found("params.opt = 'adam' or params.opt = 'x'") == "one"
        assert found('params.opt = "adam"') == "one"
        assert found("params.opt = 0.5") == ""
        assert found("params.opt = '0.5'") == "two"
        assert found("params.`opt` != 'adam'") == "two"
        assert found("params.on") == "one"
        assert found("not params.on") == "two"
        assert found("params.on = true") == "one"
        assert found("params.n is null and params.on is not null") == "one,two"
        assert found("'n' in params") == "one"
        assert found("'plain' in tags and tags.plain") == "one"
        assert found('tags."t\'1""" = \'x\'') == "one"
        assert found("metrics.loss = 3 and metrics.loss.min = 1 and metrics.loss.max = 5") == "one"
        assert found("metrics.loss.mean = 3 and metrics.loss.first = 5") == "one"
        assert found("metrics.loss.count in (1, 3)") == "one,two"
        assert found("metrics.loss not between 1.5 and 2.5") == "one"
        assert found("name not like 'o%'") == "two"
        assert found("name not in ('one', 'three')") == "two"
        assert found("name ilike 'ONE' and not name like 'ONE'") == "one"
        assert found("status = 'completed'") == "one,two"
        assert found("attributes.run_name = 'two'") == "two"
        assert found("metrics.loss / 0 > 1") == ""
        assert found("(metrics.loss + 1) * 2 = 8") == "one"
        assert found("experiment.name = 'contract' and number >= 1") == "one,two"
        assert found("seconds >= 0") == "one,two"
        for bad, message in {
            "name = 5 and": "character",
            "name > 5": "",
            "metrics.loss = 'x'": "number",
            "loss > 1": "did you mean metrics.loss",
            "metric.loss.minn > 1": "",
            "name = null": "is null",
            "number": "not a condition",
            "parms.x = 1": "did you mean 'params'",
        }.items():
            if message:
                with pytest.raises(FilterError, match=message):
                    store.runs(bad)
            else:
                store.runs(bad)

    def test_the_value_at_anothers_best_step(self, store: Any) -> None:
        journal = Journal(self.storage(store))
        journal.write(points([3.0, 1.0, 2.0], key="loss"))
        journal.write(points([0.1, 0.7, 0.9], key="val/acc"))
        assert store.count('at(metrics."val/acc", metrics.loss.min) = 0.7') == 1
        assert store.count('at(metrics."val/acc", metrics.loss.max) < 0.2') == 1
        assert store.count("at(metrics.none, metrics.loss.max) < 0.2") == 0
        order = 'at(metrics."val/acc", metrics.loss.min) desc'
        assert [run.id for run in store.runs(order_by=order)] == [journal.run]

    # Frames and files

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

    # The schema that users own

    def test_own_columns_show_up_everywhere(self, store: Any) -> None:
        run = self.logged(store, experiment="mine")
        steps = store.setup(
            ("001.sql", "alter table runs add column budget integer; -- euros\n"
             "alter table runs add column owner text;"),
            ("002.sql", "alter table experiments add column project text;\n"
             "create table notes_of_mine (id integer primary key, said text);"),
        )  # fmt: skip
        assert [step.state for step in steps] == ["applied", "applied"]
        changed = store.update_run(run, budget=7, owner="ada")
        assert changed.columns == {"budget": 7, "owner": "ada"}
        assert [r.id for r in store.runs("budget > 5 and owner = 'ada'", order_by="budget")] == [
            run
        ]
        assert list(store.runs().to_pandas()["budget"]) == [7]
        store.update_experiment("mine", project="p")
        assert store.experiments("project = 'p'")[0].columns == {"project": "p"}
        again = store.setup(("001.sql", "alter table runs add column budget integer; -- euros\n"
                             "alter table runs add column owner text;"))  # fmt: skip
        assert [step.state for step in again] == ["applied before"]
        with pytest.raises(UsageError, match="changed since"):
            store.setup(("001.sql", "alter table runs add column other text;"))
        mine = [row["name"] for row in store.setup_status() if row["owner"] == "user"]
        assert mine == ["001.sql", "002.sql"]

    def test_scripts_apply_whole_or_not_at_all(self, store: Any, tmp_path: Path) -> None:
        (tmp_path / "010_good.sql").write_text("create table good (x integer);")
        (tmp_path / "020_bad.sql").write_text("create table bad (x integer); create tabel worse;")
        with pytest.raises(QueryError, match="020_bad"):
            store.setup(tmp_path)
        names = [table["name"] for table in store.tables()]
        assert "good" not in names
        assert "bad" not in names
        (tmp_path / "020_bad.sql").unlink()
        (step,) = store.setup(tmp_path, dry_run=True)
        assert step.state == "would be applied"
        assert "good" not in [table["name"] for table in store.tables()]
        store.setup(tmp_path)
        assert "good" in [table["name"] for table in store.tables()]
        other = "-- dialect: sqlite\nselect nonsense;", "-- dialect: postgres\nselect nonsense;"
        states = []
        for number, code in enumerate(other):
            try:
                states += [s.state for s in store.setup((f"x{number}", code))]
            except QueryError:
                states.append("tried")
        assert sorted(states)[1] == "tried"
        assert sorted(states)[0].endswith("only")
        with pytest.raises(UsageError, match="not found"):
            store.setup("nowhere.sql")

    def test_wide_views(self, store: Any) -> None:
        run = self.logged(
            store, name="one", values=[1.0, math.nan], keys=("val/loss", "order", "it's")
        )
        columns = store.create_view("wide", ["val/loss", "order", "it's", "none"])
        assert columns == {"val_loss": "val/loss", "order": "order", "it_s": "it's", "none": "none"}
        query = 'select run, step, val_loss, "order", it_s, none from wide order by step'
        assert store.sql(query) == [
            ("one", 0, 1.0, 1.0, 1.0, None),
            ("one", 1, None, None, None, None),
        ]
        Journal(self.storage(store), run).write(
            points([9.0], key="order", first=1, times=[T0 + 99])
        )
        assert store.sql('select "order" from wide order by step') == [(1.0,), (9.0,)]
        assert store.views() == {"wide": columns}
        with pytest.raises(UsageError, match="already"):
            store.create_view("wide", ["x"])
        with pytest.raises(UsageError, match="not a valid name"):
            store.create_view("wi de; drop", ["x"])
        store.drop_view("wide")
        assert store.views() == {}
        with pytest.raises(NotFound):
            store.drop_view("runs")

    def test_the_schema_says_what_it_means(self, store: Any) -> None:
        tables = {table["name"]: table for table in store.tables()}
        assert {"runs", "experiments", "metrics", "latest", "run_summary"} <= set(tables)
        for name in ("runs", "experiments", "series", "blocks", "artifact_uses"):
            for column in tables[name]["columns"]:
                assert column["comment"], f"{name}.{column['name']} says not what it is"
        assert "every point" in tables["metrics"]["comment"].lower()
        assert "create table" in store.schema().lower()

    # Artifacts

    def test_versions_and_uses(self, store: Any) -> None:
        def artifact(path: str, sha: str, time: float, **more: Any) -> ArtifactLogged:
            return ArtifactLogged(
                path=path, kind="model", uri=path, size=1, sha256=sha, time=time, name="net", **more
            )

        first, second = Journal(self.storage(store)), Journal(self.storage(store))
        first.write(artifact("a.pt", "11", T0))
        second.write(
            artifact("b.pt", "22", T0 + 1), ArtifactUsed(owner=first.run, path="a.pt", time=T0)
        )
        second.write(artifact("c.pt", "11", T0 + 2))
        assert [(a.path, a.version) for a in store.artifact_versions("net")] == [
            ("a.pt", 1),
            ("c.pt", 1),
            ("b.pt", 2),
        ]
        assert [(u.run_id, u.owner_id) for u in store.uses(first.run)] == [(second.run, first.run)]
        assert store.count('artifacts."a.pt".kind = \'model\' and artifacts."a.pt".size = 1') == 1
        with pytest.raises(NotFound, match="did you mean 'net'"):
            store.artifact_versions("nett")

    def test_the_best_checkpoint(self, store: Any) -> None:
        run = self.logged(store, values=[1.0], experiment="c")
        for step in (1, 2):
            Journal(self.storage(store), run).write(
                ArtifactLogged(
                    path=f"{step}.pt", kind="checkpoint", uri="x", size=1, step=step, time=T0
                )
            )
        assert store.best_checkpoint("c", "loss").path == "2.pt"
        store.update_run(run, checkpoint="1.pt")
        assert store.best_checkpoint("c", "loss").path == "1.pt"

    # Helpers

    def sync(self, store: Any) -> Any:
        """The store itself, where `store` is an async one in disguise."""
        return store

    def storage(self, store: Any) -> Any:
        """The storage that deliveries are applied to."""
        return self.sync(store).storage

    def logged(self, store: Any, **more: Any) -> str:
        """A finished run's id."""
        params, tags = more.pop("params", {}), more.pop("tags", {})
        values, keys = more.pop("values", [1.0]), more.pop("keys", ("loss",))
        journal = Journal(self.storage(store), **more)
        events: list[Any] = [Started(time=T0)]
        if params:
            events.append(Params(time=T0, values=params))
        if tags:
            events.append(Tags(time=T0, set=tags))
        events += [points(values, key=key) for key in keys if values]
        journal.write(*events, Ended(time=T0 + 10, status=Status.COMPLETED))
        return journal.run

    @staticmethod
    def of(table: str) -> str:
        """Which rows of a table belong to a run."""
        if table == "blocks":
            return "series_id in (select id from series where run_id = :run)"
        return "run_id = :run"


def strip(run: Any) -> dict[str, Any]:
    """A run as comparable data; NaN equals itself here."""
    import msgspec

    found = msgspec.to_builtins(run)
    return json.loads(json.dumps({k: v for k, v in found.items() if k != "links"}, default=str))


def vars_of(record: Any) -> dict[str, Any]:
    """A record's fields, of whichever of its classes it is."""
    return {name: getattr(record, name) for name in record.__struct_fields__}
