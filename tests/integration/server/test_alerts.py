"""Rules and deliveries: each alert once, whatever receivers and processes do."""

import hashlib
import hmac
import logging
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import runbase
from runbase.errors import Conflict, FilterError, NotFound, UsageError
from runbase.events import Alerted, Ended, Started
from runbase.ids import new_id
from runbase.server.alerts import rules, sending
from runbase.server.alerts.news import AlertNews
from runbase.server.alerts.rules import NewRule, make
from runbase.server.alerts.sending import Mail, NotDelivered, Sender
from runbase.server.alerts.watcher import Watcher
from runbase.server.options import ServerOptions
from runbase.server.serve import serving
from runbase.status import Status
from runbase.store.store import Store
from runbase.testing.contract import T0, Journal
from tests.patience import wait_until

from .conftest import Http, on_both
from .receivers import mailbox, receiving
from .test_live import Stream

Guarded = Callable[..., Http]


empty_on_both = pytest.mark.parametrize("empty", ["sqlite", "postgres"], indirect=True)


@pytest.fixture
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    on_postgres = getattr(request, "param", "sqlite") == "postgres"
    url = request.getfixturevalue("postgres") if on_postgres else tmp_path / "alerts.db"
    with runbase.open(url) as store:
        yield store


@pytest.fixture
def watching(empty: Store) -> Iterator[Callable[..., Watcher]]:
    """Starts a watcher of a store."""
    started: list[Watcher] = []

    def start(store: Store = empty, sender: Sender | None = None, **options: Any) -> Watcher:
        watcher = Watcher(store, sender or Sender(), **({"first": 0.05, "sweep": 0.1} | options))
        started.append(watcher)
        watcher.start()
        return watcher

    yield start
    for watcher in started:
        watcher.stop()


def ended(store: Store, name: str = "a-run", status: Status = Status.FAILED) -> Journal:
    journal = Journal(store.storage, name=name)
    journal.write(Started(time=T0), Ended(time=T0 + 9, status=status))
    return journal


def states(store: Store) -> list[str]:
    return [entry.status for entry in store.storage.alert_deliveries()]


@empty_on_both
def test_a_webhook_is_signed_and_sent_once(empty: Store, watching: Callable[..., Any]) -> None:
    with receiving(refuse=2) as receiver:
        ended(empty, "before")
        made = make(
            empty,
            NewRule(name="failed", where="status = 'FAILED'", to=[f"webhook:{receiver.url}/x?k=1"]),
        )
        journal = ended(empty, "after")
        watching(sender=Sender(url="https://runbase.lab/"))
        wait_until(lambda: states(empty) == ["delivered"])
        (document,) = receiver.documents()
        ((headers, body),) = receiver.accepted
    assert document["title"] == document["rule"] == "failed"
    assert document["run"] == {"id": journal.run, "name": "after", "experiment": "contract"}
    assert document["url"] == f"https://runbase.lab/run/{journal.run}"
    parts = dict(part.split("=") for part in headers["runbase-signature"].split(","))
    signed = f"{parts['t']}.".encode() + body
    right = hmac.new(made.secret.encode(), signed, hashlib.sha256).hexdigest()
    assert parts["v1"] == right
    (log,) = empty.storage.alert_deliveries()
    assert (log.id, log.attempts) == (headers["runbase-delivery"], 3)
    assert receiver.tries == 3


def test_slack_gets_text_with_a_link(empty: Store, watching: Callable[..., Any]) -> None:
    with receiving() as receiver:
        make(empty, NewRule(name="<done>", where="pid = 1", to=[f"slack:{receiver.url}/T/B"]))
        journal = Journal(empty.storage, name="a & b")
        journal.write(Started(time=T0))
        watching(sender=Sender(url="https://runbase.lab"))
        wait_until(lambda: len(receiver.accepted) == 1)
        (document,) = receiver.documents()
    assert set(document) == {"text"}
    assert "*&lt;done&gt;*" in document["text"]
    assert f"<https://runbase.lab/run/{journal.run}|a &amp; b (contract)>" in document["text"]


def test_mail_arrives_once(empty: Store, watching: Callable[..., Any]) -> None:
    with mailbox(refuse=1) as box:
        make(empty, NewRule(name="lost", where="status = 'lost'", to=["mailto:ada@lab.example"]))
        ended(empty, "gone", Status.NODE_FAIL)
        mail = Mail(host=box.host, port=box.port, sender="runbase@lab.example", security="none")
        watching(sender=Sender(mail=mail))
        wait_until(lambda: states(empty) == ["delivered"])
        ((recipients, message),) = box.messages
        assert box.tries == 2
    assert recipients == ["ada@lab.example"]
    assert message["From"] == "runbase@lab.example"
    assert message["Subject"] == "[warning] lost: gone"
    assert "gone (contract) is NODE_FAIL: status = 'lost'" in message.get_payload()


