"""Alerts, rules and deliveries; `runbase.storage.alert_protocol` describes each function."""

import time as clock
from collections.abc import Sequence
from datetime import datetime
from typing import Any, cast

from msgspec.structs import replace

from runbase.errors import Conflict
from runbase.events import LEVELS, Alerted, Level
from runbase.ids import new_id
from runbase.storage.alert_protocol import Alert, AlertDelivery, AlertRule, DueDelivery
from runbase.storage.sql.search import fetch, fields, find
from runbase.storage.sql.session import Session
from runbase.storage.types import Query


def raised(session: Session, run: str, event: Alerted) -> None:
    """Store an alert that the code of a run raised."""
    _insert(session, run, event.id, event.title, event.text, event.level, time=event.time)


def _insert(
    session: Session,
    run: str,
    alert: str,
    title: str,
    text: str,
    level: Level,
    *,
    time: float | None = None,
    rule: AlertRule | None = None,
) -> None:
    now = clock.time()
    session.run(
        "insert_alert",
        id=alert,
        run=run,
        time=session.time(now if time is None else time),
        stored_at=session.time(now),
        title=title,
        text=text,
        level=level,
        rule_id=None if rule is None else rule.id,
        rule=None if rule is None else rule.name,
    )


def alerts(
    session: Session,
    where: str | None = None,
    since: float | None = None,
    limit: int = 100,
    experiment: str | None = None,
) -> list[Alert]:
    """Return alerts, the latest stored first."""
    query = fetch.conditions(Query(where=where, limit=limit, experiment=experiment), "run")
    if since is not None:
        values = {**query.values, "stored_since": session.time(since)}
        conditions = (*query.conditions, "a.stored_at >= :stored_since")
        query = replace(query, conditions=conditions, values=values)
    page = find.search(session, fields.ALERTS, query, session.own.of(session, "runs"))
    return _by_id(session, page.ids)


def _by_id(session: Session, ids: Sequence[str]) -> list[Alert]:
    rows = {row["id"]: row for row in session.rows("alerts_by_id", ids=session.as_list(ids))}
    return [_alert(session, rows[alert]) for alert in ids if alert in rows]


def _alert(session: Session, row: Any) -> Alert:
    plain = ("id", "run_id", "run", "experiment_id", "experiment", "title", "text", "level", "rule")
    return Alert(
        **{name: row[name] for name in plain},
        time=_moment(session, row["time"]),
        stored_at=_moment(session, row["stored_at"]),
    )


def _moment(session: Session, value: Any) -> datetime:
    return cast("datetime", session.moment(value))


def add_rule(
    session: Session,
    name: str,
    where: str | None,
    experiment: str | None,
    level: Level,
    targets: Sequence[str],
    secret: str,
    owner: str,
) -> str:
    """Add a rule and return its id."""
    rule = new_id()
    added = session.changed(
        "add_alert_rule",
        id=rule,
        name=name,
        condition=where,
        experiment=experiment,
        level=level,
        targets=session.json(list(targets)),
        secret=secret,
        owner=owner,
        now=session.time(clock.time()),
    )
    if not added:
        raise Conflict(f"there is a rule {name!r}; choose another name, or remove it first")
    return rule


def rules(session: Session) -> list[AlertRule]:
    """Return all rules, by name."""
    plain = ("id", "name", "experiment_id", "experiment", "level", "secret", "owner")
    return [
        AlertRule(
            **{name: row[name] for name in plain},
            where=row["condition"],
            targets=session.document(row["targets"]),
            created_at=_moment(session, row["created_at"]),
            checked_at=_moment(session, row["checked_at"]),
        )
        for row in session.rows("alert_rules")
    ]


def remove_rule(session: Session, rule: str) -> bool:
    """Remove a rule, and give up its deliveries."""
    now, error = session.time(clock.time()), "the rule was removed"
    session.run("cancel_alert_deliveries", rule=rule, now=now, error=error)
    return bool(session.changed("remove_alert_rule", id=rule))


def check_rule(session: Session, rule: str, time: float) -> None:
    """Record that a rule was evaluated for all runs at a time."""
    session.run("check_alert_rule", id=rule, time=session.time(time))


