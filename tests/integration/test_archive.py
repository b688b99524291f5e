"""Archives: whatever reads points reads the same before, during and after; nothing is lost, whenever a process is killed."""

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

import runbase
from runbase.errors import NotFound, StoreError, UsageError
from runbase.events import Points
from runbase.server.options import ServerOptions
from runbase.server.serve import serving
from runbase.storage.arrays import decode_numbers
from runbase.storage.types import Delivery
from runbase.store import archive
from runbase.store.store import Store


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, home: Path) -> Iterator[Store]:
    url = request.getfixturevalue("postgres") if request.param == "postgres" else None
    with runbase.open(url, home=home) as opened:
        yield opened


def log(store: Store, name: str, steps: int = 20, seed: int = 0, **options: Any) -> str:
    """Log a run with two metrics; a step has two values, others are not finite or fractional."""
    with runbase.start_run("bench", name=name, store=store, capture=False, **options) as run:
        for step in range(steps):
            run.log({"loss": 1 / (step + 1 + seed), "acc": step}, step=step)
        run.log({"loss": float("nan")}, step=2.5)
        run.log({"acc": -1.0}, step=0)
    return run.id


def log_odd(store: Store, name: str, dice: random.Random) -> str:
    """Log a run with what is rare: sets of keys that change, steps that repeat, are fractional or huge, odd values."""
    special = [float("nan"), float("inf"), -float("inf"), 1e300, -0.0, 2**60, True]
    with runbase.start_run("odd", name=name, store=store, capture=False) as run:
        step: float = 0
        for call in range(dice.choice([1, 3, 1030, 5200])):
            keys = dice.sample(["a", "b/c", "ключ", "k" * 600], dice.choice([1, 1, 2, 4]))
            if call > 40:
                keys = ["a", "b/c"]
            values = {
                key: dice.choice(special) if dice.random() < 0.05 else dice.gauss(0, 1)
                for key in keys
            }
            run.log(values, step=step)
            step += dice.choice([1, 1, 1, 0, 0.5, 3] if name.endswith("3") else [1])
        if name.endswith("0"):
            run.log({"far": 1.0}, step=2**60)
            run.log({"far": 2.0}, step=2**60 + 1)
    return run.id


def everything(store: Store) -> dict[Any, Any]:
    """Return all that the store tells of points, as texts that can be compared."""
    found: dict[Any, Any] = {}
    for run in store.runs(order_by="id asc"):
        for key in run.metrics:
            every = store.metrics(run, key, every=True)
            found[run.id, key] = [repr(part.tolist()) for part in (every.steps, every.times)]
            found[run.id, key].append(repr(every.values.tolist()))
            latest = store.metrics(run, key, 1, 1500)
            found[run.id, key, "latest"] = repr(list(zip(latest.steps, latest.values, strict=True)))
            for span in ((None, None), (3, 900), (1000, 2500.5)):
                for resolution in (7, 100):
                    chart = store.metrics(run, key, *span, resolution=resolution)
                    parts = (chart.first_steps, chart.last_steps, chart.min, chart.max)
                    parts = (*parts, chart.mean, chart.counts, chart.nans)
                    found[run.id, key, span, resolution] = [repr(part.tolist()) for part in parts]
            found[run.id, key, "clock"] = repr(store.storage.clocks([(run.id, key)]))
        found[run.id, "summary"] = repr(run.metrics)
    ids = [run.id for run in store.runs()]
    found["many"] = repr(
        [
            (of, series.steps.tolist(), series.values.tolist())
            for of, series in store.storage.points(ids, ["loss", "a"], every=True).items()
        ]
    )
    found["table"] = repr(store.table(columns=["id", "metrics.loss", "metrics.a.min"]).columns)
    return found


def dumped(store: Store) -> list[Any]:
    """Return the rows of groups and blocks of all runs, in any order; 1 and 1.0 are the same value."""
    dumps = store.storage.dump([run.id for run in store.runs(order_by="id asc")])
    for dump in dumps:
        for block in dump.blocks:
            block["numbers"] = [*map(float, decode_numbers(block["numbers"]))]
    return [
        sorted(repr(sorted(row.items())) for row in rows)
        for dump in dumps
        for rows in (dump.groups, dump.blocks)
    ]


def rows(store: Store) -> int:
    return int(store.sql("select count(*) from groups")[0][0])


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


def test_a_file_with_other_content_moves_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    log(store, "one")
    before = dumped(store)
    monkeypatch.setattr(archive, "digest_of", lambda place, name: "other")
    with pytest.raises(StoreError, match="other content than was written"):
        store.archive()
    assert dumped(store) == before
    assert rows(store) > 0
    assert list((home / "archive").iterdir()) == []


