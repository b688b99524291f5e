"""The Parquet lake: every point of an ended run once, on disk and on S3, whatever is interrupted."""

import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import duckdb
import pytest

import runbase
from runbase.errors import UsageError
from runbase.store import lake
from runbase.store.lake import export_lake
from runbase.store.store import Store


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, home: Path) -> Iterator[Store]:
    url = request.getfixturevalue("postgres") if request.param == "postgres" else None
    with runbase.open(url, home=home) as opened:
        yield opened


def log(store: Store, name: str, steps: int = 20, **options: Any) -> str:
    """Log a run with two metrics; a step has two values, others are not finite or fractional."""
    with runbase.start_run(
        "lake", name=name, store=store, params={"lr": 0.5, "opt": "adam"}, capture=False, **options
    ) as run:
        for step in range(steps):
            run.log({"loss": 1 / (step + 1), "acc": step}, step=step)
        run.log({"loss": float("nan")}, step=2.5)
        run.log({"acc": -1.0}, step=0)
    return run.id


def points(where: Path | str) -> dict[tuple[str, str], list[tuple[float, float]]]:
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    rows = duckdb.sql(
        f"select run_id, key, step, value from '{where}/points/*/*.parquet'"
    ).fetchall()
    for run, key, step, value in rows:
        found.setdefault((run, key), []).append((step, value))
    return found


def same(left: list[Any], right: list[Any]) -> bool:
    return repr(sorted(left, key=repr)) == repr(sorted(right, key=repr))


def check(store: Store, where: Path, runs: list[str]) -> None:
    """The lake has exactly the points of these runs."""
    found = points(where)
    assert {run for run, _ in found} == set(runs)
    for run in runs:
        for key in ("loss", "acc"):
            series = store.metrics(run, key, every=True)
            wanted = list(zip(series.steps.tolist(), series.values.tolist(), strict=True))
            assert same(found[run, key], [(float(step), value) for step, value in wanted])


def test_points_and_tables(store: Store, tmp_path: Path) -> None:
    runs = [log(store, f"run-{n}", tags=["a"]) for n in range(3)]
    report = export_lake(store, str(tmp_path / "lake"))
    assert (report.new, report.grown, report.files, report.points) == (3, 0, 1, 3 * 42)
    check(store, tmp_path / "lake", runs)
    (file,) = (tmp_path / "lake" / "points").rglob("*.parquet")
    assert file.parent.name == time.strftime("month=%Y-%m", time.gmtime())
    rows = duckdb.sql(
        f"select r.name, p.number, m.points, m.last from '{tmp_path}/lake/runs.parquet' r "
        f"join '{tmp_path}/lake/params.parquet' p using (run_id) "
        f"join '{tmp_path}/lake/metrics.parquet' m using (run_id) "
        "where p.key = 'lr' and m.key = 'acc' order by r.name"
    ).fetchall()
    assert rows == [(f"run-{n}", 0.5, 21, 19.0) for n in range(3)]


def test_only_what_is_new(store: Store, tmp_path: Path) -> None:
    where = tmp_path / "lake"
    first = log(store, "first")
    export_lake(store, str(where))
    before = {path: path.stat().st_mtime_ns for path in (where / "points").rglob("*.parquet")}
    second = log(store, "second")
    again = export_lake(store, str(where))
    assert (again.new, again.grown, again.unchanged) == (1, 0, 1)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    nothing = export_lake(store, str(where))
    assert (nothing.new, nothing.points, nothing.unchanged) == (0, 0, 2)
    check(store, where, [first, second])


def test_a_running_run_waits_and_a_resumed_one_is_written_again(
    store: Store, tmp_path: Path
) -> None:
    where = tmp_path / "lake"
    done = log(store, "done")
    running = runbase.start_run("lake", name="running", store=store, capture=False)
    running.log({"loss": 1.0, "acc": 1.0}, step=0)
    running.flush()
    report = export_lake(store, str(where))
    assert (report.new, report.running) == (1, 1)
    check(store, where, [done])
    running.finish()
    log(store, "done", resume=done)
    grown = export_lake(store, str(where))
    assert (grown.new, grown.grown) == (1, 1)
    check(store, where, [done, running.id])
    names = duckdb.sql(f"select name from '{where}/runs.parquet' order by 1").fetchall()
    assert names == [("done",), ("running",)]


