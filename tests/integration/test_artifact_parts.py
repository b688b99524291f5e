"""Uploads in parts and downloads that are interrupted: what was transferred is not transferred again."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.artifacts import multipart, uploads
from tests.conftest import close_storages
from tests.integration.relay import Relay
from tests.patience import PATIENCE, wait_until

Script = Callable[..., "subprocess.Popen[str]"]
PART = 5 * 2**20
SIZE = 4 * PART + 12_345
"""Five parts."""

LOGS_A_FILE = """
import sys, time, runbase
run = runbase.start_run('parts', capture=False)
run.log_artifact(sys.argv[1])
print(run.id, flush=True)
time.sleep(600)
"""
UPLOADS_TICKETS = """
import sys
from pathlib import Path
from runbase.artifacts.uploads import take_up
print(take_up(Path(sys.argv[1])), flush=True)
"""


class Gate:
    """Counts the parts that the S3 server stores, and lets so many through; later ones wait, and then fail."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.stored: list[int] = []
        self.ended = 0
        self._changed = threading.Condition()
        self._limit = 0
        self._waiting = 0
        self._broken = False

    def allow(self, limit: int) -> None:
        with self._changed:
            self._limit, self._broken = limit, False

    def wait(self, stored: int) -> None:
        """Wait until so many parts are stored, and another one has arrived."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: len(self.stored) == stored and self._waiting, PATIENCE
            )

    def drop(self) -> None:
        """Fail the parts that wait: their client was killed."""
        with self._changed:
            self._broken = True
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: not self._waiting, PATIENCE)

    def part(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def upload_part(backend: Any, bucket: str, upload: str, number: int, body: bytes) -> Any:
            with self._changed:
                if len(self.stored) >= self._limit:
                    self._waiting += 1
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._broken, PATIENCE)
                    self._waiting -= 1
                    self._changed.notify_all()
                    raise RuntimeError("the client is gone")
                self.stored.append(number)
                self._changed.notify_all()
            return real(backend, bucket, upload, number, body)

        return upload_part


@pytest.fixture
def gate(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    from moto.s3.models import S3Backend

    gate = Gate()
    monkeypatch.setattr(S3Backend, "upload_part", gate.part(S3Backend.upload_part))
    begin, complete = S3Backend.create_multipart_upload, S3Backend.complete_multipart_upload

    def create(*args: Any, **kwargs: Any) -> Any:
        gate.begun.append("")
        return begin(*args, **kwargs)

    def end(*args: Any, **kwargs: Any) -> Any:
        gate.ended += 1
        return complete(*args, **kwargs)

    monkeypatch.setattr(S3Backend, "create_multipart_upload", create)
    monkeypatch.setattr(S3Backend, "complete_multipart_upload", end)
    monkeypatch.setenv("RUNBASE_ARTIFACTS_PART", "5")
    yield gate
    gate.drop()


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def stored(key: str) -> str:
    """The SHA-256 of an object."""
    import boto3

    body = boto3.client("s3").get_object(Bucket="lab", Key=key)["Body"].read()
    return hashlib.sha256(body).hexdigest()


def unfinished() -> list[str]:
    import boto3

    return [
        u["UploadId"]
        for u in boto3.client("s3").list_multipart_uploads(Bucket="lab").get("Uploads", [])
    ]


@pytest.mark.parametrize("kills", [(0,), (1, 4)])
def test_a_killed_upload_sends_each_part_once(
    bucket: str, gate: Gate, home: Path, large: Path, script: Script, kills: tuple[int, ...]
) -> None:
    gate.allow(kills[0])
    process = script(LOGS_A_FILE, str(large), RUNBASE_ARTIFACTS=bucket)
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    for number, kill in enumerate(kills):
        if number:
            gate.allow(kill)
            process = script(UPLOADS_TICKETS, str(home))
        gate.wait(kill)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        gate.drop()
    gate.allow(99)
    done = subprocess.run(
        [sys.executable, "-m", "runbase", "sync"], capture_output=True, text=True, check=True
    )
    assert "1 artifact uploaded" in done.stdout
    assert sorted(gate.stored) == [1, 2, 3, 4, 5], "each part was sent once"
    assert (len(gate.begun), gate.ended) == (1, 1)
    digest = hashlib.sha256(large.read_bytes()).hexdigest()
    assert stored(f"runs/parts/{run}/large.bin") == digest
    assert unfinished() == []
    with runbase.open(home=home) as store:
        [artifact] = store.artifacts(run)
        assert artifact.uri == f"{bucket}/parts/{run}/large.bin"
        assert not uploads.tickets(home / (store.run(run).folder or ""))


class Record:
    """An upload's record in memory."""

    def __init__(self) -> None:
        self.unfinished: multipart.Unfinished | None = None
        self.is_wanted = True

    def read(self) -> multipart.Unfinished | None:
        return self.unfinished

    def write(self, unfinished: multipart.Unfinished) -> None:
        self.unfinished = unfinished

    def wanted(self) -> bool:
        return self.is_wanted


