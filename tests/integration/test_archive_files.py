"""The files of archives: who owns them, what is left of them, and what is killed or cannot be written."""

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

import runbase
from runbase.errors import StoreError, UsageError
from runbase.store import archive, archive_files
from runbase.store.lake import export_lake
from runbase.store.store import Store
from tests.integration.archived import dumped, everything, log, rows, run


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, home: Path) -> Iterator[Store]:
    url = request.getfixturevalue("postgres") if request.param == "postgres" else None
    with runbase.open(url, home=home) as opened:
        yield opened


ARCHIVE = """
import sys, runbase
from runbase.store import archive, archive_files
archive.MOST_POINTS = archive.AT_ONCE = 100
with runbase.open(home=sys.argv[1], sync=False) as store:
    while True:
        store.archive()
        store.unarchive("name in ('run-1', 'run-3', 'run-4', 'run-8')")
"""


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


def test_a_folder_is_needed_without_a_home(tmp_path: Path) -> None:
    with runbase.open(tmp_path / "bare.db") as store, pytest.raises(UsageError, match="--to"):
        store.archive()


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


def test_vacuum(store: Store) -> None:
    log(store, "one", 20_000)
    store.archive()
    before = everything(store)
    assert store.gc(vacuum=True).vacuumed > 100_000
    assert everything(store) == before


def test_files_move_to_another_place(store: Store, home: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        log(store, name, 1500)
        store.archive(f"name = '{name}'")
    before = everything(store)
    sizes = [file.stat().st_size for file in (home / "archive").iterdir()]
    there = tmp_path / "lab" / "archive"
    would = store.move_archive(str(there), dry_run=True)
    assert (would.files, would.bytes, would.left) == (2, sum(sizes), [])
    assert not there.exists()
    steps: list[tuple[int, int]] = []
    moved = store.move_archive(str(there), progress=lambda *done: steps.append(done))
    assert (moved.files, moved.bytes, moved.left) == (2, sum(sizes), [])
    assert steps == [(1, 2), (2, 2)]
    assert list((home / "archive").iterdir()) == []
    assert len([*there.iterdir()]) == 2
    assert everything(store) == before
    assert store.check() == []
    assert store.move_archive(str(there)).files == 0
    log(store, "three")
    assert store.archive(to=str(there)).runs == 1
    store.purge(store.run("two"))
    assert len([*there.iterdir()]) == 2
    assert store.move_archive().files == 2
    assert list(there.iterdir()) == []
    assert store.unarchive() == 2


@pytest.mark.parametrize(
    ("place", "why"),
    [("", "is empty"), (" ", "is empty"), ("foo://bar", "Protocol not known: foo")],
)
def test_a_place_that_is_none(store: Store, place: str, why: str) -> None:
    log(store, "one")
    for move in (store.archive, store.move_archive):
        with pytest.raises(UsageError, match=why):
            move(to=place)
    with pytest.raises(UsageError, match=why):
        export_lake(store, place)
    assert rows(store) > 0


def test_a_place_with_two_names_loses_nothing(store: Store, home: Path, tmp_path: Path) -> None:
    log(store, "one")
    store.archive()
    before = everything(store)
    (tmp_path / "link").symlink_to(home / "archive")
    store.move_archive(str(tmp_path / "link"))
    assert len([*(home / "archive").iterdir()]) == 1
    store.move_archive(f"file://{home}/archive")
    store.move_archive()
    assert len([*(home / "archive").iterdir()]) == 1
    assert everything(store) == before


def test_a_file_that_cannot_be_moved_stays(
    store: Store, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = log(store, "one", 1500)
    store.archive()
    [file] = (home / "archive").iterdir()
    there = tmp_path / "lab"
    with monkeypatch.context() as patch:
        patch.setattr(archive_files, "sha256_of", lambda place, name: "other")
        [problem] = store.move_archive(str(there)).left
    assert "other content" in problem
    assert list(there.iterdir()) == []
    assert [*(home / "archive").iterdir()] == [file]
    assert len(store.metrics(run_id, "loss").values) == 1501
    (tmp_path / "file").write_text("")
    [problem] = store.move_archive(str(tmp_path / "file" / "below")).left
    assert "cannot write to" in problem
    file.rename(tmp_path / "away")
    [problem] = store.move_archive(str(there)).left
    assert file.name in problem


def test_files_move_to_an_object_store_and_back(store: Store, bucket: str, home: Path) -> None:
    run_id = log(store, "one", 1500)
    store.archive()
    before = everything(store)
    assert store.move_archive(f"{bucket}/lab").files == 1
    assert list((home / "archive").iterdir()) == []
    assert everything(store) == before
    assert store.move_archive().files == 1
    assert everything(store) == before
    assert store.storage.archives([run_id])[0].uri.startswith(str(home))


def test_a_copy_does_not_move_files_of_the_original(home: Path, tmp_path: Path) -> None:
    with runbase.open(home=home) as store:
        log(store, "one")
        store.archive()
        store.backup(tmp_path / "copy.db")
    with runbase.open(tmp_path / "copy.db", sync=False) as copy:
        [problem] = copy.move_archive(str(tmp_path / "lab")).left
        assert "it is of another store" in problem
    assert len([*(home / "archive").iterdir()]) == 1


MOVE = """
import sys, runbase
with runbase.open(home=sys.argv[1], sync=False) as store:
    print("ready", flush=True)
    while True:
        for place in (sys.argv[2], None):
            store.move_archive(place)
"""


def test_moving_is_killed_at_random_moments(
    home: Path, tmp_path: Path, script: Callable[..., "Popen[str]"]
) -> None:
    with runbase.open(home=home) as store:
        for number in range(6):
            log(store, f"run-{number}", 200)
            store.archive()
        before = everything(store)
        dice = random.Random(5)
        for _ in range(6):
            process = script(MOVE, str(home), str(tmp_path / "lab"))
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(dice.random() * 0.3)
            process.kill()
            process.wait()
            assert everything(store) == before
            assert store.check() == []
        store.move_archive()
        assert everything(store) == before


def test_the_command_that_moves(home: Path, tmp_path: Path) -> None:
    with runbase.open(home=home) as store:
        log(store, "one")
    run("archive", home=home)
    there = tmp_path / "lab"
    assert "Would move 1 file" in run(
        "archive", "--move", "--to", str(there), "--dry-run", home=home
    )
    said = run("archive", "--move", "--to", str(there), home=home)
    assert "Moved 1 file" in said
    assert str(there) in said
    assert '"files": 1' in run("archive", "--move", "--json", home=home)
    assert "moves all files" in run("archive", "--move", "name = 'one'", home=home, code=2)