@empty_on_both
def test_alerts_of_code_are_forwarded(empty: Store, home: Path, watching: Any) -> None:
    with receiving() as receiver:
        to = [f"webhook:{receiver.url}", "desktop"]
        make(empty, NewRule(name="all", level="error", to=to))
        watching()
        with runbase.start_run("said", home=home, store=empty.address, capture=False) as run:
            run.alert("quiet", level="info")
            run.alert("loud", "very", level="error")
            run.flush()
            wait_until(lambda: len(receiver.accepted) == 1)
        (document,) = receiver.documents()
    assert (document["title"], document["text"], document["rule"]) == ("loud", "very", None)
    assert len(states(empty)) == 1


@empty_on_both
def test_an_old_alert_that_is_read_now_is_not_news(empty: Store) -> None:
    made = make(empty, NewRule(name="all", level="info", to=["webhook:http://127.0.0.1:9"]))
    old = Alerted(time=T0 - 10 * 365 * 86400.0, id=new_id(), title="years ago")
    Journal(empty.storage).write(old)
    (rule,) = empty.storage.alert_rules()
    assert rule.id == made.id
    assert rules.evaluate(empty, rule) == 0
    assert len(empty.alerts()) == 1


@empty_on_both
def test_time_alone_makes_a_run_match(empty: Store, watching: Callable[..., Any]) -> None:
    """Nothing changes: the filter compares with the present."""
    Journal(empty.storage).write(Started(time=1e9))
    make(empty, NewRule(name="stuck", where="started_at < ago('30 min')", to=["desktop"]))
    watching()
    wait_until(lambda: len(empty.alerts("rule = 'stuck'")) == 1)


@empty_on_both
def test_a_run_that_matches_again_raises_no_second_alert(empty: Store) -> None:
    make(empty, NewRule(name="failed", where="status = 'FAILED'", to=["desktop"]))
    journal = ended(empty)
    (rule,) = empty.storage.alert_rules()
    assert rules.evaluate(empty, rule, [journal.run]) == 1
    empty.set_status(journal.run, "COMPLETED")
    assert rules.evaluate(empty, rule, [journal.run]) == 0
    empty.set_status(journal.run, "FAILED")
    assert rules.evaluate(empty, rule) == 0
    assert len(empty.alerts()) == 1


@empty_on_both
def test_a_rule_of_an_experiment_sees_no_other(empty: Store) -> None:
    empty.create_experiment("mine")
    for text in ("status = 'FAILED'", "status = 'FAILED' or 1 = 1 -- all"):
        make(empty, NewRule(name=text, where=text, experiment="mine", to=["desktop"]))
    mine = Journal(empty.storage, experiment="mine")
    mine.write(Started(time=T0), Ended(time=T0 + 1, status=Status.FAILED))
    ended(empty, "of another experiment")
    for rule in empty.storage.alert_rules():
        assert rules.evaluate(empty, rule) == 1
    assert {alert.run_id for alert in empty.alerts()} == {mine.run}


WATCHES = """
import sys, threading, runbase
from runbase.server.alerts.sending import Sender
from runbase.server.alerts.watcher import Watcher
store = runbase.open(sys.argv[1], sync=False)
watcher = Watcher(store, Sender(), sweep=0.2, lease=float(sys.argv[2]), first=0.05)
watcher.start()
print("ready", flush=True)
sys.stdin.readline()
watcher.stop()
"""


def test_the_deliverer_is_killed(empty: Store, script: Callable[..., Any]) -> None:
    """The first process dies during its attempt; another one delivers when the claim has expired."""
    with receiving(hold=True) as receiver:
        make(empty, NewRule(name="x", where="pid = 1", to=[f"webhook:{receiver.url}"]))
        Journal(empty.storage).write(Started(time=T0))
        first = script(WATCHES, empty.url, "2")
        wait_until(lambda: receiver.tries == 1)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert states(empty) == ["waiting"]
        receiver.accepted.clear()
        receiver.release.set()
        second = script(WATCHES, empty.url, "60")
        wait_until(lambda: states(empty) == ["delivered"])
        second.communicate("\n")
        assert receiver.tries == 2
    assert len(empty.alerts()) == 1


def test_two_processes_on_postgres_deliver_each_once(
    postgres: str, script: Callable[..., Any]
) -> None:
    with receiving(refuse=3) as receiver, runbase.open(postgres, sync=False) as store:
        make(store, NewRule(name="x", where="pid = 1", to=[f"webhook:{receiver.url}"]))
        processes = [script(WATCHES, postgres, "60") for _ in range(2)]
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        runs = []
        for number in range(20):
            journal = Journal(store.storage, name=f"run-{number}")
            journal.write(Started(time=T0))
            runs.append(journal.run)
        wait_until(lambda: states(store) == ["delivered"] * 20)
        for process in processes:
            process.communicate("\n")
        documents = receiver.documents()
        assert sorted(document["run"]["id"] for document in documents) == sorted(runs)
        assert receiver.tries == 23
        assert len(store.alerts()) == 20