def test_an_upload_that_was_complete_is_not_sent_again(
    bucket: str, gate: Gate, large: Path
) -> None:
    """The process was killed after S3 had put the object together, and before the ticket was deleted."""
    gate.allow(99)
    record, digest = Record(), hashlib.sha256(large.read_bytes()).hexdigest()
    for _ in range(2):
        multipart.put(large, f"{bucket}/large.bin", digest, record)
    assert (len(gate.stored), len(gate.begun), gate.ended) == (5, 1, 1)
    multipart.put(large, f"{bucket}/other.bin", digest, record)
    assert (len(gate.stored), len(gate.begun), gate.ended) == (10, 2, 2)


def test_an_upload_that_s3_has_ended_begins_again(bucket: str, gate: Gate, large: Path) -> None:
    """A rule of the bucket aborts uploads that are not completed for some days."""
    record, digest = Record(), hashlib.sha256(large.read_bytes()).hexdigest()
    record.write(multipart.Unfinished("an-id-that-s3-does-not-know", PART))
    gate.allow(99)
    multipart.put(large, f"{bucket}/large.bin", digest, record)
    assert (stored("runs/large.bin"), len(gate.begun)) == (digest, 1)


def test_a_removed_file_leaves_no_parts(
    bucket: str, gate: Gate, home: Path, tmp_path: Path, script: Script
) -> None:
    """A checkpoint is superseded while its upload is unfinished; its parts are deleted."""
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(2 * PART))
    gate.allow(1)
    process = script(LOGS_A_FILE, str(path), RUNBASE_ARTIFACTS=bucket)
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    gate.wait(1)
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    gate.drop()
    assert len(unfinished()) == 1
    folder = home / "runs" / "parts" / run
    [ticket] = uploads.tickets(folder)
    artifact = uploads._read(ticket)
    assert artifact is not None
    uploader = uploads.Uploader(folder, bucket, lambda _: None)
    uploader.remove(artifact.artifact)
    assert uploader.wait(PATIENCE) == 0
    assert unfinished() == []


def test_a_ticket_survives_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "1.json"
    path.write_bytes(b'{"some": "ticket"}')
    record = uploads.TicketRecord(path)
    assert record.read() is None
    record.write(multipart.Unfinished("a", 1))
    with path.open("ab") as file:
        file.write(b'{"upload": "b", "pa')
    assert record.read() == multipart.Unfinished("a", 1)
    record.write(multipart.Unfinished("c", 2))
    assert record.read() == multipart.Unfinished("c", 2)
    path.unlink()
    record.write(multipart.Unfinished("d", 3))
    assert not path.exists(), "a ticket that was deleted is not created again"


def test_parts_that_fail_end_an_attempt() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 3:
            raise ValueError("three")
        done.append(number)

    began = time.monotonic()
    with pytest.raises(ValueError, match="three"):
        multipart.in_parallel(work, iter(range(1_000_000)))
    assert len(done) < 1_000_000, f"stopped after {time.monotonic() - began} s"


