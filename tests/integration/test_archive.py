"""Archives: whatever reads points reads the same before, during and after; nothing is lost, whenever a process is killed."""

import json
import random
import subprocess
import sys
import urllib.request
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.errors import NotFound, RunbaseWarning, UsageError
from runbase.events import Points
from runbase.server import mcp
from runbase.server.options import ServerOptions
from runbase.server.serve import serving
from runbase.storage.types import Delivery
from runbase.store import archive
from runbase.store.archived_points import missing_points
from runbase.store.store import Store
from tests.integration.archived import dumped, everything, log, log_odd, rows, run


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, home: Path) -> Iterator[Store]:
    url = request.getfixturevalue("postgres") if request.param == "postgres" else None
    with runbase.open(url, home=home) as opened:
        yield opened


def test_all_reads_are_the_same(store: Store) -> None:
    dice = random.Random(5)
    for number in range(6):
        log_odd(store, f"odd-{number}", dice)
    log(store, "one", 3000)
    log(store, "two", 10)
    before, plain = everything(store), dumped(store)
    dry = store.archive(dry_run=True)
    assert (dry.runs, dry.bytes) == (8, 0)
    assert dry.freed > 0
    report = store.archive()
    assert (report.runs, report.points) == (8, dry.points)
    assert rows(store) == 0
    assert everything(store) == before
    assert dumped(store) == plain
    assert store.check() == []
    assert store.archive().archived == 8
    assert store.unarchive() == 8
    assert everything(store) == before
    assert dumped(store) == plain
    assert store.check() == []
    assert list(Path(report.place).iterdir()) == []


def test_a_resumed_run_has_old_and_new_points(home: Path, store: Store, tmp_path: Path) -> None:
    """Late points come in without the archive; the next `archive` makes one file of both."""
    with runbase.open(home=tmp_path / "twin") as twin:
        for each in (store, twin):
            run = log(each, "one", 3000)
            if each is store:
                each.archive()
            log(each, "one", 3000, seed=3, resume=run)
        ours, theirs = store.run("one"), twin.run("one")
        assert rows(store) > 0

        def same() -> bool:
            return all(
                sorted(zip(a.steps, map(repr, a.values), strict=True))
                == sorted(zip(b.steps, map(repr, b.values), strict=True))
                for key in ("loss", "acc")
                for a, b in [
                    (store.metrics(ours, key, every=True), twin.metrics(theirs, key, every=True))
                ]
            ) and all(
                store.metrics(ours, key, *span, resolution=50).counts.sum()
                == twin.metrics(theirs, key, *span, resolution=50).counts.sum()
                for key in ("loss", "acc")
                for span in ((None, None), (500, 2100))
            )

        assert same()
        report = store.archive()
        assert (report.runs, report.archived, rows(store)) == (1, 0, 0)
        assert same()
        assert len(list((home / "archive").iterdir())) == 1
        store.unarchive()
        assert same()
        assert store.check() == []


def test_late_full_blocks_are_in_charts(store: Store) -> None:
    """Three full blocks are archived, five come later: the chart has all of them."""
    run = log(store, "one", 3 * 1024)
    store.archive()
    log(store, "one", 5 * 1024, resume=run)
    for _ in range(2):
        chart = store.metrics(run, "loss", resolution=10)
        assert chart.counts.sum() == 8 * 1024 + 2
        assert store.metrics(run, "loss", every=True).values.size == 8 * 1024 + 2
        store.archive()


def test_only_ended_runs_that_match_and_are_old(store: Store) -> None:
    log(store, "one")
    log(store, "two")
    running = runbase.start_run("bench", name="running", store=store, capture=False)
    running.log({"loss": 1.0}, step=0)
    running.flush()
    assert store.archive(older_than=3600).active == 3
    report = store.archive("name <> 'two'")
    assert (report.runs, report.active) == (1, 1)
    running.finish()
    assert [run.name for run in store.runs() if store.storage.archives([run.id])] == ["one"]
    assert store.unarchive("name = 'two'") == 0
    assert store.unarchive("name = 'one'") == 1


