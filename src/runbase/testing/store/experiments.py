"""Experiments: their fields, lists of them, and forks."""

# pyright: basic
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from runbase.errors import NotFound, UsageError
from runbase.model import Objective
from runbase.status import Status
from runbase.testing.store.base import OnStore


class ExperimentContract(OnStore):
    """Create, change, list and fork experiments."""

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
            "base", base_model="m", method="sft", tags=["t"],
            config={"lr": 1, "deep": {"a": 1, "b": 2}}, objectives={"loss": "min"},
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