DOWNLOADS = """
import sys, runbase
with runbase.open(home=sys.argv[1], sync=False) as store:
    print(store.download(sys.argv[2], sys.argv[3]), flush=True)
"""


@pytest.fixture
def relay(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A relay between clients and the S3 server."""
    host, _, port = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://").partition(":")
    with Relay((host, int(port))) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
        yield relay


@pytest.fixture
def uploaded(
    bucket: str, home: Path, large: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """`RUN/large.bin`, whose bytes are in the bucket only."""
    monkeypatch.setenv("RUNBASE_ARTIFACTS", bucket)
    with runbase.start_run("parts", home=home, capture=False) as run:
        run.log_artifact(large)
    close_storages()
    (run.folder / "artifacts" / "large.bin").unlink()
    yield f"{run.id}/large.bin"


def test_a_killed_download_continues(
    relay: Relay, uploaded: str, home: Path, large: Path, tmp_path: Path, script: Script
) -> None:
    target = tmp_path / "deep" / "copy.bin"
    digest = hashlib.sha256(large.read_bytes()).hexdigest()
    part = target.parent / f".{digest}.part"
    before, kept = relay.passed, 0

    def has(size: int) -> bool:
        return part.exists() and part.stat().st_size >= size

    for number in (1, 2):
        relay.stops_at = before + number * SIZE // 3
        process = script(DOWNLOADS, str(home), uploaded, str(target))
        relay.wait()
        wait_until(partial(has, number * PART))
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
        assert not target.exists()
        kept = part.stat().st_size
    assert kept >= 2 * PART
    relay.stops_at = None
    received = relay.passed
    process = script(DOWNLOADS, str(home), uploaded, str(target))
    out, err = process.communicate(timeout=PATIENCE)
    assert (out.strip(), process.returncode) == (str(target), 0), err
    assert target.read_bytes() == large.read_bytes()
    assert list(target.parent.iterdir()) == [target]
    assert relay.passed - received < SIZE - kept + 100_000, "only the rest was transferred"


def test_a_connection_that_breaks_is_opened_again(
    relay: Relay, uploaded: str, home: Path, large: Path, tmp_path: Path
) -> None:
    before = relay.passed
    relay.cuts_at = [before + SIZE // 2, before + SIZE * 3 // 4]
    with runbase.open(home=home, sync=False) as store:
        copy = store.download(uploaded, tmp_path / "copy.bin")
    assert copy.read_bytes() == large.read_bytes()
    assert relay.cuts_at == []


def test_a_part_with_other_bytes_is_fetched_again(
    bucket: str, uploaded: str, home: Path, large: Path, tmp_path: Path
) -> None:
    """What a power cut, or another file, left is noticed by the hash."""
    digest = hashlib.sha256(large.read_bytes()).hexdigest()
    for wrong in (b"wrong", bytes(SIZE), bytes(SIZE + 1)):
        target = tmp_path / f"copy-{len(wrong)}" / "copy.bin"
        target.parent.mkdir()
        (target.parent / f".{digest}.part").write_bytes(wrong)
        with runbase.open(home=home, sync=False) as store:
            assert store.download(uploaded, target).read_bytes() == large.read_bytes()
        assert list(target.parent.iterdir()) == [target]


def test_a_ticket_that_cannot_be_read_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system may not answer for a moment, and a ticket may be another user's."""
    with runbase.start_run("parts", home=home, capture=False) as run:
        pass
    ticket = run.folder / uploads.FOLDER / "1.json"
    ticket.parent.mkdir()
    ticket.write_text("{}")
    read = Path.read_bytes

    def stale(path: Path) -> bytes:
        if path == ticket:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), str(path))
        return read(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", stale)
        done, problems = uploads.take_up(home)
    assert (done, len(problems)) == (0, 1) and os.strerror(errno.ESTALE) in problems[0]
    assert ticket.exists()
