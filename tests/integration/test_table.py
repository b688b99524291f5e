"""`store.table`: its columns have the values that the records have, in the order of the search."""

import math
import statistics
from typing import Any

import pandas as pd
import pytest

from runbase.errors import FilterError
from runbase.events import Captured, Ended, Noted, Params, Started, Tags
from runbase.status import Status
from runbase.storage.types import Query
from runbase.store.store import Store
from runbase.testing.contract import T0, Journal, points
from tests.integration import backends

EXPECTED = {
    "id": lambda run: run.id,
    "name": lambda run: run.name,
    "status": lambda run: run.status.value,
    "experiment": lambda run: run.experiment,
    "created_at": lambda run: run.created_at,
    "seconds": lambda run: run.seconds,
    "alive": lambda run: run.alive,
    "notes": lambda run: run.notes,
    "params.lr": lambda run: run.params.get("lr"),
    "params.opt": lambda run: run.params.get("opt"),
    "params.model/layers": lambda run: run.params.get("model/layers"),
    'params."a.b"': lambda run: run.params.get("a.b"),
    "param.flag": lambda run: run.params.get("flag"),
    "metrics.loss": lambda run: figure(run, "loss", "last"),
    "metrics.loss.min": lambda run: figure(run, "loss", "min"),
    "metrics.loss.mean": lambda run: figure(run, "loss", "mean"),
    "metrics.loss.count": lambda run: figure(run, "loss", "count"),
    "metrics.val/acc.max_step": lambda run: figure(run, "val/acc", "max_step"),
    "tags.stage": lambda run: tag(run, "stage"),
    "tags.baseline": lambda run: tag(run, "baseline"),
    "git.commit": lambda run: run.git.get("commit"),
}


def figure(run: Any, key: str, name: str) -> Any:
    return None if key not in run.metrics else getattr(run.metrics[key], name)


def tag(run: Any, key: str) -> Any:
    if key not in run.tags:
        return None
    return True if run.tags[key] is None else run.tags[key]


def same(left: Any, right: Any) -> bool:
    both_nan = isinstance(left, float) and left != left and right != right
    return both_nan or (type(left) is type(right) and left == right)


@pytest.fixture
def filled(store: Store) -> Store:
    kinds: list[dict[str, Any]] = [
        {"lr": 0.1, "opt": "adam", "model": {"layers": [1, 2]}, "a.b": None, "flag": True},
        {"lr": 1, "opt": "sgd", "a.b": "x", "flag": False},
        {"lr": math.inf, "opt": 'a "quoted", ünï', "flag": 2**60},
        {"opt": "adam"},
    ]
    for number in range(12):
        journal = Journal(
            store.storage,
            name=f"run-{number}",
            experiment=f"e{number % 2}",
            time=T0 + 60 * number,
        )
        tags = {"stage": f"s{number % 3}"} if number % 2 else {"baseline": None}
        journal.write(
            Started(time=T0 + 60 * number),
            Params(time=T0, values=kinds[number % 4]),
            Tags(time=T0, set=tags),
        )
        if number % 3:
            values = [float(number + step) for step in range(3)]
            last = math.nan if number == 4 else number + 3.0
            journal.write(points([*values, last]))
            journal.write(points([-value for value in [*values, last]], key="val/acc"))
        if number % 4 == 0:
            journal.write(
                Noted(time=T0, text=f"note {number}"), Captured(time=T0, git={"commit": "abc"})
            )
        if number % 2 == 0:
            journal.write(Ended(time=T0 + 60 * number + 5, status=Status.COMPLETED))
    return store


