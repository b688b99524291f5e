"""Files in object stores: the server answers with a signed URL, and clients read them from there."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

import runbase
from runbase.artifacts import resolve
from runbase.errors import StoreError
from runbase.server.options import ServerOptions
from runbase.server.serve import serving
from runbase.storage.remote import buckets, files
from runbase.store.store import Store
from tests.integration.relay import Relay

from .conftest import Http

CONTENT = os.urandom(3 * 2**20)


@pytest.fixture(autouse=True)
def hosts_are_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buckets, "_unreachable", set())
    monkeypatch.setattr(buckets, "PATIENCE", 60.0)  # of a machine that is busy


@pytest.fixture
def relay(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A relay before the object store: what passes it does not pass the server."""
    place = urlsplit(os.environ["AWS_ENDPOINT_URL"])
    with Relay((place.hostname or "", place.port or 0)) as relay:
        monkeypatch.setenv("AWS_ENDPOINT_URL", relay.url)
        yield relay


@pytest.fixture
def run(
    relay: Relay, bucket: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A run whose file is only in the object store."""
    monkeypatch.setenv("RUNBASE_ARTIFACTS", bucket)
    (tmp_path / "page.html").write_bytes(CONTENT)
    with runbase.start_run("digits", home=store.home, capture=False) as run:
        run.log_artifact(tmp_path / "page.html")
        run.log_text("said", "hello")
    store.sync()
    (run.folder / "artifacts" / "page.html").unlink()
    monkeypatch.delenv("RUNBASE_ARTIFACTS")
    return run.id


def test_the_answer_is_a_signed_url(http: Http, run: str, relay: Relay) -> None:
    place = f"/api/runs/{run}/files/page.html"
    answer = http.send("GET", f"{place}?redirect=1")
    assert (answer.status, answer.data) == (307, b"")
    assert answer.headers["Cache-Control"] == "no-store"
    url = answer.headers["Location"]
    assert url.startswith(relay.url)
    assert "X-Amz-Expires=300" in url
    assert urllib3.request("GET", url).data == CONTENT
    plain = http.send("GET", place)
    assert (plain.status, plain.data) == (200, CONTENT), "without the parameter, bytes"


def test_files_that_are_on_the_server_come_from_it(http: Http, store: Store) -> None:
    answer = http.send("GET", f"/api/runs/{store.run('secret').id}/files/model.bin?redirect=1")
    assert answer.status == 200


def test_the_permission_is_that_of_the_bytes(
    guarded: Callable[..., Http], run: str, store: Store
) -> None:
    place = f"/api/runs/{run}/files/page.html?redirect=1"
    assert guarded().send("GET", place).status == 401
    assert guarded("read").send("GET", place).status == 307
    other = guarded("read", experiments=["other"])
    assert other.send("GET", place).status == 404


def test_a_url_of_somebody_else_is_not_read_with_the_servers_credentials(
    http: Http, run: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody who may log can record any URL: only places of the server's artifacts are served."""
    own = store.artifact(f"{run}/page.html").uri
    for uri in (own.replace(run, "other"), own.replace(run, f"{run}/../other")):
        update = "update artifacts set uri = :uri where run_id = :run"
        store.sql(update, {"uri": uri, "run": run}, write=True)
        for query in ("", "?redirect=1"):
            answer = http.send("GET", f"/api/runs/{run}/files/page.html{query}")
            assert answer.status == 404, uri
            assert b"not a place of this server" in answer.data
    store.sql(update, {"uri": own.replace(run, "other"), "run": run}, write=True)
    monkeypatch.setenv("RUNBASE_ARTIFACTS", own.partition(f"/{run}")[0])
    answer = http.send("GET", f"/api/runs/{run}/files/page.html?redirect=1")
    assert answer.status == 307, "below the setting"


def test_the_signed_url_is_not_logged(
    http: Http, run: str, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    caplog.set_level(logging.DEBUG, "runbase")
    caplog.set_level(logging.DEBUG, "urllib3")
    with runbase.open(http.url) as remote:
        remote.download(f"{run}/page.html", tmp_path / "copy")
    said = [r.getMessage() for r in caplog.records if not r.name.startswith("werkzeug")]
    assert any("redirect=1" in line for line in said), "requests to the server are"
    assert not [line for line in said if "X-Amz-Signature" in line]


def test_the_client_reads_from_the_object_store(
    http: Http, run: str, relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNBASE_STORE", http.url)
    with runbase.open() as remote:
        before = relay.passed
        copy = remote.download(f"{run}/page.html", tmp_path / "copy")
        assert copy.read_bytes() == CONTENT
        assert relay.passed - before > len(CONTENT)
        cut = relay.passed + len(CONTENT) // 2
        relay.cuts_at = [cut]
        assert remote.download(f"{run}/page.html", tmp_path / "again").read_bytes() == CONTENT
        assert relay.cuts_at == []


def test_bytes_through_the_server_if_the_object_store_cannot_be_reached(
    bucket: str, store: Store, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server knows the object store by a name that the client does not reach."""
    monkeypatch.setattr(Store, "signed_url", lambda *_: "http://127.0.0.1:9/lab/page.html?secret")
    with serving(store) as url, runbase.open(url) as remote:
        assert remote.download(f"{run}/page.html", tmp_path / "copy").read_bytes() == CONTENT
        assert buckets._unreachable == {"127.0.0.1:9"}
        assert remote.download(f"{run}/page.html", tmp_path / "again").read_bytes() == CONTENT


def test_another_content_is_refused(http: Http, run: str, store: Store, tmp_path: Path) -> None:
    import boto3

    key = store.locate(f"{run}/page.html").removeprefix("s3://lab/")
    boto3.client("s3").put_object(Bucket="lab", Key=key, Body=b"tampered")
    with (
        runbase.open(http.url) as remote,
        pytest.raises(StoreError, match="another SHA-256"),
    ):
        remote.download(f"{run}/page.html", tmp_path / "copy")
    assert not list(tmp_path.glob("*copy*")) and not list(tmp_path.glob(".*.part"))


def test_a_page_is_not_served_from_the_address_of_the_server(
    store: Store, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object store behind the same address would make a logged page one of this server."""
    with serving(store, ServerOptions(port=0)) as url:
        monkeypatch.setattr(Store, "signed_url", lambda *_: f"{url}/lab/page.html?secret")
        answer = Http(url).send("GET", f"/api/runs/{run}/files/page.html?redirect=1")
        assert answer.status == 200
        assert answer.headers["Content-Type"].startswith("text/plain")


def test_a_client_with_credentials_reads_what_the_server_cannot(
    bucket: str, store: Store, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise StoreError("no credentials")

    digest = hashlib.sha256(CONTENT).hexdigest()
    with serving(store) as url, runbase.open(url) as remote:
        [artifact] = [a for a in remote.artifacts(run) if a.sha256 == digest]
        monkeypatch.setattr(files, "download", refused)
        copy = resolve.download(remote.storage, remote.home, artifact, tmp_path / "copy")
        assert copy.read_bytes() == CONTENT