def test_a_delivery_is_given_up_after_a_day(
    empty: Store, watching: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runbase.server.alerts.watcher.GIVE_UP", 0.3)
    with receiving(refuse=1000) as receiver:
        make(empty, NewRule(name="x", where="pid = 1", to=[f"webhook:{receiver.url}/secret"]))
        Journal(empty.storage).write(Started(time=T0))
        watching()
        wait_until(lambda: states(empty) == ["failed"])
    (log,) = empty.storage.alert_deliveries()
    assert log.error == f"{receiver.url}/… answered 503"
    assert log.ended_at is not None


@empty_on_both
def test_a_filter_that_no_longer_works_does_not_stop_others(
    empty: Store, watching: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    make(empty, NewRule(name="bad", where="pid = 1", to=["desktop"]))
    make(empty, NewRule(name="good", where="pid = 1", to=["desktop"]))
    empty.sql("update server_alert_rules set condition = 'gone = 1' where name = 'bad'", write=True)
    Journal(empty.storage).write(Started(time=T0))
    with caplog.at_level(logging.WARNING):
        watching()
        wait_until(lambda: len(empty.alerts("rule = 'good'")) == 1)
    assert "the rule 'bad' cannot be evaluated" in caplog.text


def test_what_is_no_rule(empty: Store) -> None:
    to = ["desktop"]
    make(empty, NewRule(name="x", where="pid = 1", to=to))
    with pytest.raises(Conflict, match="'x'"):
        make(empty, NewRule(name="x", to=to))
    with pytest.raises(FilterError):
        make(empty, NewRule(name="y", where="pid = 1) or (1 = 1", to=to))
    with pytest.raises(NotFound):
        make(empty, NewRule(name="y", experiment="none", to=to))
    for wrong in (
        NewRule(name="y", where="pid = 1"),
        NewRule(name="y", where=" ", to=to),
        NewRule(name="y\n", to=to),
        NewRule(name="y", to=["webhook:ftp://x"]),
    ):
        with pytest.raises(UsageError):
            make(empty, wrong)
    with pytest.raises(NotFound, match="did you mean 'x'"):
        rules.find(empty, "xx")


def test_a_shared_server_sends_nothing_to_itself(empty: Store) -> None:
    """Neither an address, nor a name that leads to one, gets a byte."""
    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        alert = _alert(empty)
        sender = Sender(private=False)
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "169.254.169.254", "0"):
            with pytest.raises(NotDelivered):
                sender.send(f"webhook:http://{host}:{port}/", alert, "id", "key")
        assert receiver.tries == 0


def test_a_name_that_leads_to_the_server(empty: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *rest, **more: real("127.0.0.1", *rest, **more)
    )
    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        target = f"webhook:http://rebound.example:{port}/"
        with pytest.raises(NotDelivered, match="one of the server itself"):
            Sender(private=False).send(target, _alert(empty), "id", "key")
        assert receiver.tries == 0
        Sender().send(target, _alert(empty), "id", "key")
        assert receiver.tries == 1


def _alert(store: Store) -> Any:
    Journal(store.storage).write(Alerted(time=T0, id=new_id(), title="t"))
    return store.alerts(limit=1)[0]


def test_a_redirect_is_not_followed(empty: Store) -> None:
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Redirects(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(302)
            self.send_header("Location", receiver.url)
            self.end_headers()

    with receiving() as receiver, HTTPServer(("127.0.0.1", 0), Redirects) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(NotDelivered, match="answered 302"):
            Sender().send(
                f"webhook:http://127.0.0.1:{server.server_port}", _alert(empty), "id", "key"
            )
        assert receiver.tries == 0


def test_settings_of_mail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNBASE_SMTP_HOST", "mail.lab")
    monkeypatch.setenv("RUNBASE_SMTP_PASSWORD", "secret")
    monkeypatch.setenv("RUNBASE_SMTP_USER", "ada")
    mail = sending.sender().mail
    assert mail == Mail(host="mail.lab", port=587, user="ada", password="secret")
    monkeypatch.setenv("RUNBASE_SMTP_SECURITY", "ssl")
    with pytest.raises(UsageError, match="starttls"):
        sending.sender()


# The HTTP API


@on_both
def test_the_api_of_alerts(guarded: Guarded, store: Store) -> None:
    admin, reader = guarded("admin"), guarded("read")
    limited = guarded("write", experiments=["other"])
    to = ["webhook:https://ada:pw@hooks.example/T0/B1?token=x", "mailto:ada@lab.example"]
    rule = {"name": "bad", "where": "status = 'FAILED'", "to": to, "experiment": "digits"}
    assert reader.send("POST", "/api/alert-rules", rule).status == 403
    assert limited.send("POST", "/api/alert-rules", rule).status == 403
    assert limited.send("POST", "/api/alert-rules", {"name": "x", "to": to}).status == 403
    made = admin.json("POST", "/api/alert-rules", rule, status=201)
    assert made["secret"].startswith("rbs_")
    assert admin.send("POST", "/api/alert-rules", rule).status == 409
    (shown,) = reader.json("GET", "/api/alert-rules")
    assert shown["to"] == ["webhook:https://hooks.example/…", "mailto:ada@lab.example"]
    assert "secret" not in shown
    assert limited.json("GET", "/api/alert-rules") == []
    assert limited.send("DELETE", "/api/alert-rules/bad").status == 404
    run = store.run("run-1")
    store.storage.raise_alerts(made["id"], {run.id: "it failed"})
    (alert,) = reader.json("GET", "/api/alerts?where=level%20%3D%20'warning'")
    assert (alert["title"], alert["text"], alert["run_id"]) == ("bad", "it failed", run.id)
    assert limited.json("GET", "/api/alerts") == []
    assert limited.json("GET", "/api/alert-deliveries") == []
    targets = {entry["target"] for entry in reader.json("GET", "/api/alert-deliveries")}
    assert targets == set(shown["to"])
    assert reader.send("GET", "/api/alerts?since=1e300").status == 422
    assert admin.json("DELETE", "/api/alert-rules/bad") == {"count": 1}
    assert admin.send("DELETE", "/api/alert-rules/bad").status == 404


def test_a_shared_server_refuses_targets_on_itself(guarded: Guarded, store: Store) -> None:
    admin = guarded("admin")
    for target in (
        "webhook:http://127.0.0.1/",
        "slack:http://[::1]/",
        "webhook:file:///etc/passwd",
    ):
        answer = admin.send("POST", "/api/alert-rules", {"name": "x", "to": [target]})
        assert answer.status == 400, answer.data
    options = ServerOptions(port=0, auth="tokens", alert_private_targets=True)
    with serving(store, options) as url:
        body = {"name": "x", "to": ["webhook:http://127.0.0.1:9/"]}
        Http(url, admin.token).json("POST", "/api/alert-rules", body, status=201)


@pytest.mark.parametrize("table", ["rules", "deliveries", "seen"])
def test_no_client_reads_the_keys_of_rules(guarded: Guarded, table: str) -> None:
    client = guarded("read")
    query = f"select * from server_alert_{table}"
    assert client.send("POST", "/api/sql", {"query": query}).status == 403
    names = {found["name"] for found in client.json("GET", "/api/schema")}
    assert "alerts" in names
    assert not any(name.startswith("server_alert") for name in names)


@on_both
def test_a_server_raises_and_delivers(store: Store) -> None:
    with receiving() as receiver, serving(store) as url:
        http = Http(url)
        stream = Stream(http, "?experiment=digits")
        body = {"name": "good", "where": "metrics.acc > 0.9", "to": [f"webhook:{receiver.url}"]}
        http.json("POST", "/api/alert-rules", body, status=201)
        with runbase.start_run("digits", home=store.home, name="best", capture=False) as run:
            run.log({"acc": 0.95})
            run.flush()
            wait_until(lambda: len(receiver.accepted) == 1)
        wait_until(lambda: any(event == "alert" for event, _, _ in stream.events))
        found = [data for event, _, data in stream.events if event == "alert"]
        assert [(alert["title"], alert["run"]) for alert in found] == [("good", "best")]
        cursor = stream.events[0][1]
        stream.close()
        again = Stream(http, since=cursor)
        wait_until(lambda: any(event == "alert" for event, _, _ in again.events))
        again.close()
    assert receiver.documents()[0]["run"]["name"] == "best"
    assert len(receiver.accepted) == 1


@empty_on_both
def test_a_listener_may_be_there_before_its_experiment(empty: Store) -> None:
    news = AlertNews(empty, "nans = 0", "later")
    news.begin()
    assert news.look() == []
    journal = Journal(empty.storage, experiment="later")
    journal.write(Alerted(time=T0, id=new_id(), title="first"))
    assert [alert.title for alert in news.look()] == ["first"]
    with pytest.raises(FilterError):
        AlertNews(empty, "nonsense = 1").begin()


@empty_on_both
def test_news_are_told_once(empty: Store) -> None:
    journal = Journal(empty.storage)
    journal.write(Alerted(time=T0, id=new_id(), title="before"))
    news = AlertNews(empty)
    news.begin()
    assert news.look() == []
    for title in ("one", "two"):
        journal.write(Alerted(time=T0, id=new_id(), title=title))
    assert [alert.title for alert in news.look()] == ["one", "two"]
    assert news.look() == []
