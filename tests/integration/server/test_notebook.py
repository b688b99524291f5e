"""`runbase.show` in a notebook."""

from pathlib import Path

import pytest
import urllib3

import runbase
from runbase.server import page
from runbase.store.store import Store


@pytest.fixture(autouse=True)
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "static").mkdir()
    (tmp_path / "static/index.html").write_text("<!doctype html><html><head></head></html>")
    monkeypatch.setattr(page, "FOLDER", tmp_path / "static")


def test_views_of_a_store(store: Store) -> None:
    run = store.run("run-1")
    shown = runbase.show(run, store=store)
    assert shown.url.endswith(f"/run/{run.id}")
    answer = urllib3.request("GET", shown.url)
    assert answer.status == 200
    assert "http://localhost:*" in answer.headers["Content-Security-Policy"]
    assert f"{run.id}?embed=1" in shown._repr_html_()
    same = runbase.show(experiment="digits", where="params.lr > 0", store=store)
    assert same.url.rsplit("/", 2)[0] == shown.url.rsplit("/", 2)[0]
    assert same.url.endswith("/e/digits?q=params.lr+%3E+0")
    assert "q=params.lr+%3E+0&amp;embed=1" in same._repr_html_()
    two = runbase.show(list(store.runs("name like 'run-%'", limit=2)), store=store)
    assert two.url.count(",") == 1
    assert runbase.show("/sql", store=store).url.endswith("/sql")
    assert runbase.show(store.experiment("digits"), store=store).url.endswith("/e/digits")
    with pytest.raises(runbase.UsageError, match="int cannot be shown"):
        runbase.show(3, store=store)


def test_the_page_of_a_server_cannot_be_framed(store: Store) -> None:
    from runbase.server.serve import serving

    with serving(store) as url:
        policy = urllib3.request("GET", f"{url}/runs").headers["Content-Security-Policy"]
        assert policy.endswith("frame-ancestors 'self'")
        for view in page.VIEWS:
            assert urllib3.request("GET", f"{url}/{view}").status == 200
