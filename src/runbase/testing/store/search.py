"""Search: filters, orders and pages of runs."""

# pyright: basic
from typing import Any

import pytest

from runbase.errors import FilterError, UsageError
from runbase.testing.contract import Journal, points
from runbase.testing.store.base import OnStore


class SearchContract(OnStore):
    """Find runs by filters, and page through them."""

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