def test_a_changed_tag_reaches_the_tables(store: Store, tmp_path: Path) -> None:
    run = log(store, "one")
    export_lake(store, str(tmp_path / "lake"))
    store.add_to_run(run, tags=["paper"])
    report = export_lake(store, str(tmp_path / "lake"))
    assert (report.new, report.grown, report.files) == (0, 0, 0)
    tags = duckdb.sql(f"select tags from '{tmp_path}/lake/runs.parquet'").fetchall()
    assert tags == [('{"paper": null}',)]


def test_deleted_runs_are_removed_when_asked(store: Store, tmp_path: Path) -> None:
    where = tmp_path / "lake"
    runs = [log(store, f"run-{n}") for n in range(3)]
    export_lake(store, str(where))
    store.delete(store.run(runs[1]))
    assert export_lake(store, str(where)).gone == 1
    assert {run for run, _ in points(where)} == set(runs)
    report = export_lake(store, str(where), prune=True)
    assert (report.pruned, report.gone) == (1, 0)
    check(store, where, [runs[0], runs[2]])
    assert duckdb.sql(f"select count(*) from '{where}/params.parquet'").fetchall() == [(4,)]
    store.delete(store.run(runs[0]), store.run(runs[2]))
    export_lake(store, str(where), prune=True)
    assert list((where / "points").rglob("*.parquet")) == []


def test_rows_of_a_deleted_run_outlast_a_rewrite(store: Store, tmp_path: Path) -> None:
    """The file is written again for another run; without --prune nothing disappears."""
    where = tmp_path / "lake"
    gone, kept = log(store, "gone"), log(store, "kept")
    export_lake(store, str(where))
    before = points(where)[gone, "loss"]
    store.delete(store.run(gone), purge=True)
    log(store, "kept", resume=kept)
    export_lake(store, str(where))
    assert same(points(where)[gone, "loss"], before)
    assert len(points(where)[kept, "loss"]) == 2 * 21


def test_files_are_cut(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lake, "MOST_POINTS", 100)
    runs = [log(store, f"run-{n}") for n in range(5)]
    assert export_lake(store, str(tmp_path / "lake")).files == 3
    check(store, tmp_path / "lake", runs)


def test_the_lake_of_another_store_is_refused(store: Store, tmp_path: Path) -> None:
    log(store, "one")
    export_lake(store, str(tmp_path / "lake"))
    with (
        runbase.open(tmp_path / "other.db") as other,
        pytest.raises(UsageError, match="was made from"),
    ):
        export_lake(other, str(tmp_path / "lake"))


def test_on_s3(home: Path, bucket: str) -> None:
    import s3fs

    with runbase.open(home=home) as store:
        runs = [log(store, f"run-{n}") for n in range(2)]
        url = bucket.replace("/runs", "/lake")
        assert export_lake(store, url).new == 2
        log(store, "run-0", resume=runs[0])
        report = export_lake(store, url)
        assert (report.new, report.grown, report.unchanged) == (0, 1, 1)
        import pyarrow.parquet as parquet

        system = s3fs.S3FileSystem()
        (file,) = system.glob("lab/lake/points/*/*.parquet")
        with system.open(file) as opened:
            table = parquet.read_table(opened)
        assert table.num_rows == 3 * 42


EXPORT = """
import sys, runbase
from runbase.store import lake
lake.MOST_POINTS = 100
with runbase.open(home=sys.argv[1], sync=False) as store:
    lake.export_lake(store, sys.argv[2])
"""


def test_kill_at_random_moments(
    home: Path, tmp_path: Path, script: Callable[..., "Popen[str]"]
) -> None:
    dice = random.Random(7)
    where = tmp_path / "lake"
    with runbase.open(home=home) as store:
        runs = [log(store, f"run-{n}") for n in range(40)]
        for turn in range(5):
            process = script(EXPORT, str(home), str(where))
            seen = len(list(where.glob("points/*/*.parquet")))
            while process.poll() is None:  # kill it after a file or two more
                if len(list(where.glob("points/*/*.parquet"))) > seen + dice.randrange(3):
                    time.sleep(dice.random() * 0.02)
                    process.kill()
                    process.wait()
            if turn == 3:
                log(store, "run-5", resume=runs[5])
        export_lake(store, str(where))
        check(store, where, runs)
        assert {file.suffix for file in where.rglob("*") if file.is_file()} == {".parquet", ".json"}
        assert export_lake(store, str(where)).points == 0


