"""SQLTrack's database, made by SQLTrack itself on a real PostgreSQL, imported and compared."""

from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqltrack
from psycopg.conninfo import conninfo_to_dict
from sqltrack.commands.setup import setup

import runbase
from runbase.ingest.readers import importer_for
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
        db.execute("alter table runs add column cluster text, add column priority integer")
        db.execute("alter table experiments add column owner text, add column due timestamptz")
        db.execute("update runs set cluster = 'alps', priority = 7 where id = 1")
        db.execute("update experiments set owner = 'ada', due = '2026-12-01T00:00Z' where id = 1")
        db.execute(
            'update runs set tags = \'{"gpus": 4, "fast": true, "where": "lab"}\' where id = 1'
        )
        db.execute(
            "update runs set time_created = time_started - interval '90 minutes' where id = 1"
        )
        db.execute("update experiments set time_created = '2025-05-05T05:05:05Z' where id = 1")
        db.execute("insert into run_links (from_id, kind, to_id) values (1, 'repeats', 1)")
        db.execute("insert into experiment_links (from_id, kind, to_id) values (2, 'is', 2)")
        db.execute(
            "insert into runs (experiment_id, status, time_started) values (2, 'STOPPED', now())"
        )
        db.execute("insert into run_links (from_id, kind, to_id) values (2, 'follows', 1)")
        db.execute("insert into experiment_links (from_id, kind, to_id) values (1, 'leads to', 2)")
        db.commit()
    return f"{base}&schema={schema}"


def test_value_by_value(source: str, tmp_path: Path) -> None:
    assert importer_for(source) == "sqltrack"
    with runbase.open(tmp_path / "ours.db") as store:
        report = store.import_from(source, "sqltrack")
        assert (report.runs, report.new, report.problems) == (4, 4, [])
        assert report.left_out == {
            "links (is) of an experiment to itself": 1,
            "table budgets, which is not one of SQLTrack's": 1,
            "environment variables that are not on the allow-list": 4,
            "links (repeats) of a run to itself": 1,
        }
        first = store.experiment("first")
        assert (first.description, set(first.tags)) == ("about first", {"baseline", "50%_'\""})
        run, waiting = sorted(store.runs(experiment="first"), key=lambda r: r.number)
        assert (run.status, waiting.status) == (Status.COMPLETED, Status.PENDING)
        assert run.params == {"lr": 0.1, "deep/x": [1, 2]}
        assert run.tags == {"gpus": "4", "fast": None, "where": "lab"}
        assert run.started_at is not None
        assert run.started_at - run.created_at == timedelta(minutes=90)
        assert first.created_at == datetime(2025, 5, 5, 5, 5, 5, tzinfo=UTC)
        kept = store.storage.attributes("run", [run.id], "sqltrack")[run.id]
        assert (kept["id"], kept["cluster"], kept["priority"]) == (1, "alps", 7)
        kept = store.storage.attributes("experiment", [first.id], "sqltrack")[first.id]
        assert kept == {"id": 1, "owner": "ada", "due": "2026-12-01T00:00:00+00:00"}
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
        second, stopped = sorted(store.runs(experiment="second"), key=lambda r: r.number)
        assert (stopped.status, stopped.source_status) == (Status.CANCELLED, "STOPPED")
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
        assert store.import_from(source, "sqltrack").unchanged == 4


def test_the_schema_of_0_1_3(source: str, tmp_path: Path) -> None:
    with address(source) as db:
        for kind in ("run", "experiment"):
            db.execute(f"alter table {kind}_links rename to {kind}_relationships")
    assert importer_for(source) == "sqltrack"
    with runbase.open(tmp_path / "ours.db") as store:
        assert store.import_from(source, "sqltrack").new == 4
        assert store.sql("select kind from run_links") == [("follows",)]
        assert store.sql("select kind from experiment_links") == [("leads to",)]


def test_a_value_that_was_changed_is_read_as_it_is_now(source: str, tmp_path: Path) -> None:
    with runbase.open(tmp_path / "ours.db") as store:
        store.import_from(source, "sqltrack")
        for value in (9.0, 8.0):
            with address(source) as db:
                db.execute("update metrics set loss = %s where run_id = 1 and step = 4", [value])
                db.execute("update runs set time_updated = now() where id = 1")
            assert store.import_from(source, "sqltrack").points == 1
            values = store.metrics("first-1", "loss").values.tolist()
            assert values == [value if n == 4 else 1 / (n + 1) for n in range(20)]
        assert store.import_from(source, "sqltrack").points == 0


@contextmanager
def address(source: str) -> Generator[psycopg.Connection[Any]]:
    """A connection to SQLTrack's schema."""
    base, _, schema = source.partition("&schema=")
    with psycopg.connect(base) as db:
        db.execute(f'set search_path to "{schema}"'.encode())
        yield db


def test_a_store_of_ours_is_not_taken_for_one(postgres: str) -> None:
    with runbase.open(postgres) as store:
        store.create_experiment("x")
    assert importer_for(postgres) is None
