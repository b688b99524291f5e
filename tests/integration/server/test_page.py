"""How the server serves the page: one document for all views, files with digests, and headers that keep scripts out."""

import gzip
from pathlib import Path

import pytest

from runbase.errors import UsageError
from runbase.server import page
from runbase.server.options import ServerOptions
from runbase.server.serve import free_port, serving
from runbase.store.store import Store

from .conftest import Http

DOCUMENT = "<!doctype html><html><head><title>runbase</title></head></html>"


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(DOCUMENT)
    (folder / "assets" / "index-abc.js").write_text("export {};")
    (tmp_path / "secret.txt").write_text("secret")
    monkeypatch.setattr(page, "FOLDER", folder)
    return folder


@pytest.mark.parametrize("path", ["/", "/runs", "/e/digits", "/run/abc/logs", "/compare?r=a,b"])
def test_each_view_is_the_document_with_its_base(store: Store, built: Path, path: str) -> None:
    with serving(store, ServerOptions(port=0, root_path="/base")) as url:
        answer = Http(url).send("GET", f"/base{path}")
        assert answer.status == 200
        assert b'<head><base href="/base/">' in answer.data
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["Cache-Control"] == "no-cache"


def test_files_are_kept_and_confined(http: Http, built: Path) -> None:
    answer = http.send("GET", "/assets/index-abc.js")
    assert (answer.status, answer.data) == (200, b"export {};")
    assert "immutable" in answer.headers["Cache-Control"]
    for name in ("missing.js", "..%2F..%2Fsecret.txt", "%2e%2e", ".hidden"):
        refused = http.send("GET", f"/assets/{name}")
        assert refused.status in (400, 404), name
        assert b"secret" not in refused.data


def test_a_file_that_was_compressed_when_built_is_sent_as_it_is(http: Http, built: Path) -> None:
    packed = gzip.compress(b"packed" * 1000, mtime=0)
    (built / "assets" / "index-abc.js.gz").write_bytes(packed)
    with http.pool.request(
        "GET",
        f"{http.url}/assets/index-abc.js",
        headers={"Accept-Encoding": "gzip"},
        preload_content=False,
        decode_content=False,
    ) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert answer.read(decode_content=False) == packed  # not compressed again
    plain = http.pool.request("GET", f"{http.url}/assets/index-abc.js")
    assert (plain.data, plain.headers.get("Content-Encoding")) == (b"export {};", None)


def test_a_checkout_without_a_page_says_how_to_build_it(
    http: Http, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "FOLDER", tmp_path / "none")
    assert b"make page" in http.send("GET", "/runs").data


def test_a_free_port() -> None:
    first = free_port(46000, 200)
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", first))
        taken.listen()
        with pytest.raises(UsageError, match=f"port {first} is taken"):
            free_port(first, 0)
        assert free_port(first, 200) > first


def test_an_unknown_address_is_the_page_for_people_and_a_problem_for_programs(
    http: Http, built: Path
) -> None:
    page_answer = http.send("GET", "/no/such/view", accept="text/html,*/*")
    assert (page_answer.status, b"<base" in page_answer.data) == (404, True)
    assert http.json("GET", "/no/such/view", status=404)["status"] == 404
    api = http.send("GET", "/api/no-such-thing", accept="text/html")
    assert api.headers["Content-Type"].startswith("application/problem+json")
