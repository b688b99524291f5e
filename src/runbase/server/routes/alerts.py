"""Alerts, the rules that raise them, and the log of their deliveries."""

from typing import Any

from litestar import Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec.structs import replace

from runbase.server.access import Principal
from runbase.server.alerts import rules, targets
from runbase.server.alerts.rules import MadeRule, NewRule, ShownRule
from runbase.server.options import ServerOptions
from runbase.server.routes.runs import Count, Limit
from runbase.server.scope import visible, visible_experiments
from runbase.server.threads import in_thread
from runbase.storage.alert_protocol import Alert, AlertDelivery
from runbase.store.store import Store

Caller = Request[Principal, Any, Any]


@get("/api/alerts", opt={"permission": "read"})
@in_thread
def alerts(
    request: Caller,
    store: NamedDependency[Store],
    where: FromQuery[str | None] = None,
    since: FromQuery[float | None] = None,
    experiment: FromQuery[str | None] = None,
    limit: Limit = 100,
) -> list[Alert]:
    """Return alerts, the latest stored first. `since` is in seconds since the epoch."""
    return store.alerts(
        visible(request.user, where), since=since, limit=limit, experiment=experiment
    )


@get("/api/alert-rules", opt={"permission": "read"})
@in_thread
def alert_rules(request: Caller, store: NamedDependency[Store]) -> list[ShownRule]:
    """Return the rules; of the URLs of their targets, the host only."""
    return [
        rules.shown(rule)
        for rule in store.storage.alert_rules()
        if request.user.may("read", rule.experiment_id)
    ]


@post("/api/alert-rules", opt={"permission": "write"})
@in_thread
def add_alert_rule(
    request: Caller,
    store: NamedDependency[Store],
    options: NamedDependency[ServerOptions],
    data: JSONBody[NewRule],
) -> MadeRule:
    """Make a rule. Only this answer contains the key of the signatures of its webhooks."""
    place = None if data.experiment is None else store.experiment(data.experiment).id
    request.user.require("write", place)
    data = replace(data, experiment=place)
    return rules.make(store, data, request.user.name, private=options.private_targets)


@delete("/api/alert-rules/{rule:str}", opt={"permission": "write"}, status_code=200)
@in_thread
def remove_alert_rule(request: Caller, store: NamedDependency[Store], rule: FromPath[str]) -> Count:
    """Remove the rule with a name or an id. Its waiting deliveries are given up."""
    user = request.user
    found = rules.find(store, rule, lambda known: user.may("read", known.experiment_id))
    user.require("write", found.experiment_id)
    return Count(int(store.storage.remove_alert_rule(found.id)))


@get("/api/alert-deliveries", opt={"permission": "read"})
@in_thread
def alert_deliveries(
    request: Caller, store: NamedDependency[Store], limit: Limit = 100
) -> list[AlertDelivery]:
    """Return the latest deliveries, newest first; of the URLs of targets, the host only."""
    places = None
    if not request.user.may_everywhere("read"):
        condition = visible_experiments(request.user, None)
        places = [experiment.id for experiment in store.experiments(condition)]
    log = store.storage.alert_deliveries(limit, places)
    return [replace(entry, target=targets.redacted(entry.target)) for entry in log]


ROUTES: tuple[Any, ...] = (
    alerts, alert_rules, add_alert_rule, remove_alert_rule, alert_deliveries,
)  # fmt: skip
