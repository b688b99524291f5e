"""Uploads to Azure and Google Cloud Storage that are interrupted: what was transferred is not transferred again."""

import hashlib
import logging
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import runbase
from runbase.artifacts import multipart, multipart_gs, uploads
from tests.integration.test_artifact_parts import LOGS_A_FILE, PART, SIZE, Record
from tests.patience import PATIENCE

from .conftest import Service

Script = Callable[..., "subprocess.Popen[str]"]
HEADERS = 100_000
"""Bytes of requests besides the file, at most."""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large file?#ä.bin"
    path.write_bytes(os.urandom(SIZE))
    return path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_killed_upload_continues(
    service: Service, home: Path, large: Path, script: Script
) -> None:
    relay = service.relay
    before = relay.passed
    relay.stops_at = before + 7 * PART // 2
    process = script(LOGS_A_FILE, str(large), RUNBASE_ARTIFACTS=service.url)
    assert process.stdout is not None
    run = process.stdout.readline().strip()
    relay.wait()
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    relay.cut()
    folder = home / "runs" / "parts" / run
    [ticket] = uploads.tickets(folder)
    if service.name == "gs":  # everybody who can read the URL of the session can write the object
        assert stat.S_IMODE(ticket.stat().st_mode) == 0o600
    before = relay.passed
    done = subprocess.run(
        [sys.executable, "-m", "runbase", "sync"], capture_output=True, text=True, check=True
    )
    assert "1 artifact uploaded" in done.stdout, done.stdout + done.stderr
    assert relay.passed - before < SIZE - 2 * PART + HEADERS, "only the rest was sent"
    assert service.read(f"runs/parts/{run}/{large.name}") == large.read_bytes()
    assert not uploads.tickets(folder)
    with runbase.open(home=home) as store:
        [artifact] = store.artifacts(run)
    assert artifact.uri == f"{service.url}/parts/{run}/{large.name}"


def test_a_connection_that_breaks_is_opened_again(
    service: Service, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multipart_gs, "FIRST_PAUSE", 0.01)
    relay, before = service.relay, service.relay.passed
    relay.cuts_at = [before + PART // 2, before + 3 * PART]
    assert multipart.put(large, f"{service.url}/{large.name}", digest(large), Record())
    assert relay.cuts_at == []
    assert service.read(f"runs/{large.name}") == large.read_bytes()
    assert relay.passed - before < SIZE + 3 * PART + HEADERS, "only the parts were sent again"


def test_an_upload_that_was_complete_is_not_sent_again(service: Service, large: Path) -> None:
    """The process was killed after the object was complete, and before the ticket was deleted."""
    url, record = f"{service.url}/{large.name}", Record()
    assert multipart.put(large, url, digest(large), record)
    before = service.relay.passed
    assert multipart.put(large, url, digest(large), record)
    assert service.relay.passed - before < HEADERS
    target = multipart.target(url)
    assert target is not None
    assert target.head() == multipart.Stored(SIZE, digest(large))


def test_an_upload_that_the_service_has_ended_begins_again(service: Service, large: Path) -> None:
    url, record = f"{service.url}/{large.name}", Record()
    target = multipart.target(url)
    assert target is not None
    unknown = target.begin(SIZE, digest(large)).replace("upload_id=", "upload_id=x")
    record.write(multipart.Unfinished(unknown, PART))
    assert multipart.put(large, url, digest(large), record)
    assert record.unfinished != multipart.Unfinished(unknown, PART)
    assert service.read(f"runs/{large.name}") == large.read_bytes()


def test_another_content_under_the_name(service: Service, large: Path, tmp_path: Path) -> None:
    """Parts of the earlier content, which was not completed, are not used."""
    url, other = f"{service.url}/model.bin", tmp_path / "other.bin"
    other.write_bytes(os.urandom(SIZE))
    target = multipart.target(url)
    assert target is not None
    begun = multipart.Unfinished(target.begin(SIZE, digest(other)), PART)
    target.send(begun, 1, other.read_bytes()[:PART], SIZE)
    assert multipart.put(large, url, digest(large), Record())
    assert service.read("runs/model.bin") == large.read_bytes()


def test_a_small_file_is_not_sent_in_parts(service: Service, tmp_path: Path) -> None:
    path = tmp_path / "small"
    path.write_bytes(bytes(PART))
    assert not multipart.put(path, f"{service.url}/small", digest(path), Record())


@pytest.mark.parametrize("service", ["azure"], indirect=True)
def test_blocks_of_a_removed_file_are_dropped(service: Service, large: Path) -> None:
    url, body = f"{service.url}/{large.name}", large.read_bytes()
    target = multipart.target(url)
    assert target is not None
    begun = multipart.Unfinished(target.begin(SIZE, digest(large)), PART)
    target.send(begun, 1, body[:PART], SIZE)
    assert target.stored(begun, SIZE) == {1}
    multipart.abort(url, begun)
    assert (target.stored(begun, SIZE), target.head()) == (None, None)
    multipart.abort(url, begun)


@pytest.mark.parametrize("service", ["azure"], indirect=True)
def test_blocks_of_a_name_that_has_a_blob(service: Service, large: Path) -> None:
    """The blob stays; Azure drops the blocks after a week."""
    url, body = f"{service.url}/{large.name}", large.read_bytes()
    assert multipart.put(large, url, digest(large), Record())
    target = multipart.target(url)
    assert target is not None
    begun = multipart.Unfinished(target.begin(SIZE, digest(large)), PART)
    target.send(begun, 1, body[:PART], SIZE)
    multipart.abort(url, begun)
    assert service.read(f"runs/{large.name}") == body


@pytest.mark.parametrize("service", ["azure"], indirect=True)
def test_an_artifact_on_azure_from_end_to_end(
    service: Service, home: Path, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBASE_ARTIFACTS", service.url)
    with runbase.start_run("parts", home=home, capture=False) as run:
        run.log_artifact(large)
        run.log_text("said", "hello")
    with runbase.open(home=home) as store:
        name = f"{run.id}/{large.name}"
        (run.folder / "artifacts" / large.name).unlink()
        assert store.download(name, tmp_path / "copy").read_bytes() == large.read_bytes()
        store.delete(run.id)
        store.purge(run.id)
    with pytest.raises(Exception, match="BlobNotFound"):
        service.read(f"runs/parts/{run.id}/{large.name}")


def test_the_session_is_not_logged(
    service: Service, large: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(multipart_gs, "RETRIES", 0)
    record, url = Record(), f"{service.url}/{large.name}"
    assert multipart.put(large, url, digest(large), record)
    assert record.unfinished is not None
    secret = record.unfinished.upload.rpartition("=")[2]
    assert secret not in caplog.text
    if service.name == "gs":
        gone = multipart.Unfinished(f"http://127.0.0.1:9/?upload_id={secret}", PART)
        target = multipart.target(url)
        assert target is not None
        with pytest.raises(runbase.RunbaseError, match="does not answer") as caught:
            target.stored(gone, SIZE)
        assert secret not in str(caught.value) and caught.value.__cause__ is None


def test_without_credentials_obstore_uploads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [n for n in os.environ if n.startswith("AZURE_")]:
        monkeypatch.delenv(name)
    assert multipart.target("az://lab/runs/a.bin") is None
    assert multipart.target("sftp://lab/runs/a.bin") is None
