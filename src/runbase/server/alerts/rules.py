"""Make rules, and evaluate them: which runs match for the first time."""

import logging
import secrets
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Struct

from runbase.errors import NotFound, RunbaseError, UsageError, suggestion
from runbase.events import Level
from runbase.server.alerts import targets
from runbase.server.scope import among
from runbase.storage.alert_protocol import AlertRule
from runbase.storage.types import Query
from runbase.store.store import Store

_LOG = logging.getLogger(__name__)
MARGIN = 600.0
"""Seconds before the last evaluation for all runs from which the next one looks at runs that have ended."""
DAY = 86400.0
PAGE = 5000
"""Runs that are read at once."""
MOST_CHANGED = 500
"""Changed runs that are named in a filter; if there are more, rules are evaluated for all runs."""


class NewRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule to be made.

    Attributes:
        name: the title of its alerts.
        where: a filter over runs; null: it forwards the alerts that the code of runs raises.
        experiment: the experiment whose runs it is for; null: all.
        level: the level of its alerts; of a rule that forwards, the least level.
        to: targets: `webhook:URL`, `slack:URL`, `mailto:ADDRESS`, `desktop`.
    """

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    where: str | None = None
    experiment: str | None = None
    level: Level = "warning"
    to: list[str] = []


class MadeRule(Struct, frozen=True):
    """A new rule, with the key of the signatures of its webhooks, which is shown this once."""

    id: str
    secret: str


class ShownRule(Struct, frozen=True, kw_only=True):
    """A rule without what is secret."""

    id: str
    name: str
    where: str | None
    experiment: str | None
    level: Level
    to: list[str]
    owner: str
    created_at: datetime


def shown(rule: AlertRule) -> ShownRule:
    """Return a rule without its key and the secrets in its targets."""
    return ShownRule(
        id=rule.id,
        name=rule.name,
        where=rule.where,
        experiment=rule.experiment,
        level=rule.level,
        to=[targets.redacted(target) for target in rule.targets],
        owner=rule.owner,
        created_at=rule.created_at,
    )


def make(store: Store, new: NewRule, owner: str = "local", *, private: bool = True) -> MadeRule:
    """Make a rule. Ended runs that match now raise no alert.

    Args:
        store: the store.
        new: the rule.
        owner: who makes it.
        private: whether targets on this machine are allowed.

    Raises:
        UsageError: a target is not one, or is not allowed; or the rule has no targets.
        FilterError: the filter cannot be read.
        NotFound: the experiment does not exist.
        Conflict: there is a rule of this name.
    """
    if not new.name.strip() or not new.name.isprintable():
        raise UsageError("a rule needs a name of printable characters")
    if new.where is not None and not new.where.strip():
        raise UsageError("the filter is empty; leave it out to forward the alerts of runs")
    places = list(dict.fromkeys(targets.check(target, private=private) for target in new.to))
    if not places:
        raise UsageError("a rule needs a target: webhook:…, slack:…, mailto:… or desktop")
    place = None if new.experiment is None else store.experiment(new.experiment).id
    if new.where is not None:
        store.storage.count_runs(Query(where=new.where, experiment=place))
    secret = f"rbs_{secrets.token_urlsafe(32)}"
    rule = store.storage.add_alert_rule(
        new.name, new.where, place, new.level, places, secret, owner
    )
    if new.where is not None:
        for found in _matching(store, new.where, "ended_at is not null", place):
            store.storage.pass_over(rule, list(found))
    return MadeRule(rule, secret)


def find(
    store: Store, word: str, may: Callable[[AlertRule], bool] = lambda rule: True
) -> AlertRule:
    """Return the rule with a name or an id, of those that the caller may know. Raises NotFound."""
    rules = [rule for rule in store.storage.alert_rules() if may(rule)]
    for rule in rules:
        if word in (rule.id, rule.name):
            return rule
    raise NotFound(f"no rule {word!r}{suggestion(word, [rule.name for rule in rules])}")


def _matching(
    store: Store, where: str, condition: str, experiment: str | None
) -> "list[dict[str, str]]":
    """Return pages of runs that match a rule's filter and a condition of ours: id → what its alert says."""
    # The filter ends before a line end, so that a comment in it does not hide the condition.
    query = f"({where}\n) and ({condition})"
    pages: list[dict[str, str]] = []
    after = None
    while True:
        found = store.storage.table(
            Query(where=query, limit=PAGE, after=after, experiment=experiment),
            ["name", "experiment", "status"],
        )
        rows = zip(*(found.columns[name] for name in ("name", "experiment", "status")), strict=True)
        texts = [f"{name} ({place}) is {status}: {where}" for name, place, status in rows]
        pages.append(dict(zip(found.ids, texts, strict=True)))
        after = found.cursor
        if after is None:
            return pages


def evaluate(store: Store, rule: AlertRule, changed: Sequence[str] | None = None) -> int:
    """Raise the alerts of a rule.

    Args:
        store: the store.
        rule: the rule.
        changed: the ids of runs that changed; None: all that have not ended, or ended since the last time.

    Returns:
        How many alerts were raised or forwarded.
    """
    began = time.time()
    since = rule.checked_at.timestamp() - MARGIN
    if rule.where is None:
        # An old journal may be read now; only what was raised lately is news.
        earliest = max(rule.created_at.timestamp() - 1, began - DAY)
        count = store.storage.forward_alerts(rule.id, since, earliest)
    else:
        if changed is not None:
            condition = among("id", changed)
        else:
            moment = f"'{datetime.fromtimestamp(since, UTC).isoformat()}'"
            condition = f"ended_at is null or ended_at > {moment} or updated_at > {moment}"
        pages = _matching(store, rule.where, condition, rule.experiment_id)
        count = sum(len(store.storage.raise_alerts(rule.id, page)) for page in pages if page)
    if changed is None:
        store.storage.check_alert_rule(rule.id, began)
    return count


def evaluate_all(
    store: Store, rules: Sequence[AlertRule], changed: Sequence[str] | None = None
) -> int:
    """Evaluate rules; one that fails is logged and does not stop the others."""
    if changed is not None and len(changed) > MOST_CHANGED:
        changed = None
    count = 0
    for rule in rules:
        try:
            count += evaluate(store, rule, changed)
        except UsageError as error:
            _LOG.warning("the rule %r cannot be evaluated: %s", rule.name, error)
        except RunbaseError as error:
            _LOG.warning("alerts could not be raised: %s", error)
    return count
