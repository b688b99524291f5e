"""Sign in to a server of a group in a browser."""

from playwright.sync_api import Browser, expect

from runbase.server import users
from runbase.server.options import ServerOptions
from runbase.server.serve import serving
from runbase.server.tokens import NewToken, make
from runbase.store.store import Store

from .conftest import WAIT
from .test_flows import charts, rows


def test_with_a_token(browser: Browser, store: Store) -> None:
    token = make(store, NewToken(name="ada", permissions=["read"])).token
    with serving(store, ServerOptions(port=0, auth="tokens")) as url:
        context = browser.new_context()
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.goto(f"{url}/e/digits")
        page.get_by_label("Token").fill("rb_wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator(".signin").get_by_role("alert")).to_contain_text("wrong")
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        rows(page, 8)
        expect(page.locator(".live.open")).to_be_visible()
        context.close()


def test_with_a_name(browser: Browser, store: Store) -> None:
    users.add(store, "ada", "viewer", "correct horse battery")
    with serving(store, ServerOptions(port=0, auth="users")) as url:
        context = browser.new_context()
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.goto(url)
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill("correct horse battery")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("heading", name="Home")).to_be_visible()
        context.close()


def test_the_one_time_address(browser: Browser, store: Store) -> None:
    with serving(store, ServerOptions(port=0, auth="link", link_key="k" * 40)) as url:
        context = browser.new_context()
        context.set_default_timeout(WAIT)
        page = context.new_page()
        page.goto(f"{url}/?key={'k' * 40}")
        expect(page.get_by_role("heading", name="Home")).to_be_visible()
        stranger = browser.new_context().new_page()
        stranger.goto(f"{url}/runs")
        expect(stranger.get_by_text("Open the address that the server printed")).to_be_visible()
        context.close()
        stranger.context.close()


def test_a_read_only_link(browser: Browser, store: Store) -> None:
    """Who gets the link sees the experiment as the sender did, changes nothing, and keeps no token in the address."""
    token = make(store, NewToken(name="ada", permissions=["admin"])).token
    with serving(store, ServerOptions(port=0, auth="tokens")) as url:
        context = browser.new_context()
        context.set_default_timeout(WAIT)
        context.add_init_script(
            "navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }"
        )
        page = context.new_page()
        page.goto(f"{url}/e/digits?q=name like 'run-%'#{token}")
        rows(page, 6)
        assert "#" not in page.url
        page.get_by_role("button", name="Copy as").click()
        page.get_by_role("button", name="Read-only link").click()
        page.wait_for_function("() => window.copied")
        link = page.evaluate("window.copied")
        guest = browser.new_context()
        guest.set_default_timeout(WAIT)
        other = guest.new_page()
        other.goto(link)
        rows(other, 6)
        assert "rb_" not in other.url
        assert other.evaluate("document.cookie") == ""
        status = other.evaluate(
            "fetch('/api/bulk', {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify({action: 'delete', where: 'true'})}).then(a => a.status)"
        )
        assert status == 403
        (shared,) = [one for one in store.storage.tokens() if one.name.startswith("link to digits")]
        assert shared.experiments == [store.experiment("digits").id]
        assert shared.expires_at is not None
        context.close()
        guest.close()


def test_a_link_to_one_run_alone(browser: Browser, store: Store) -> None:
    token = make(store, NewToken(name="ada", permissions=["admin"])).token
    run, other = store.run("run-1").id, store.run("run-2").id
    with serving(store, ServerOptions(port=0, auth="tokens")) as url:
        context = browser.new_context()
        context.set_default_timeout(WAIT)
        context.add_init_script(
            "navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }"
        )
        page = context.new_page()
        page.goto(f"{url}/run/{run}/charts#{token}")
        page.get_by_role("button", name="Share").click()
        page.wait_for_function("() => window.copied")
        guest = browser.new_context()
        guest.set_default_timeout(WAIT)
        reader = guest.new_page()
        reader.goto(page.evaluate("window.copied"))
        charts(reader, "val/loss", 1)
        reader.goto(f"{url}/run/{other}")
        expect(reader.get_by_role("heading", name="No such run")).to_be_visible()
        reader.goto(f"{url}/runs")
        rows(reader, 1)
        page.goto(f"{url}/settings?tab=tokens")
        expect(page.get_by_text("1 run and 0 documents only")).to_be_visible()
        context.close()
        guest.close()


def test_a_link_to_a_report_and_what_it_shows(browser: Browser, store: Store) -> None:
    token = make(store, NewToken(name="ada", permissions=["admin"])).token
    text = "# Mine\n\n```runbase\ncurves: val/loss\nexperiment: digits\nlimit: 3\nwhere: name like 'run-%'\n```\n"
    report = store.storage.put_document("report", "Mine", "ada", {"text": text}, None)
    with serving(store, ServerOptions(port=0, auth="tokens")) as url:
        context = browser.new_context()
        context.set_default_timeout(WAIT)
        context.add_init_script(
            "navigator.clipboard.writeText = text => { window.copied = text; return Promise.resolve(); }"
        )
        page = context.new_page()
        page.goto(f"{url}/report/{report.id}#{token}")
        charts(page, "val/loss", 3)
        page.get_by_role("button", name="share").click()
        page.wait_for_function("() => window.copied")
        guest = browser.new_context()
        guest.set_default_timeout(WAIT)
        reader = guest.new_page()
        reader.goto(page.evaluate("window.copied"))
        expect(reader.get_by_role("heading", name="Mine").first).to_be_visible()
        charts(reader, "val/loss", 3)
        assert {run.name for run in map(store.run, store.storage.tokens()[0].only.runs)} == {  # type: ignore[union-attr]
            "run-3",
            "run-4",
            "run-5",
        }
        context.close()
        guest.close()
