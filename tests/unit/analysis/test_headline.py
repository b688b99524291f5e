"""Which parameters and metrics are shown first."""

from datetime import UTC, datetime
from typing import Any

from runbase.analysis import headline
from runbase.model import Metric, Objective, Run
from runbase.status import Status

AT = datetime(2026, 11, 16, tzinfo=UTC)


def metric(key: str, second: int = 0) -> Metric:
    figures = dict.fromkeys(
        ("first", "first_step", "last", "last_step", "min", "min_step", "max", "max_step", "mean"),
        1.0,
    )
    last = AT.replace(second=second)
    return Metric(key=key, type="float", count=1, nans=0, last_time=last, **figures)  # type: ignore[arg-type]


def run(params: dict[str, Any], *metrics: Metric) -> Run:
    empty: dict[str, Any] = dict.fromkeys(
        ("started_at", "ended_at", "seen_at", "parent_id", "user", "host", "pid", "folder")
    )
    return Run(
        id="1",
        experiment="e",
        experiment_id="2",
        number=1,
        name="n",
        status=Status.COMPLETED,
        created_at=AT,
        updated_at=AT,
        notes="",
        params=params,
        tags={},
        metrics={m.key: m for m in metrics},
        git={},
        args={},
        env={},
        system={},
        error=None,
        exit_code=None,
        **empty,
    )


def test_objectives_then_named_then_frequent_then_validation_then_last_logged() -> None:
    keys = ["epoch", "train/loss", "val/loss", "lr", "rare/val", "cost"]
    runs = [run({}, *map(metric, keys if n == 0 else keys[:4] + keys[5:])) for n in range(4)]
    assert headline.metrics(runs)[:2] == ["val/loss", "cost"]
    assert headline.metrics(runs)[-1] == "rare/val"
    assert headline.metrics(runs, [Objective(metric="cost")], {"lr"})[:3] == [
        "cost",
        "lr",
        "val/loss",
    ]
    late = [run({}, metric("a"), metric("b", second=9))]
    assert headline.metrics(late) == ["b", "a"]


def test_a_validation_metric_that_one_run_of_many_lacks_stays_first() -> None:
    runs = [run({}, metric("train/loss"), *([metric("val/loss")] if n else [])) for n in range(6)]
    assert headline.metrics(runs)[0] == "val/loss"


def test_parameters_that_differ_come_before_those_that_some_lack() -> None:
    runs = [
        run({"seed": 1, "depth": 2, "lr": 0.1, "opt": "adam"}),
        run({"seed": 2, "depth": 2, "lr": 0.2, "opt": "adam", "extra": 1}),
        run({}),
    ]
    assert headline.params(runs) == ["lr", "seed", "extra"]
    assert headline.params(runs, {"extra"})[0] == "extra"
    assert headline.params(runs[:1]) == ["depth", "lr", "opt", "seed"]


def test_whole_words_of_a_filter_are_mentioned() -> None:
    text = 'metrics."val/loss".min < 3 and params.lr > 0 order by loss'
    keys = ["val/loss", "lr", "loss", "min_lr", "val"]
    assert headline.mentioned(text, keys) == {"val/loss", "lr", "loss"}


def test_numbers_in_keys_are_sorted_as_numbers() -> None:
    assert sorted(["layer10", "layer2", "a"], key=headline.natural) == ["a", "layer2", "layer10"]
