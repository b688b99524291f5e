"""The scripts of SQLTrack's users, unchanged but for the import, on both databases."""

import importlib
import inspect
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runbase
from runbase.integrations import sqltrack
from runbase.integrations.sqltrack import Client, Experiment, run_from_env, setup
from tests.patience import PATIENCE

Script = Callable[..., "subprocess.Popen[str]"]

V001 = """
BEGIN;

ALTER TABLE metrics
	ADD COLUMN train_start TIMESTAMP WITH TIME ZONE,
	ADD COLUMN train_loss FLOAT,
	ADD COLUMN val_top1 FLOAT;

CREATE TABLE budgets (experiment text primary key, euros float);

END;
"""


@pytest.fixture(params=["sqlite", "postgres"])
def client(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> Client:
    if request.param == "postgres":
        monkeypatch.setenv("RUNBASE_STORE", request.getfixturevalue("postgres"))
    home.mkdir()
    return Client()


def test_the_readme(client: Client, capsys: Any) -> None:
    setup(client, [("v001.sql", V001)])
    setup(client, [("v001.sql", V001)])
    assert capsys.readouterr().out.split() == ["(NEW)", "v001.sql", "(OK)", "v001.sql"]
    experiment = Experiment(client, name="Very science, much data")
    run = experiment.get_run(tags=["first"], comment="hello")
    assert client.store.run(run.id).status.value == "PENDING"
    with run.track():
        for epoch in range(90):
            metrics = {"train_loss": 1 / (epoch + 1), "val_top1": epoch / 90}
            run.add_metrics(step=epoch, progress=epoch / 90, **metrics)
        run.add_metrics(step=3, progress=3 / 90, train_start=datetime(2026, 1, 1, tzinfo=UTC))
        run.add_metrics(step=89, progress=89 / 90, val_top1=1.0, train_loss=None)
    client.store.sync()
    record = client.store.run(run.id)
    assert (record.status.value, record.notes, record.tags) == (
        "COMPLETED",
        "hello",
        {"first": None},
    )
    with client.cursor() as cursor:
        cursor.execute("select step, train_loss, val_top1 from metrics_wide order by step")
        rows = cursor.fetchall()
        assert len(rows) == 90
        assert tuple(rows[0]) == (0, 1.0, 0.0)
        assert tuple(rows[89]) == (89, 1 / 90, 1.0), "an upsert keeps the other columns"
        cursor.execute("select count(*) from budgets")
        assert cursor.fetchone()[0] == 0
    assert client.store.metrics(run.id, "val_top1").values[-1] == 1.0


def test_experiments(client: Client) -> None:
    made = Experiment(client, name="one", comment="what", tags=["a", "b"])
    assert Experiment(client, name="one").id == made.id
    assert Experiment(client, experiment_id=made.id).id == made.id
    with pytest.raises(ValueError, match="is named 'one'"):
        Experiment(client, experiment_id=made.id, name="two")
    with pytest.raises(ValueError, match="pass experiment_id or"):
        Experiment(client)
    other = Experiment(client, name="two")
    made.add_link("follows", other.id)
    made.add_link("follows", other.id)
    assert len(client.store.experiment_links(made.id)) == 1
    made.remove_link("follows", other.id)
    made.add_tags("c")
    made.remove_tags("a", "b")
    made.set_name("renamed")
    made.set_comment("because")
    record = client.store.experiment(made.id)
    assert (record.name, record.notes, record.tags) == ("renamed", "because", {"c": None})
    made.set_tags("x", "y")
    assert set(client.store.experiment(made.id).tags) == {"x", "y"}


def test_every_field_of_a_run(client: Client) -> None:
    experiment = Experiment(client, name="one")
    run = experiment.get_run(args={"lr": 1, "bs": 2, "x": [1]}, env={"HOME": "/x", "API_KEY": "s"})
    assert client.store.run(run.id).env == {"HOME": "/x"}, "secrets are not kept"
    run.remove_args("lr", "bs")
    run.add_args({"new": {"deep": 1}})
    assert client.store.run(run.id).args == {"x": [1], "new": {"deep": 1}}
    run.add_env({"A": "1", "B": "2"})
    run.remove_env("A", "HOME")
    assert client.store.run(run.id).env == {"B": "2"}
    when = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
    run.set_created(when)
    run.set_started(when)
    run.set_comment("c")
    run.set_comment(None)
    run.set_tags("a")
    run.add_tags("b")
    run.remove_tags("a")
    run.set_status("SUSPENDED")
    record = client.store.run(run.id)
    assert (record.created_at, record.started_at, record.notes) == (when, when, "")
    assert (record.tags, record.status.value) == ({"b": None}, "SUSPENDED")
    other = experiment.get_run()
    run.add_link("uses", other.id)
    assert client.store.run(run.id).links[0].to_id == other.id
    with pytest.raises(ValueError, match="is of experiment 'one'"):
        Experiment(client, name="two").get_run(run.id)
    run.set_updated("auto")
    run.set_args("auto")
    run.set_env("auto")


def test_a_run_from_the_environment(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = Experiment(client, name="one")
    made = experiment.get_run()
    monkeypatch.setenv("SQLTRACK_EXPERIMENT_NAME", "one")
    assert run_from_env(client).id != made.id
    monkeypatch.setenv("SQLTRACK_RUN_ID", made.id)
    assert run_from_env(client).id == made.id
    monkeypatch.setenv("MY_RUN", made.id)
    assert experiment.get_run("MY_RUN").id == made.id


def test_words_that_end_a_run_end_it(client: Client) -> None:
    experiment = Experiment(client, name="x")
    for word, expected in (("STOPPED", "CANCELLED"), ("COMPLETING", "COMPLETED")):
        run = experiment.get_run()
        run.start()
        run.stop(word)
        assert client.store.run(run.id).status == expected
    run = experiment.get_run()
    run.set_status("STOPPED")
    assert client.store.run(run.id).status == "CANCELLED"


def test_start_and_stop(client: Client) -> None:
    run = Experiment(client, name="one").get_run()
    run.start()
    run.add_metrics(step=1, **{"val/loss": 0.5, "order": 2})
    run.stop("TIMEOUT")
    client.store.sync()
    record = client.store.run(run.id)
    assert record.status.value == "TIMEOUT"
    assert record.metrics["val/loss"].last == 0.5
    assert record.ended_at is not None


def test_exceptions(client: Client) -> None:
    experiment = Experiment(client, name="one")
    for error, ends, expected in (
        (ValueError("x"), {}, "FAILED"),
        (KeyboardInterrupt(), {}, "CANCELLED"),
        (ValueError("x"), {"exception": "BOOT_FAIL"}, "BOOT_FAIL"),
        (None, {"normal": "DEADLINE"}, "DEADLINE"),
    ):
        run = experiment.get_run()
        try:
            with run.track(**ends):
                if error is not None:
                    raise error
        except (ValueError, KeyboardInterrupt) as raised:
            assert raised is error
        client.store.sync()
        assert client.store.run(run.id).status.value == expected


def test_one_transaction_for_nested_connections(client: Client) -> None:
    with client.connect() as outer:
        outer.execute("create table mine (n integer)")
        with client.cursor() as cursor, client.connect() as inner:
            assert inner is outer
            cursor.execute("insert into mine values (1)")
    with pytest.raises(ZeroDivisionError), client.connect() as connection:
        connection.execute("insert into mine values (2)")
        raise ZeroDivisionError
    assert client.store.sql("select n from mine") == [(1,)]


TRAINS = """
import os, signal, sys, time
from runbase.integrations.sqltrack import Client, Experiment
signal.signal(signal.SIGTERM, lambda *_: print('an older handler', flush=True))
run = Experiment(Client(), name='term').get_run()
with run.track(terminated='PREEMPTED'):
    run.add_metrics(step=0, loss=1.0)
    print(run.id, flush=True)
    while True: time.sleep(0.01)
"""


def test_sigterm(client: Client, script: Script) -> None:
    process = script(TRAINS)
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (143, "an older handler\n"), err
    client.store.sync()
    assert client.store.run(run).status.value == "PREEMPTED"
    assert client.store.metrics(run, "loss").values.tolist() == [1.0]


def test_connection_parameters(
    postgres_server: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = postgres_server.rpartition("host=")[2]
    client = Client(user="postgres", dbname="postgres", host=host, schema="from arguments")
    assert client.store.sql("select current_schema()") == [("from arguments",)]
    (tmp_path / "sqltrack.conf").write_text(
        f"user=postgres\nhost={host}\ndatabase=postgres\nschema=from_file\n"
    )
    assert Client().store.sql("select current_schema()") == [("from_file",)]
    monkeypatch.setenv("SQLTRACK_DSN_SCHEMA", "from_env")
    client = Client()
    assert client.store.sql("select current_schema()") == [("from_env",)]
    with client.connect() as connection:
        for schema in ("from arguments", "from_file", "from_env"):
            connection.execute(f'drop schema "{schema}" cascade')


def test_the_same_names_as_sqltrack() -> None:
    """Every public name, method and argument of the real package is there."""
    model = importlib.import_module("sqltrack.model")
    names = [*model.__all__, "Client"]
    assert len(names) > 25
    for name in names:
        theirs = getattr(importlib.import_module("sqltrack"), name)
        ours = getattr(sqltrack, name)
        if not inspect.isclass(theirs):
            continue
        for method, function in vars(theirs).items():
            if method.startswith("_") and method != "__init__":
                continue
            wanted = set(inspect.signature(function).parameters)
            there = inspect.signature(getattr(ours, method)).parameters
            several = any(p.kind is p.VAR_POSITIONAL for p in there.values())
            assert wanted <= set(there) or several, f"{name}.{method}"


def test_logging_is_quick_and_survives(client: Client, home: Path, script: Script) -> None:
    """Their shortfall was 110 calls a second and a death with the server; a kill loses nothing here."""
    process = script(
        "from runbase.integrations.sqltrack import Client, Experiment\n"
        "import os\n"
        "run = Experiment(Client(), name='kill').get_run()\n"
        "run.start()\n"
        "for step in range(20_000): run.add_metrics(step=step, loss=step)\n"
        "print(run.id, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    out, _ = process.communicate(timeout=PATIENCE)
    done = subprocess.run(
        [sys.executable, "-m", "runbase", "sync"], env=dict(os.environ), check=True
    )
    assert done.returncode == 0
    np.testing.assert_array_equal(
        client.store.metrics(out.strip(), "loss").values, np.arange(20_000)
    )
    assert client.store.run(out.strip()).status.value == "NODE_FAIL"
    assert runbase.current_run() is None