def test_the_command(home: Path, tmp_path: Path) -> None:
    with runbase.open(home=home) as store:
        log(store, "one")
        log(store, "two")
    command = [sys.executable, "-m", "runbase", "export", "--home", str(home)]
    lake_of = ["--lake", str(tmp_path / "lake")]
    done = subprocess.run(
        [*command, *lake_of, "name = 'one'"], capture_output=True, text=True, check=True
    )
    assert "1 new run, 0 with more points, 0 unchanged: wrote 42 points in 1 file" in done.stdout
    done = subprocess.run([*command, *lake_of], capture_output=True, text=True, check=True)
    assert "1 new run, 0 with more points, 1 unchanged" in done.stdout
    for wrong in ([], [*lake_of, "name = 'a'", "name = 'b'"]):
        done = subprocess.run([*command, *wrong], capture_output=True, text=True, check=False)
        assert done.returncode == 2


def test_runs_whose_archive_is_missing_are_left_out(
    store: Store, home: Path, tmp_path: Path
) -> None:
    """The others are written, and the missing ones when their file is back."""
    where, archives = tmp_path / "lake", tmp_path / "archives"
    lost, other = log(store, "lost"), log(store, "other")
    store.archive("name = 'lost'", to=str(archives))
    (file,) = archives.rglob("*.parquet")
    file.rename(tmp_path / "kept.parquet")
    plain = log(store, "plain")
    report = export_lake(store, str(where))
    assert (report.new, list(report.unreadable)) == (2, [lost])
    assert "does not exist on this machine" in report.unreadable[lost]
    check(store, where, [other, plain])
    rows = duckdb.sql(f"select run_id from '{where}/runs.parquet'").fetchall()
    assert {row[0] for row in rows} == {other, plain}
    assert list(export_lake(store, str(where)).unreadable) == [lost]
    (tmp_path / "kept.parquet").rename(file)
    report = export_lake(store, str(where))
    assert (report.new, report.unchanged, report.unreadable) == (1, 2, {})
    check(store, where, [other, plain, lost])


def test_a_run_that_grew_and_cannot_be_read_keeps_its_points(
    store: Store, home: Path, tmp_path: Path
) -> None:
    where, archives = tmp_path / "lake", tmp_path / "archives"
    lost, other = log(store, "lost"), log(store, "other")
    export_lake(store, str(where))
    before = points(where)
    for run in (lost, other):
        with runbase.start_run(resume=run, store=store, capture=False) as resumed:
            resumed.log({"loss": 7.0}, step=99)
    store.archive("name = 'lost'", to=str(archives))
    (file,) = archives.rglob("*.parquet")
    file.rename(tmp_path / "kept.parquet")
    report = export_lake(store, str(where))
    assert (report.grown, list(report.unreadable)) == (1, [lost])
    found = points(where)
    assert same(found[lost, "loss"], before[lost, "loss"])
    assert (99.0, 7.0) in found[other, "loss"]
    (tmp_path / "kept.parquet").rename(file)
    report = export_lake(store, str(where))
    assert (report.grown, report.unreadable) == (1, {})
    check(store, where, [lost, other])


def test_the_command_says_what_it_left_out(home: Path, tmp_path: Path) -> None:
    with runbase.open(home=home) as store:
        log(store, "lost")
        store.archive()
    for file in (home / "archive").rglob("*.parquet"):
        file.unlink()
    command = [sys.executable, "-m", "runbase", "export", "--lake", str(tmp_path / "lake")]
    command += ["--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "1 run was left out, whose points cannot be read" in done.stderr
    assert "does not exist on this machine" in done.stderr


def test_a_run_that_grew_is_not_forgotten_by_an_export_of_others(
    store: Store, tmp_path: Path
) -> None:
    where = tmp_path / "lake"
    grows, other = log(store, "grows"), log(store, "other")
    export_lake(store, str(where))
    with runbase.start_run(resume=grows, store=store, capture=False) as resumed:
        resumed.log({"loss": 7.0}, step=99)
    with runbase.start_run(resume=other, store=store, capture=False) as resumed:
        resumed.log({"loss": 8.0}, step=99)
    assert export_lake(store, str(where), "name = 'other'").grown == 1
    assert export_lake(store, str(where)).grown == 1
    check(store, where, [grows, other])
    assert export_lake(store, str(where)).grown == 0
