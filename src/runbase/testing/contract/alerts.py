"""Alerts: stored once, raised once a rule and run, delivered by one process at a time."""

# pyright: basic
import time

import pytest

from runbase.errors import Conflict
from runbase.events import Alerted, Ended, Started
from runbase.ids import new_id
from runbase.status import Status
from runbase.storage.protocol import Storage
from runbase.testing.contract.base import OnStorage
from runbase.testing.contract.journal import T0, Journal, points

HOOK, MAIL = "webhook:https://hooks.example/a", "mailto:ada@lab.example"


class AlertContract(OnStorage):
    """Alerts of the code of runs."""

    def test_an_alert_is_stored_once(self, storage: Storage) -> None:
        journal = Journal(storage, name="alarmed")
        event = Alerted(time=T0 + 1, id=new_id(), title="loss is NaN", text="at 7", level="error")
        journal.write(Started(time=T0), event, event)
        journal.write(event)
        (alert,) = storage.alerts()
        assert (alert.id, alert.run_id, alert.run) == (event.id, journal.run, "alarmed")
        assert (alert.title, alert.text, alert.level, alert.rule) == (
            "loss is NaN",
            "at 7",
            "error",
            None,
        )
        assert alert.time.timestamp() == T0 + 1
        assert abs(alert.stored_at.timestamp() - time.time()) < 3600

    def test_alerts_are_found(self, storage: Storage) -> None:
        for number, level in enumerate(("info", "warning", "error")):
            journal = Journal(storage, name=f"run-{number}", experiment=f"e{number % 2}")
            journal.write(
                Alerted(time=T0 + number, id=new_id(), title=f"t{number}", level=level),  # type: ignore[arg-type]
                points([float(number)]),
            )

        def titles(*args, **kwargs) -> list[str]:
            return [alert.title for alert in storage.alerts(*args, **kwargs)]

        assert titles() == ["t2", "t1", "t0"]
        assert titles("level = 'error' or metrics.loss = 0") == ["t2", "t0"]
        assert titles("rule is null and title like 't%' and name = 'run-1'") == ["t1"]
        assert titles(limit=1) == ["t2"]
        assert titles(experiment=storage.find_experiment("e1")) == ["t1"]
        assert titles(since=time.time() + 3600) == []
        storage.delete("run", [storage.find_run("run-2")])
        assert titles() == ["t1", "t0"]

    def test_copies_keep_alerts(self, storage: Storage) -> None:
        journal = Journal(storage)
        journal.write(Alerted(time=T0, id=new_id(), title="kept"))
        (dump,) = storage.dump([journal.run])
        before = storage.alerts()
        storage.purge("run", [journal.run])
        assert storage.alerts() == []
        for _ in range(2):
            storage.load([dump], {dump.experiment_id: dump.experiment_id})
        assert storage.alerts() == before