def test_a_purged_run_leaves_the_file(store: Store, home: Path) -> None:
    one, two = log(store, "one", 500), log(store, "two", 500)
    store.archive()
    before = dumped(store)[2:]
    [file] = (home / "archive").iterdir()
    store.purge(store.run(one))
    [left] = (home / "archive").iterdir()
    assert left != file
    assert one.encode() not in left.read_bytes()
    assert dumped(store) == before
    store.purge(store.run(two))
    assert list((home / "archive").iterdir()) == []


def test_gc_removes_what_killed_processes_left(store: Store, home: Path) -> None:
    run = log(store, "one")
    store.archive()
    [file] = (home / "archive").iterdir()
    copies = [file.with_name(f"{file.stem}{number}.parquet") for number in range(3)]
    half = file.with_name(f".{file.name}.partial")
    foreign = file.with_name("points-00000000-1.parquet")
    for path in (*copies, half, foreign):
        shutil.copy(file, path)
    for path in (*copies[:2], half, foreign, file):
        os.utime(path, (time.time() - 90_000,) * 2)
    assert set(store.gc(files=True, dry_run=True).files) == {*map(str, copies[:2]), str(half)}
    store.gc(files=True)
    assert set((home / "archive").iterdir()) == {file, foreign, copies[2]}
    assert len(store.metrics(run, "loss").values) == 21


def test_gc_keeps_a_file_that_has_the_only_copy(store: Store, home: Path) -> None:
    """The record was lost, by hand: the points are nowhere else."""
    run = log(store, "one")
    store.archive()
    [file] = (home / "archive").iterdir()
    os.utime(file, (time.time() - 90_000,) * 2)
    store.sql("delete from archives where run_id = :run", {"run": run}, write=True)
    assert store.gc(files=True).files == []
    assert file.exists()


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


def test_a_missing_file_is_named_and_a_moved_home_is_found(home: Path, tmp_path: Path) -> None:
    with runbase.open(home=home) as store:
        run = log(store, "one")
        store.archive()
        plain = everything(store)
    moved = tmp_path / "moved"
    home.rename(moved)
    with runbase.open(home=moved) as store:
        assert everything(store) == plain
        (moved / "archive").rename(tmp_path / "elsewhere")
        with pytest.raises(
            StoreError, match=r"the archive .*points-.* does not exist on this machine"
        ):
            store.metrics(run, "loss")
        assert store.run(run).metrics["loss"].count == 21  # statistics are in the database
        (tmp_path / "elsewhere").rename(moved / "archive")
        assert everything(store) == plain


def test_a_copy_leaves_the_files_of_the_original(home: Path, tmp_path: Path) -> None:
    """A copied home has files of its own; a backup reads those of the original, and changes none."""
    with runbase.open(home=home) as store:
        runs = [log(store, name, 100) for name in ("one", "two")]
        store.archive()
        before = everything(store)
        store.backup(tmp_path / "backup.db")
        store.backup(home / "beside.db")
    shutil.copytree(home, tmp_path / "copy")
    files = set((home / "archive").iterdir())
    with runbase.open(home=tmp_path / "copy") as copy:
        assert everything(copy) == before
        assert copy.unarchive("name = 'one'") == 1
        assert copy.unarchive() == 1
        assert copy.gc(files=True).files == []
    for url in (tmp_path / "backup.db", home / "beside.db"):
        with runbase.open(url) as backup:
            assert everything(backup) == before
            left = backup.purge(backup.run(runs[0])).left
            assert len(left) == 1
            assert "of another store" in left[0]
            assert backup.unarchive() == 1
    assert set((home / "archive").iterdir()) == files
    with runbase.open(home=home) as store:
        assert everything(store) == before


def test_doctor_names_a_missing_file(home: Path) -> None:
    with runbase.open(home=home) as store:
        log(store, "one")
        store.archive()
        [file] = (home / "archive").iterdir()
    assert "All is well" in run("doctor", home=home)
    held = file.read_bytes()
    for content in (None, held[:-20]):
        file.unlink() if content is None else file.write_bytes(content)
        said = " ".join(run("doctor", home=home, code=1).split())
        assert "has the points of 1 run, is missing or damaged" in said
    file.write_bytes(held)
    assert "All is well" in run("doctor", home=home)


def test_a_moved_home_keeps_the_only_copy(home: Path, tmp_path: Path) -> None:
    """`gc --files` finds the file at its new place; a purge still removes points from it."""
    with runbase.open(home=home) as store:
        one, two = log(store, "one"), log(store, "two")
        store.archive()
    moved = tmp_path / "moved"
    home.rename(moved)
    [file] = (moved / "archive").iterdir()
    os.utime(file, (time.time() - 90_000,) * 2)
    with runbase.open(home=moved) as store:
        assert store.gc(files=True).files == []
        assert len(store.metrics(one, "loss").values) == 21
        assert store.purge(store.run(one)).left == []
        [left] = (moved / "archive").iterdir()
        assert one.encode() not in left.read_bytes()
        assert len(store.metrics(two, "loss").values) == 21


