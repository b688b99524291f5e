"""SQLTrack's database, made by SQLTrack itself on a real PostgreSQL, imported and compared."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqltrack
from psycopg.conninfo import conninfo_to_dict
from sqltrack.commands.setup import setup

import runbase
from runbase.importers import import_from, importer_for
from runbase.status import Status

COLUMNS = """
BEGIN;
ALTER TABLE metrics ADD COLUMN begun TIMESTAMP WITH TIME ZONE, ADD COLUMN loss FLOAT, ADD COLUMN "order" INTEGER,
  ADD COLUMN good BOOLEAN, ADD COLUMN exact NUMERIC(10, 4), ADD COLUMN said TEXT, ADD COLUMN doc JSONB;
CREATE TABLE budgets (experiment text primary key, euros float);
END;
"""
BEGUN = datetime(2026, 11, 21, 10, tzinfo=UTC)


@pytest.fixture
def source(postgres: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A schema that SQLTrack made and filled."""
    base, _, _ = postgres.partition("&schema=")
    schema = "track_" + postgres.rpartition("=")[2]
    given = conninfo_to_dict(base)
    client = sqltrack.Client(
        user=given.get("user"), dbname=given.get("dbname"), host=given.get("host"), schema=schema
    )
    setup(client, [("v001", COLUMNS)])
    for name in ("first", "second"):
        experiment = sqltrack.Experiment(client, name=name)
        experiment.add_tags("baseline", "50%_'\"")
        experiment.set_comment(f"about {name}")
        run = experiment.get_run()
        run.set_args({"lr": 0.1, "deep": {"x": [1, 2]}})
        run.set_env({"SECRET_TOKEN": "hunter2", "CUDA_VISIBLE_DEVICES": "0", "MINE": "x"})
        run.add_tags("fast")
        run.start()
        for step in range(20):
            values: Any = {"loss": 1 / (step + 1), "good": step % 2 == 0}
            run.add_metrics(step=step, progress=step / 20, begun=BEGUN, exact=0.25, **values)
        run.stop(status="TIMEOUT" if name == "second" else "COMPLETED")
    with psycopg.connect(base) as db:
        db.execute(f'set search_path to "{schema}"')
        db.execute(
            "update metrics set said = 'hello', doc = '{\"a\": 1}', \"order\" = 7 where step = 3"
        )
        db.execute("insert into runs (experiment_id) values (1)")
        db.execute("insert into run_links (from_id, kind, to_id) values (2, 'follows', 1)")
        db.execute("insert into experiment_links (from_id, kind, to_id) values (1, 'leads to', 2)")
        db.commit()
    return f"{base}&schema={schema}"


def test_value_by_value(source: str, tmp_path: Path) -> None:
    assert importer_for(source) == "sqltrack"
    with runbase.open(tmp_path / "ours.db") as store:
        report = import_from(store, source, "sqltrack")
        assert (report.runs, report.new, report.problems) == (3, 3, [])
        first = store.experiment("first")
        assert (first.description, set(first.tags)) == ("about first", {"baseline", "50%_'\""})
        run, waiting = sorted(store.runs(experiment="first"), key=lambda r: r.number)
        assert (run.status, waiting.status) == (Status.COMPLETED, Status.PENDING)
        assert run.params == {"lr": 0.1, "deep/x": [1, 2]}
        assert set(run.tags) == {"fast"}
        assert store.metrics(run, "loss").values.tolist() == [1 / (n + 1) for n in range(20)]
        assert store.metrics(run, "loss").steps.tolist() == list(range(20))
        assert store.metrics(run, "good").values.tolist() == [1, 0] * 10
        assert store.metrics(run, "exact").values.tolist() == [0.25] * 20
        assert set(store.metrics(run, "begun").values.tolist()) == {BEGUN.timestamp()}
        assert (run.metrics["begun"].type, run.metrics["good"].type) == ("time", "bool")
        assert store.metrics(run, "order").values.tolist() == [7]
        assert {r["key"]: r["value"] for r in store.records(run)} == {
            "said": "hello",
            "doc": {"a": 1},
        }
        [second] = store.runs(experiment="second")
        assert (second.status, second.source_status) == (Status.TIMEOUT, "TIMEOUT")
        everything = "\n".join(store.connect().iterdump())
        assert "hunter2" not in everything  # of the environment what is harmless comes along
        assert run.env == {"CUDA_VISIBLE_DEVICES": "0"}
        shares = (
            "select step, progress from metrics where run_id = ? and key = 'loss' order by step"
        )
        assert store.sql(shares, [run.id]) == [(n, n / 20) for n in range(20)]
        links = [(link.from_id, link.kind) for link in store.run(run.id).links]
        assert links == [(second.id, "follows")]
        [link] = store.sql("select from_id, kind, to_id from experiment_links")
        assert link == (first.id, "leads to", store.experiment("second").id)
        assert import_from(store, source, "sqltrack").unchanged == 3


def test_a_store_of_ours_is_not_taken_for_one(postgres: str) -> None:
    with runbase.open(postgres) as store:
        store.create_experiment("x")
    assert importer_for(postgres) is None
