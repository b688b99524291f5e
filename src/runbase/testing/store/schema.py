"""The schema: columns, tables and views that users add, and its comments."""

# pyright: basic
import math
from pathlib import Path
from typing import Any

import pytest

from runbase.errors import NotFound, QueryError, UsageError
from runbase.testing.contract import T0, Journal, points
from runbase.testing.store.base import OnStore


class SchemaContract(OnStore):
    """Extend the schema with scripts and views, and describe it."""

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
