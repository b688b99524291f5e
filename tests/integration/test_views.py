"""What records look like: one line when printed, a view in notebooks, numbers in arithmetic."""

import math
from pathlib import Path

import pytest

import runbase
from runbase.store.store import Store
from runbase.testing.contract import Journal, points


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = runbase.open(tmp_path / "a.db")
    journal = Journal(store.storage, name="brisk-<b>heron</b>", experiment="mnist")
    journal.write(points([3.0, 1.0, math.nan, 2.0]), points([5.0], key="single"))
    store.update_run(journal.run, params={"lr": 0.1}, notes="a <script>note</script>")
    return store


def test_records_print_as_one_line(store: Store) -> None:
    [run], [experiment] = store.runs(), store.experiments()
    status = run.status.value
    assert repr(run) == (
        f"<Run brisk-<b>heron</b> of mnist: {status}, 1 parameter, 2 metrics, id {run.id}>"
    )
    assert repr(experiment) == f"<Experiment mnist: 1 run, id {experiment.id}>"
    assert repr(run.metrics["single"]) == (
        "<Metric single: last 5.0 at step 0, min 5.0, max 5.0, 1 point>"
    )


def test_records_have_a_view_in_notebooks(store: Store) -> None:
    run = store.runs()[0]
    for shown in (
        run,
        store.run(run.id),
        store.experiments()[0],
        store.metrics(run, "loss"),
        store.metrics(run, "loss", resolution=2),
        store.sql("select key, value from metrics"),
        store.table(),
    ):
        html = shown._repr_html_()
        assert html is not None
        assert "<table" in html or "<svg" in html
        assert "<script>" not in html
        assert "<b>heron" not in html


def test_a_metric_is_its_last_value_in_arithmetic(store: Store) -> None:
    metric = store.runs()[0].metrics["loss"]
    assert (metric.last, metric.min, metric.max) == (2.0, 1.0, 3.0)
    assert 1 - metric == -1.0
    assert metric * 2 + 1 == 5.0
    assert metric / 4 == 0.5
    assert metric**2 == 4.0
    assert 2 / metric == 1.0
    assert sum([metric, metric]) == 4.0
    assert f"{metric:.3f}" == "2.000"
    assert round(metric, 1) == 2.0
    assert metric < 2.5 < 3 + metric
    assert abs(-metric) == 2.0
    assert max(store.runs()[0].metrics.values()).key == "single"