class AlertRuleContract(OnStorage):
    """Rules and deliveries, which a storage with a database of its own has."""

    def test_a_rule_raises_one_alert_a_run(self, storage: Storage) -> None:
        runs = [_ended(storage), _ended(storage), _ended(storage)]
        rule = storage.add_alert_rule(
            "failed", "status = 'FAILED'", None, "error", [HOOK, MAIL, "desktop"], "key", "local"
        )
        with pytest.raises(Conflict, match="failed"):
            storage.add_alert_rule("failed", "pid = 1", None, "info", [], "key", "local")
        storage.pass_over(rule, runs[:1])
        texts = {run: f"{run} failed" for run in runs}
        assert len(storage.raise_alerts(rule, texts)) == 2
        assert storage.raise_alerts(rule, texts) == []
        alerts = storage.alerts("rule = 'failed'")
        assert {alert.run_id for alert in alerts} == set(runs[1:])
        assert {(alert.title, alert.level) for alert in alerts} == {("failed", "error")}
        log = storage.alert_deliveries()
        assert sorted(d.target for d in log) == sorted([HOOK, MAIL] * 2)
        assert {d.status for d in log} == {"waiting"}

    def test_a_raised_alert_is_a_change_of_its_run(self, storage: Storage) -> None:
        run = _ended(storage)
        rule = storage.add_alert_rule("x", "pid = 1", None, "info", [], "key", "local")
        cursor = storage.changes(None).cursor
        storage.raise_alerts(rule, {run: ""})
        assert run in storage.changes(cursor).runs

    def test_one_process_delivers(self, storage: Storage) -> None:
        rule = storage.add_alert_rule("x", "pid = 1", None, "info", [HOOK], "key", "local")
        storage.raise_alerts(rule, {_ended(storage): "text"})
        (due,) = storage.due_deliveries()
        assert (due.target, due.secret, due.attempts, due.alert.text) == (HOOK, "key", 0, "text")
        claim = storage.claim_delivery(due.id, lease=3600.0)
        assert claim is not None
        assert storage.claim_delivery(due.id, lease=3600.0) is None
        assert storage.due_deliveries() == []
        assert not storage.end_delivery(due.id, "another", "delivered")
        assert storage.end_delivery(due.id, claim, "waiting", "refused", time.time() - 1)
        (due,) = storage.due_deliveries()
        assert due.attempts == 1
        claim = storage.claim_delivery(due.id, lease=-1.0)  # expired at once
        again = storage.claim_delivery(due.id, lease=3600.0)
        assert claim is not None and again is not None
        assert not storage.end_delivery(due.id, claim, "delivered")
        assert storage.end_delivery(due.id, again, "delivered")
        (log,) = storage.alert_deliveries()
        assert (log.status, log.attempts, log.error) == ("delivered", 3, None)
        assert log.ended_at is not None

    def test_alerts_of_code_are_forwarded_once(self, storage: Storage) -> None:
        journal = Journal(storage)
        rule = storage.add_alert_rule("all", None, None, "warning", [HOOK], "key", "local")
        other = storage.add_alert_rule(
            "elsewhere",
            None,
            storage.create_experiment("other", {}),
            "info",
            [HOOK],
            "key",
            "local",
        )
        for level in ("info", "warning", "error"):
            journal.write(Alerted(time=T0, id=new_id(), title=level, level=level))  # type: ignore[arg-type]
        assert storage.forward_alerts(rule, 0.0, T0 + 1) == 0
        assert storage.forward_alerts(rule, time.time() + 3600, 0.0) == 0
        assert storage.forward_alerts(rule, 0.0, 0.0) == 2
        assert storage.forward_alerts(rule, 0.0, 0.0) == 0
        assert storage.forward_alerts(other, 0.0, 0.0) == 0
        log = storage.alert_deliveries()
        assert {(d.title, d.rule) for d in log} == {("warning", "all"), ("error", "all")}

    def test_a_removed_rule_delivers_nothing(self, storage: Storage) -> None:
        rule = storage.add_alert_rule("x", "pid = 1", None, "info", [HOOK], "key", "local")
        run = _ended(storage)
        storage.raise_alerts(rule, {run: ""})
        assert storage.remove_alert_rule(rule)
        assert not storage.remove_alert_rule(rule)
        assert storage.alert_rules() == []
        assert storage.due_deliveries() == []
        (log,) = storage.alert_deliveries()
        assert (log.status, log.error) == ("failed", "the rule was removed")
        assert storage.raise_alerts(rule, {run: ""}) == []
        assert storage.alert_deliveries(experiments=[]) == []
        place = storage.get_runs([run])[0].experiment_id
        assert len(storage.alert_deliveries(experiments=[place])) == 1

    def test_rules_are_returned_as_made(self, storage: Storage) -> None:
        place = storage.create_experiment("mnist", {})
        rule = storage.add_alert_rule("r", "pid = 1", place, "error", [MAIL], "key", "ada")
        storage.check_alert_rule(rule, T0)
        (found,) = storage.alert_rules()
        assert (found.id, found.name, found.where, found.level) == (rule, "r", "pid = 1", "error")
        assert (found.experiment_id, found.experiment) == (place, "mnist")
        assert (found.targets, found.secret, found.owner) == ([MAIL], "key", "ada")
        assert found.checked_at.timestamp() == T0
        storage.purge("experiment", [place])
        assert storage.alert_rules() == []


def _ended(storage: Storage) -> str:
    journal = Journal(storage)
    journal.write(Started(time=T0), Ended(time=T0 + 9, status=Status.FAILED))
    return journal.run
