"""Runs: their fields, status, labels and links, and comparisons of them."""

# pyright: basic
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runbase.errors import Ambiguous, NotFound, UsageError
from runbase.events import Started
from runbase.status import Status
from runbase.testing.contract import T0, Journal
from runbase.testing.store.base import OnStore


class RunContract(OnStore):
    """Create, change, label, link, rank and compare runs."""

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
            error={"type": "E", "message": "m"}, exit_code=3, checkpoint="a.pt",
            source_status="killed",
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
        store.note("lab", "second", append=True)
        store.note(run, "only", append=True)
        store.rename(run, "better name")
        assert store.run("better name").tags == {"good": None, "stage": "x"}
        assert (store.experiment("lab").tags, store.experiment("lab").notes) == (
            {"hot": None},
            "first\nsecond",
        )
        assert store.run(run).notes == "only"
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
