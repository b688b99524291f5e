"""Files of runs on a server: pieces, interruptions, ranges, and paths that leave their folder."""

import hashlib
import json
from pathlib import Path

import pytest

from runbase.store.store import Store

from .conftest import Http

CONTENT = bytes(range(256)) * 100


def test_a_file_in_pieces(http: Http, store: Store) -> None:
    run = store.run("run-1")
    place = f"/api/files/digits/{run.id}/artifacts/weights.bin"
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert http.send("HEAD", place).headers["Upload-Offset"] == "0"
    assert http.send("PUT", place, CONTENT[:100], Upload_Offset="0").status == 204
    refused = http.send("PUT", place, CONTENT[200:], Upload_Offset="200")
    assert (refused.status, refused.headers["Upload-Offset"]) == (409, "100")
    assert http.send("PUT", place, CONTENT[50:150], Upload_Offset="50").status == 204  # sent twice
    wrong = http.send("PUT", place, b"rubbish", Upload_Offset="150", Upload_Sha256=digest)
    assert wrong.status == 422
    assert "upload it again from the beginning" in json.loads(wrong.data)["detail"]
    assert http.send("PUT", place, CONTENT, Upload_Offset="0", Upload_Sha256=digest).status == 204
    assert http.send("HEAD", place).headers["Upload-Complete"] == "?1"
    folder = store.folder(run)
    assert folder is not None
    assert (folder / "artifacts" / "weights.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "path",
    [
        "../../runbase.db",
        "..%2f..%2frunbase.db",
        "%2e%2e/%2e%2e/runbase.db",
        "a/../../../x",
        "a/%2e%2e/%2e%2e/x",
        "a\\b",
        "journal.jsonl",
        "journal-2.jsonl",
        "JOURNAL.jsonl",
        "heartbeat",
        "uploads/1.json",
        "x.part",
        "a%00b",
    ],
)
def test_paths_that_are_not_files_of_the_run(http: Http, store: Store, path: str) -> None:
    run = store.run("run-1")
    before = {p: p.stat().st_mtime_ns for p in Path(store.home or "").rglob("*") if p.is_file()}
    answer = http.send("PUT", f"/api/files/digits/{run.id}/{path}", b"x", Upload_Offset="0")
    assert answer.status in (400, 404), answer.data
    after = {p: p.stat().st_mtime_ns for p in Path(store.home or "").rglob("*") if p.is_file()}
    assert set(after) == set(before)


def test_downloads_and_ranges(http: Http, store: Store) -> None:
    run = store.run("secret")
    place = f"/api/runs/{run.id}/files/model.bin"
    whole = http.send("GET", place)
    assert whole.data == CONTENT
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in whole.headers["Content-Security-Policy"]
    for header, expected in (
        ("bytes=0-9", CONTENT[:10]),
        ("bytes=25590-", CONTENT[25590:]),
        ("bytes=-10", CONTENT[-10:]),
        ("bytes=10-9999999", CONTENT[10:]),
    ):
        part = http.send("GET", place, Range=header)
        assert (part.status, part.data) == (206, expected)
        assert part.headers["Content-Range"].endswith(f"/{len(CONTENT)}")
    assert http.send("GET", place, Range="bytes=nonsense").data == CONTENT
    assert http.send("GET", f"/api/runs/{run.id}/files/nothing.bin").status == 404
    assert http.send("GET", f"/api/runs/{run.id}/files/output.log").status == 404


def test_logged_pages_do_not_run_as_pages_of_the_server(
    http: Http, store: Store, tmp_path: Path
) -> None:
    import runbase

    (tmp_path / "evil.html").write_text("<script>alert(1)</script>")
    with runbase.start_run("digits", home=store.home, capture=False) as run:
        run.log_artifact(tmp_path / "evil.html")
    store.sync()
    answer = http.send("GET", f"/api/runs/{run.id}/files/evil.html")
    assert answer.headers["Content-Type"].startswith("text/plain")
