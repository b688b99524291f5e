"""The writer: a file of its own for each process, and nothing after the end."""

import os
from pathlib import Path

import pytest

from runbase.errors import HomeError, RunFinished
from runbase.events import Ended, Noted
from runbase.journal import JournalWriter, files
from runbase.status import Status
from tests.unit.journal.lines import everything, head, rows


def test_each_process_has_its_own_file(tmp_path: Path) -> None:
    writers = [JournalWriter(tmp_path, head) for _ in range(12)]
    names = [path.name for path in files(tmp_path)]
    assert names == ["journal.jsonl", *[f"journal.{n}.jsonl" for n in range(1, 12)]]
    for writer in writers:
        writer.close()


def test_nothing_after_the_end(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, head)
    writer.close(Ended(time=1.0, status=Status.COMPLETED))
    size = writer.path.stat().st_size
    with pytest.raises(RunFinished, match="resume"):
        writer.append_points("m", 1, {"a": 1.0})
    with pytest.raises(RunFinished):
        writer.append(Noted(text="late"))
    writer.close()
    assert writer.path.stat().st_size == size


def test_an_unwritable_folder(tmp_path: Path) -> None:
    with pytest.raises(HomeError, match="choose another folder"):
        JournalWriter(tmp_path / "missing", head)


def test_a_forked_child_writes_its_own_file(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path, head)
    writer.append_points("m", 0, {"a": 1.0})
    child = os.fork()
    if child == 0:
        writer.append_points("m", 1, {"a": 2.0})
        writer.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    writer.append_points("m", 2, {"a": 3.0})
    writer.close()
    first, second = files(tmp_path)
    assert [step for step, *_ in rows(everything(first)[0])] == [0, 2]
    assert [step for step, *_ in rows(everything(second)[0])] == [1]