class TableContract:
    """What a table gives on every store."""

    @pytest.mark.parametrize("order_by", [None, "metrics.loss desc", "params.lr, name"])
    def test_columns_have_the_values_of_the_records(self, filled: Store, order_by: str) -> None:
        records = filled.runs("name <> 'run-5'", order_by=order_by)
        table = filled.table("name <> 'run-5'", columns=list(EXPECTED), order_by=order_by)
        assert table.ids == [run.id for run in records]
        assert list(table.columns) == list(EXPECTED)
        for name, of in EXPECTED.items():
            for run, value in zip(records, table[name], strict=True):
                assert same(value, of(run)), (name, run.name, value, of(run))

    def test_a_table_of_all_columns_is_the_frame_of_the_records(self, filled: Store) -> None:
        table = filled.table(order_by="number, name")
        frame = filled.runs(order_by="number, name").to_pandas()
        pd.testing.assert_frame_equal(table.to_pandas(), frame)

    def test_pages_follow_each_other(self, filled: Store) -> None:
        ids: list[str] = []
        cursor = None
        while True:
            table = filled.table(columns=["name"], order_by="metrics.loss", limit=5, after=cursor)
            ids += table.ids
            cursor = table.cursor
            if cursor is None:
                break
        assert ids == [run.id for run in filled.runs(order_by="metrics.loss")]

    def test_a_key_may_stand_alone(self, filled: Store) -> None:
        table = filled.table(columns=["lr", "loss", "loss.min", "model/layers"])
        full = filled.table(
            columns=["params.lr", "metrics.loss", "metrics.loss.min", "params.model/layers"]
        )
        assert repr(list(table.columns.values())) == repr(list(full.columns.values()))

    @pytest.mark.parametrize(
        ("alone", "full"),
        [
            ("val/acc", 'metrics."val/acc"'),
            ("val/acc.min desc", 'metrics."val/acc".min desc'),
            ("metrics.val/acc DESC, lr", 'metrics."val/acc" desc, params.lr'),
            ("model/layers, loss desc", 'params."model/layers", metrics.loss desc'),
            ("took desc", "seconds desc"),
        ],
    )
    def test_a_sort_key_is_named_as_a_column_is(self, filled: Store, alone: str, full: str) -> None:
        expected = [run.id for run in filled.runs(order_by=full)]
        assert [run.id for run in filled.runs(order_by=alone)] == expected
        assert filled.table(columns=["name"], order_by=alone).ids == expected

    def test_arithmetic_stays_arithmetic(self, filled: Store) -> None:
        for text in ("seconds/60 desc", "metrics.loss - metrics.loss.min", "-metrics.loss / 2"):
            assert len(filled.runs(order_by=text)) == 12

    def test_an_unknown_name_is_an_error_with_the_nearest_keys(self, filled: Store) -> None:
        for name in ("val/ac", "val.ac"):
            wanted = rf"({name}' is unknown|named '{name}').*did you mean 'metrics\.\"val/acc\"'"
            with pytest.raises(FilterError, match=wanted):
                filled.runs(order_by=name)
            with pytest.raises(FilterError, match=wanted):
                filled.table(columns=[name])

    def test_keys_of_columns_that_no_run_has_are_named(self, filled: Store) -> None:
        columns = ["name", "params.lr", 'metrics."val/ac"', "tags.stag", "git.x", "loss"]
        assert filled.storage.unknown_keys(Query(), columns) == [
            "no run has a metric 'val/ac'; did you mean 'val/acc'?",
            "no run has a tag 'stag'; did you mean 'stage'?",
        ]

    def test_an_unknown_column_is_an_error_with_a_suggestion(self, filled: Store) -> None:
        with pytest.raises(FilterError, match=r"statsu.*did you mean 'status'"):
            filled.table(columns=["name", "statsu"])
        with pytest.raises(FilterError, match="not the name of a column"):
            filled.table(columns=['params."a'])
        assert filled.table(columns=["params.nothing"])["params.nothing"] == [None] * 12

    def test_groups_have_means_deviations_and_counts(self, filled: Store) -> None:
        table = filled.table(
            columns=["metrics.val/acc", "name"], group_by="params.opt", order_by="count desc"
        )
        assert list(table.columns) == [
            "params.opt",
            "count",
            "mean(metrics.val/acc)",
            "sd(metrics.val/acc)",
            "count(metrics.val/acc)",
        ]
        assert table["params.opt"][0] == "adam"
        assert table["count"] == [6, 3, 3]
        values = [
            run.metrics["val/acc"].last
            for run in filled.runs("params.opt = 'adam'")
            if "val/acc" in run.metrics and run.name != "run-4"
        ]
        assert table["mean(metrics.val/acc)"][0] == pytest.approx(statistics.fmean(values))
        assert table["sd(metrics.val/acc)"][0] == pytest.approx(statistics.stdev(values))
        assert table["count(metrics.val/acc)"][0] == len(values)

    def test_groups_by_several_columns_are_sorted_and_paged(self, filled: Store) -> None:
        by = ["experiment", "params.opt"]
        order = "mean(metrics.loss) desc, params.opt"
        everything = filled.table(columns=["metrics.loss"], group_by=by, order_by=order).rows()
        assert len(everything) == 4
        means = [row["mean(metrics.loss)"] for row in everything]
        assert means == sorted(means, reverse=True)
        first = filled.table(columns=["metrics.loss"], group_by=by, order_by=order, limit=3)
        rest = filled.table(
            columns=["metrics.loss"], group_by=by, order_by=order, limit=3, after=first.cursor
        )
        assert [*first.rows(), *rest.rows()] == everything
        assert rest.cursor is None
        with pytest.raises(FilterError, match=r"groups have no column 'metrics\.loss'"):
            filled.table(columns=["metrics.loss"], group_by=by, order_by="metrics.loss")

    def test_the_keys_of_the_newest_runs(self, filled: Store) -> None:
        """Of all runs, and of the newest ones only."""
        everything = {key.key: key.runs for key in filled.known_keys("param")}
        total = filled.count()
        assert max(everything.values()) <= total
        assert {key.key: key.runs for key in filled.known_keys("param", newest=10**6)} == everything
        newest = filled.runs(limit=3)
        few = {key.key: key.runs for key in filled.known_keys("param", newest=3)}
        assert few == {key: sum(key in run.params for run in newest) for key in few}
        assert set(few) == {key for run in newest for key in run.params}

    def test_an_empty_table_has_its_columns(self, store: Store) -> None:
        table = store.table("params.lr > 1", columns=["name", "params.lr"])
        assert (len(table), table.columns) == (0, {"name": [], "params.lr": []})
        assert store.table(group_by="experiment").rows() == []


class TestTableOfSqlite(backends.Sqlite, TableContract):
    pass


class TestTableOfPostgres(backends.Postgres, TableContract):
    pass
