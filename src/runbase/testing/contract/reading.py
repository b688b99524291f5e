"""Reading: runs by id, by name, by filters and by SQL."""

# pyright: basic

import pytest

from runbase.errors import Ambiguous, FilterError, NotFound, QueryError, UsageError
from runbase.events import Params, Started, Tags
from runbase.storage.protocol import Storage
from runbase.storage.types import Query
from runbase.testing.contract.base import OnStorage
from runbase.testing.contract.journal import T0, Journal, points


class ReadingContract(OnStorage):
    """Find runs, filter them and query them in SQL."""

    def test_finding_a_run(self, storage: Storage) -> None:
        ids = ["aaa" + "0" * 29, "aab" + "0" * 29, "b" * 32]
        for number, run in enumerate(ids):
            Journal(storage, run, name=f"name-{number}", time=T0 + number).write()
        assert storage.find_run("b") == ids[2]
        assert storage.find_run("aab") == ids[1]
        assert storage.find_run("name-1") == ids[1]
        with pytest.raises(Ambiguous, match="name-0"):
            storage.find_run("aa")
        with pytest.raises(NotFound, match="did you mean 'name-2'"):
            storage.find_run("nam-2")

    def test_unknown_metric_and_experiment(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(points([1.0], key="train/loss"))
        with pytest.raises(NotFound, match="did you mean 'train/loss'"):
            storage.series(journal.run, "train/los")
        with pytest.raises(NotFound, match="did you mean 'contract'"):
            storage.find_experiment("contrakt")
        with pytest.raises(UsageError, match="resolution"):
            storage.envelope(journal.run, "train/loss", resolution=0)

    def test_filters(self, storage: Storage) -> None:
        for number in range(6):
            journal = Journal(storage, name=f"run-{number}", time=T0 + number)
            tags: dict[str, str | None] = {"even": None} if number % 2 == 0 else {"stage": "test"}
            journal.write(
                Started(time=T0 + number),
                Params(time=T0, values={"lr": 10.0**-number, "opt": "adam" if number else "SGD"}),
                Tags(time=T0, set=tags),
                points([1.0, float(number)], key="val/acc"),
            )

        def names(where: str | None = None, order_by: str = "name") -> list[int]:
            return [int(r.name[-1]) for r in storage.runs(Query(where=where, order_by=order_by))]

        assert names() == [0, 1, 2, 3, 4, 5]
        assert names("params.lr < 0.001") == [4, 5]
        assert names('params.lr <= 1e-3 and metrics."val/acc" < 5') == [3, 4]
        assert names("params.opt = 'SGD' or name = 'run-5'") == [0, 5]
        assert names("params.opt like 's%'") == []
        assert names("params.opt ilike 's%'") == [0]
        assert names("not (tags.even is null)") == [0, 2, 4]
        assert names("tags.stage = 'test' and name in ('run-1', 'run-2')") == [1]
        assert names('metrics."val/acc".max >= 4 and metrics."val/acc".min = 1') == [4, 5]
        assert names('metrics."val/acc" between 2 and 3') == [2, 3]
        assert names('metrics."val/acc" * 2 = 8') == [4]
        assert names("metrics.nothing > 1") == []
        assert names("status = 'RUNNING' and experiment = 'contract'") == [0, 1, 2, 3, 4, 5]
        assert names(order_by='metrics."val/acc" desc') == [5, 4, 3, 2, 1, 0]
        assert names(order_by="params.lr") == [5, 4, 3, 2, 1, 0]
        assert names(order_by="tags.even, name desc") == [4, 2, 0, 5, 3, 1]
        assert [run.name for run in storage.runs(Query(order_by="name", limit=2, offset=3))] == [
            "run-3",
            "run-4",
        ]

    @pytest.mark.parametrize(
        ("where", "message"),
        [
            ("params.lr <", "character"),
            ("nonsense.x = 1", "did you mean|known"),
            ("statu = 'x'", "did you mean 'status'"),
            ("exists (select 1)", "not part of the filter language"),
            ("load_extension('x') = 1", "not part of the filter language"),
            ("id in (select id from runs)", "list of values"),
        ],
    )
    def test_filters_that_cannot_be(self, storage: Storage, where: str, message: str) -> None:
        with pytest.raises(FilterError, match=message):
            storage.runs(Query(where=where))

    def test_values_are_bound(self, storage: Storage) -> None:
        evil = "x' or 1=1; drop table runs; --"
        journal = Journal(storage, name=evil, experiment=evil)
        journal.write(Params(time=T0, values={evil: evil}), points([1.0], key=evil))
        quoted = evil.replace("'", "''")
        assert len(storage.runs(Query(where=f"name = '{quoted}'"))) == 1
        assert (
            len(
                storage.runs(
                    Query(where=f'metrics."{evil}" = 1 and params."{evil}" = \'{quoted}\'')
                )
            )
            == 1
        )
        assert len(storage.runs(Query(where="name = 'other'"))) == 0
        assert storage.find_run(evil) == journal.run

    def test_sql_reads_and_only_reads(self, storage: Storage) -> None:
        Journal(storage).write(points([1.0, 2.0]))
        rows = storage.sql("select key, count(*) as points from metrics group by key")
        assert rows == [("loss", 2)]
        assert rows.columns == ("key", "points")
        assert rows.to_dicts() == [{"key": "loss", "points": 2}]
        with pytest.raises(QueryError, match="write=True"):
            storage.sql("delete from runs")
        with pytest.raises(QueryError):
            storage.sql("select nothing from nowhere")
        storage.sql("update runs set notes = 'changed'", write=True)
        assert storage.runs()[0].notes == "changed"

    def test_tags_of_many_runs(self, storage: Storage) -> None:
        runs = [Journal(storage, name=f"run-{n}", time=T0 + n).write() for n in range(4)]
        ids = [storage.find_run(f"run-{n}") for n in range(len(runs))]
        storage.add("run", ids[0], {"tags": {"stage": "old", "kept": None}})
        before = storage.changes(None).cursor
        long = "k" * 2000
        assert (
            storage.tag_runs([*ids[:3], "f" * 32], {"stage": "new", "good": None, long: "x"}) == 3
        )
        tags = {run.id: run.tags for run in storage.get_runs(ids)}
        added = {"stage": "new", "good": None, long: "x"}
        assert tags == {ids[0]: {"kept": None, **added}, ids[1]: added, ids[2]: added, ids[3]: {}}
        assert sorted(storage.changes(before).runs) == sorted(ids[:3])
        assert storage.tag_runs(ids, {}, ["good", long, "missing"]) == 4
        assert storage.tag_runs([], {"none": None}) == 0
        tags = {run.id: run.tags for run in storage.get_runs(ids)}
        left = {"stage": "new"}
        assert tags == {ids[0]: {"kept": None, **left}, ids[1]: left, ids[2]: left, ids[3]: {}}

    def test_first_rows_of_a_query_without_an_end(self, storage: Storage) -> None:
        query = "with recursive n(i) as (select 1 union all select i + cast(:by as integer) from n) select i as number from n; -- more"
        rows = storage.first_rows(query, {"by": 2}, 3, 120)
        assert rows == [(1,), (3,), (5,)]
        assert rows.columns == ("number",)
        assert storage.first_rows("values (1), (2)", (), 5) == [(1,), (2,)]
        assert storage.first_rows("/* short */ select 7", (), 5) == [(7,)]
        assert storage.first_rows("explain select 7", (), 5)
        for change in ("delete from runs", "select 1; select 2", "select nothing from nowhere"):
            with pytest.raises(QueryError):
                storage.first_rows(change, (), 5)

    def test_it_is_sound(self, storage: Storage) -> None:
        Journal(storage).write(points([1.0, 2.0]))
        assert storage.check() == []
        assert storage.totals()["points"] == 2
        assert "create view metrics" in storage.schema().lower()