def pass_over(session: Session, rule: str, runs: Sequence[str]) -> None:
    """Record runs for which a rule raises no alert."""
    session.many("see_run", [{"rule": rule, "run": run} for run in runs])


def _rule(session: Session, rule: str) -> AlertRule | None:
    return next((found for found in rules(session) if found.id == rule), None)


def raise_alerts(session: Session, rule: str, texts: dict[str, str]) -> list[str]:
    """Raise the alert of a rule for runs that have none yet, with its deliveries."""
    seen = session.rows("seen_of_rule", rule=rule, runs=session.as_list(list(texts)))
    new = sorted(set(texts) - {row["run_id"] for row in seen})
    found = _rule(session, rule) if new else None
    if found is None:
        return []
    made: list[str] = []
    for run in new:
        if session.changed("see_run", rule=rule, run=run):
            alert = new_id()
            _insert(session, run, alert, found.name, texts[run], found.level, rule=found)
            _add_deliveries(session, found, alert)
            session.run("nudge_run", run=run)
            made.append(alert)
    return made


def _add_deliveries(session: Session, rule: AlertRule, alert: str) -> None:
    now = session.time(clock.time())
    for target in rule.targets:
        if target != "desktop":  # `runbase top` shows it
            session.run(
                "add_alert_delivery",
                id=new_id(),
                alert=alert,
                rule=rule.id,
                name=rule.name,
                target=target,
                now=now,
            )


def forward(session: Session, rule: str, since: float, earliest: float) -> int:
    """Add the deliveries of alerts of the code of runs, by a rule that forwards them."""
    found = _rule(session, rule)
    if found is None:
        return 0
    rows = session.rows(
        "alerts_to_forward",
        rule=rule,
        since=session.time(since),
        earliest=session.time(earliest),
        levels=session.as_list(LEVELS[LEVELS.index(found.level) :]),
        experiment=found.experiment_id,
    )
    for row in rows:
        _add_deliveries(session, found, row["id"])
    return len(rows)


def due(session: Session, limit: int = 20) -> list[DueDelivery]:
    """Return deliveries to be tried now, the most urgent first."""
    rows = session.rows("due_alert_deliveries", now=session.time(clock.time()), limit=limit)
    if not rows:
        return []
    ids = list(dict.fromkeys(row["alert_id"] for row in rows))
    found = {alert.id: alert for alert in _by_id(session, ids)}
    return [
        DueDelivery(
            id=row["id"],
            alert=found[row["alert_id"]],
            target=row["target"],
            attempts=row["attempts"],
            created_at=_moment(session, row["created_at"]),
            secret=row["secret"],
        )
        for row in rows
        if row["alert_id"] in found
    ]


def claim(session: Session, delivery: str, lease: float) -> str | None:
    """Begin an attempt at a delivery."""
    attempt, now = new_id(), clock.time()
    claimed = session.changed(
        "claim_alert_delivery",
        id=delivery,
        claim=attempt,
        now=session.time(now),
        until=session.time(now + lease),
    )
    return attempt if claimed else None


def end(
    session: Session,
    delivery: str,
    claim: str,
    status: str,
    error: str | None = None,
    again: float | None = None,
) -> bool:
    """Record how an attempt ended."""
    now = clock.time()
    return bool(
        session.changed(
            "end_alert_delivery",
            id=delivery,
            claim=claim,
            status=status,
            error=error,
            next=session.time(now if again is None else again),
            ended=None if status == "waiting" else session.time(now),
        )
    )


def deliveries(
    session: Session, limit: int = 100, experiments: Sequence[str] | None = None
) -> list[AlertDelivery]:
    """Return the latest deliveries, newest first."""
    rows = session.rows(
        "alert_deliveries",
        everything=int(experiments is None),
        experiments=session.as_list(list(experiments or ())),
        limit=limit,
    )
    plain = (
        "id", "alert_id", "title", "run_id", "run", "experiment", "rule", "target", "status", "attempts", "error",
    )  # fmt: skip
    return [
        AlertDelivery(
            **{name: row[name] for name in plain},
            created_at=_moment(session, row["created_at"]),
            next_at=_moment(session, row["next_at"]),
            ended_at=session.moment(row["ended_at"]),
        )
        for row in rows
    ]