def test_a_place_that_cannot_be_written_is_named(store: Store, tmp_path: Path) -> None:
    log(store, "one")
    (tmp_path / "file").touch()
    for place in (tmp_path / "file", Path("/proc/nowhere")):
        with pytest.raises(StoreError, match=f"cannot write to {place}"):
            store.archive(to=str(place))
    assert rows(store) > 0


def test_an_interrupted_archive_leaves_nothing(
    store: Store, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C in the middle of a file: no partial file, and no word of PyArrow."""
    import gc

    log(store, "one", 3000)
    pages = store.storage.blocks_to_move

    def blocks(*args: Any) -> Any:
        if args[1][2] == "loss":
            raise KeyboardInterrupt
        return pages(*args)

    monkeypatch.setattr(store.storage, "blocks_to_move", blocks)
    monkeypatch.setattr("runbase.storage.block_files.POINTS", 1000)
    with pytest.raises(KeyboardInterrupt):
        store.archive()
    gc.collect()
    assert capfd.readouterr().err == ""
    assert list((home / "archive").iterdir()) == []
    assert rows(store) > 0


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


def test_a_folder_is_needed_without_a_home(tmp_path: Path) -> None:
    with runbase.open(tmp_path / "bare.db") as store, pytest.raises(UsageError, match="--to"):
        store.archive()


def test_a_client_of_a_server_reads_and_does_not_archive(store: Store) -> None:
    run_id = log(store, "one", 5000)
    before = store.metrics(run_id, "loss", resolution=50).mean.tolist()
    store.archive()
    with serving(store, ServerOptions(port=0)) as url, runbase.open(url, sync=False) as client:
        assert repr(client.metrics(run_id, "loss", resolution=50).mean.tolist()) == repr(before)
        assert len(client.metrics(run_id, "loss").values) == 5001
        with pytest.raises(UsageError, match="is a server; archive on its machine"):
            client.archive()
        client.purge(client.run(run_id))
    assert store.archive().runs == 0


def test_files_are_cut(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_POINTS", 100)
    monkeypatch.setattr(archive, "AT_ONCE", 50)
    for number in range(5):
        log(store, f"run-{number}")
    before = everything(store)
    assert len(store.archive().files) == 3
    assert everything(store) == before


def test_on_s3(home: Path, bucket: str) -> None:
    import s3fs

    url = bucket.replace("/runs", "/archive")
    with runbase.open(home=home) as store:
        one = log(store, "one", 1500)
        log(store, "two", 10)
        before = everything(store)
        report = store.archive(to=url)
        assert (report.runs, report.place) == (2, url)
        assert everything(store) == before
        store.purge(store.run(one))
        [file] = s3fs.S3FileSystem().ls("lab/archive")
        assert f"s3://{file}" not in report.files
        assert store.unarchive() == 1
        assert s3fs.S3FileSystem().ls("lab", refresh=True) == []


ARCHIVE = """
import sys, runbase
from runbase.store import archive
archive.MOST_POINTS = archive.AT_ONCE = 100
with runbase.open(home=sys.argv[1], sync=False) as store:
    while True:
        store.archive()
        store.unarchive("name in ('run-1', 'run-3', 'run-4', 'run-8')")
"""


def test_kill_at_random_moments(home: Path, script: Callable[..., "Popen[str]"]) -> None:
    dice = random.Random(3)
    with runbase.open(home=home) as store:
        for number in range(12):
            log(store, f"run-{number}")
        before, plain = everything(store), dumped(store)
        for _ in range(5):
            process = script(ARCHIVE, str(home))
            seen = len(store.storage.archived_files())
            while len(store.storage.archived_files()) == seen:
                assert process.poll() is None, process.communicate()
            time.sleep(dice.random() * 0.1)
            process.kill()
            process.wait()
            assert everything(store) == before
        assert store.archive().changed == []
        for path in (home / "archive").iterdir():
            os.utime(path, (time.time() - 90_000,) * 2)
        store.gc(files=True)
        assert set(map(str, (home / "archive").iterdir())) == set(store.storage.archived_files())
        assert rows(store) == 0
        assert everything(store) == before
        assert dumped(store) == plain


def run(*words: str, home: Path, code: int = 0) -> str:
    command = [sys.executable, "-m", "runbase", *words, "--home", str(home)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


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
    assert "note: the points of 1 archived run are not in the database" in run(
        "sql", query, home=home
    )
    assert "archived" not in run("sql", "select count(*) from latest", home=home)
    assert "archived in" in run("show", run_id, home=home)


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


def test_vacuum(store: Store) -> None:
    log(store, "one", 20_000)
    store.archive()
    before = everything(store)
    assert store.gc(vacuum=True).vacuumed > 100_000
    assert everything(store) == before


def test_restore_names_what_is_not_there(store: Store) -> None:
    log(store, "one")
    with pytest.raises(NotFound):
        store.bring_back("one")
    store.archive()
    assert store.bring_back("bench") == (0, 1)