def test_a_run_that_grows_meanwhile_is_left(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = log(store, "one"), log(store, "two")
    writes = archive.write

    def write(*args: Any) -> Any:
        written = writes(*args)
        event = Points(keys=("loss",), steps=[99], times=[1.7e9], columns=[[0.5]])
        journal = store.sql("select id from journals where run_id = :run", {"run": one})[0][0]
        place = store.storage.offsets([journal])[journal]
        store.storage.apply(
            [Delivery(run=one, events=[event], journal=journal, start=place, offset=place + 1)]
        )
        return written

    monkeypatch.setattr(archive, "write", write)
    report = store.archive()
    assert (report.runs, report.changed) == (1, [one])
    monkeypatch.undo()
    assert store.archive().runs == 1
    assert store.metrics(one, "loss").values[-1] == 0.5
    assert {each.run for each in store.storage.archives([one, two])} == {one, two}


def test_copies_and_files_of_archived_runs(store: Store, tmp_path: Path) -> None:
    log(store, "one", 2000)
    log(store, "two", 5)
    plain = everything(store)
    store.archive()
    with runbase.open(tmp_path / "copy.db") as target:
        assert store.copy_to(target).points == 2 * (2001 + 6)
        assert everything(target) == plain
        target.archive(to=str(tmp_path / "there"))
        with runbase.open(tmp_path / "again.db") as again:
            target.copy_to(again)
            assert everything(again) == plain
    # A copy with more points replaces an archived run.
    assert store.export(tmp_path / "points.csv", what="metrics") == 2
    assert (tmp_path / "points.csv").read_text().count("\n") > 2000


def test_a_fuller_copy_replaces_an_archived_run(store: Store, tmp_path: Path) -> None:
    run = log(store, "one")
    with runbase.open(tmp_path / "copy.db") as target:
        store.copy_to(target)
        target.archive(to=str(tmp_path / "there"))
        log(store, "one", 50, resume=run)
        store.copy_to(target)
        assert target.storage.archives([run]) == []
        assert everything(target) == everything(store)
        assert target.check() == []


def test_a_rebuilt_database_has_all_points(home: Path) -> None:
    with runbase.open(home=home) as store:
        log(store, "one", 1500)
        log(store, "two", 5)
        store.archive()
        plain = everything(store)
    runbase_ = [sys.executable, "-m", "runbase"]
    subprocess.run([*runbase_, "sync", "--rebuild", "--home", str(home)], check=True)
    with runbase.open(home=home) as store:
        assert everything(store) == plain
        assert store.check() == []


def test_a_client_of_a_server_reads_and_does_not_archive(store: Store) -> None:
    run_id = log(store, "one", 5000)
    before = store.metrics(run_id, "loss", resolution=50).mean.tolist()
    store.archive()
    with serving(store, ServerOptions(port=0)) as url, runbase.open(url, sync=False) as client:
        assert repr(client.metrics(run_id, "loss", resolution=50).mean.tolist()) == repr(before)
        assert len(client.metrics(run_id, "loss").values) == 5001
        with pytest.raises(UsageError, match="is a server; archive on its machine"):
            client.archive()
        with pytest.raises(NotFound, match="on the machine of the server"):
            client.bring_back(client.run(run_id))
    assert store.bring_back(store.run(run_id)) == (0, 1)
    assert store.archive().runs == 1
    with serving(store, ServerOptions(port=0)) as url, runbase.open(url, sync=False) as client:
        client.purge(client.run(run_id))
    assert store.archive().runs == 0


def test_the_commands(home: Path) -> None:
    with runbase.open(home=home) as store:
        log(store, "one", 20_000)
        log(store, "two")
        store.delete(store.run("two"))
    assert "Would archive 1 run with 40,002 points" in run("archive", "--dry-run", home=home)
    said = run("archive", home=home)
    assert "Archived 1 run with 40,002 points in 1 file" in said
    assert "gc --vacuum" in said
    assert "No run to archive\narchived before: 1 run" in run("archive", home=home)
    sizes = run("doctor", "--sizes", home=home)
    assert "1 run with 40,002 points is archived" in sizes
    before = sum(path.stat().st_size for path in home.glob("runbase.db*"))
    assert "smaller" in run("gc", "--vacuum", home=home)
    assert (home / "runbase.db").stat().st_size < before / 2
    said = run("restore", "one", "two", home=home)
    assert "Restored: one two (1 run)" in said
    assert "Moved the points of 1 archived run back" in said
    assert "neither in the trash nor archived" in run("restore", "one", home=home, code=1)
    run("archive", "name = 'one'", home=home)
    assert "of 1 archived run" in run("restore", "--archived", "name = 'one'", home=home)
    assert "--older-than 'soon' is not a duration" in run(
        "archive", "--older-than", "soon", home=home, code=2
    )


def test_sql_says_that_points_are_in_files(home: Path) -> None:
    with runbase.open(home=home) as store:
        run_id = log(store, "one")
    query = "select count(*) as n from metrics"
    assert "archived" not in run("sql", query, home=home)
    run("archive", home=home)
    assert "the points of 1 archived run are not in the database" in run("sql", query, home=home)
    assert "archived" not in run("sql", "select count(*) from latest", home=home)
    assert "archived in" in run("show", run_id, home=home)


@pytest.mark.parametrize("query", ["select count(*) from metrics", "SELECT * FROM Telemetry"])
def test_python_servers_and_agents_say_that_points_are_in_files(store: Store, query: str) -> None:
    log(store, "one")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.sql(query)
    store.archive()
    lacks = "the points of 1 archived run are not in the database"
    with pytest.warns(RunbaseWarning, match=lacks):
        store.sql(query)
    assert lacks in mcp.sql(store, query)["note"]
    with serving(store, ServerOptions(port=0)) as url, runbase.open(url, sync=False) as client:
        with pytest.warns(RunbaseWarning, match=lacks):
            client.sql(query)
        answers = [_rows(url, q) for q in (query, "select * from latest")]
    assert lacks in answers[0]["note"]
    assert answers[1]["note"] is None


@pytest.mark.parametrize(
    "query",
    [
        "select metrics from run_summary limit 1",
        "select name, 'from metrics' from runs",
        "select key from latest -- metrics",
        "explain query plan select * from metrics",
        "pragma table_info(metrics)",
    ],
)
def test_words_that_are_no_tables_do_not_warn(
    home: Path, query: str, caplog: pytest.LogCaptureFixture
) -> None:
    with runbase.open(home=home) as store:
        log(store, "one")
        store.archive()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            store.sql(query)
        assert caplog.records == []
        deep = f"select {'(' * 600}1{')' * 600} from metrics limit 1"
        assert missing_points(store.storage, deep) is not None
        with pytest.warns(RunbaseWarning, match="1 archived run"):
            store.sql('select r.name from runs r, "metrics" m where m.run_id = r.id limit 1')


def _rows(url: str, query: str) -> dict[str, Any]:
    """Run a query by the HTTP API."""
    body = json.dumps({"query": query}).encode()
    request = urllib.request.Request(
        f"{url}/api/sql", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_the_query_of_the_docs(store: Store, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It returns every point: of steps with and without a stride, fractional ones too."""
    dice = random.Random(1)
    for number in range(4):
        log_odd(store, f"odd-{number}", dice)
    wanted = {
        (run.id, key): store.metrics(run, key, every=True)
        for run in store.runs("metrics.a.count < 5000")
        for key in run.metrics
        if key != "far"  # its steps are larger than a double can tell apart
    }
    monkeypatch.chdir(home.parent)
    page = Path(__file__).parents[2] / "docs/how-to/archive.md"
    code = page.read_text().split("```python\n")[-1].split("```")[0].split("points = ")[1]
    import duckdb

    store.archive()
    found = eval(code.rpartition("print(")[0], {"duckdb": duckdb})
    for (run_id, key), series in wanted.items():
        rows = found.filter(f"run_id = '{run_id}' and key = '{key}'").select("step, value")
        pairs = list(zip(map(float, series.steps), series.values.tolist(), strict=True))
        assert sorted(map(repr, rows.fetchall())) == sorted(map(repr, pairs))
    assert wanted


def test_restore_names_what_is_not_there(store: Store) -> None:
    log(store, "one")
    with pytest.raises(NotFound):
        store.bring_back("one")
    store.archive()
    assert store.bring_back("bench") == (0, 1)
