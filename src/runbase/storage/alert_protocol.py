"""The interface of a storage for alerts: reading them, which clients may, and what raises and delivers them, which is a server's own."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from msgspec import Struct

from runbase.events import Level
from runbase.model import Shown


class Alert(Shown, Struct, frozen=True, kw_only=True):
    """An alert about a run.

    Attributes:
        id: 32 hexadecimal characters.
        run: the name of the run.
        experiment: the name of its experiment.
        time: when it was raised.
        stored_at: when the database got it.
        title: what happened, in a few words.
        text: the details.
        level: info, warning or error.
        rule: the rule that raised it; None: the code of the run, by `run.alert`.
    """

    id: str
    run_id: str
    run: str
    experiment_id: str
    experiment: str
    time: datetime
    stored_at: datetime
    title: str
    text: str
    level: Level
    rule: str | None = None


class AlertRule(Struct, frozen=True, kw_only=True):
    """A rule that raises alerts.

    Attributes:
        experiment_id: the experiment whose runs it is for; None: all.
        where: a filter over runs; None: it forwards the alerts that the code of runs raises.
        level: the level of its alerts; of a rule that forwards, the least level.
        targets: where its alerts are delivered to.
        secret: the key of the signatures of its webhooks.
        owner: who made it.
        checked_at: when it was last evaluated for all runs.
    """

    id: str
    name: str
    experiment_id: str | None
    experiment: str | None
    where: str | None
    level: Level
    targets: list[str]
    secret: str
    owner: str
    created_at: datetime
    checked_at: datetime


class DueDelivery(Struct, frozen=True, kw_only=True):
    """A delivery to be tried now. `secret` is the key of the signature."""

    id: str
    alert: Alert
    target: str
    attempts: int
    created_at: datetime
    secret: str


class AlertDelivery(Struct, frozen=True, kw_only=True):
    """A delivery of an alert to a target.

    Attributes:
        rule: the name of the rule that has the target.
        status: waiting, delivered, or failed (given up).
        attempts: how often it was tried.
        next_at: when it is tried next.
        ended_at: when it was delivered or given up.
        error: why the last attempt failed.
    """

    id: str
    alert_id: str
    title: str
    run_id: str
    run: str
    experiment: str
    rule: str
    target: str
    status: str
    attempts: int
    created_at: datetime
    next_at: datetime
    ended_at: datetime | None = None
    error: str | None = None


class AlertReading(Protocol):
    """Read alerts."""

    def alerts(
        self,
        where: str | None = None,
        since: float | None = None,
        limit: int = 100,
        experiment: str | None = None,
    ) -> list[Alert]:
        """Return alerts, the latest stored first.

        Args:
            where: a filter over their runs, with `title`, `text`, `level`, `rule` and `time` of the alert.
            since: only alerts that were stored at or after this time, in seconds since the epoch.
            limit: the maximum number.
            experiment: only of the experiment with this id.
        """
        ...


class AlertStorage(Protocol):
    """Rules and deliveries. They are not offered to clients of a server as they are."""

    def add_alert_rule(
        self,
        name: str,
        where: str | None,
        experiment: str | None,
        level: Level,
        targets: Sequence[str],
        secret: str,
        owner: str,
    ) -> str:
        """Add a rule and return its id. Raises Conflict if there is one of this name."""
        ...

    def alert_rules(self) -> list[AlertRule]:
        """Return all rules, by name."""
        ...

    def remove_alert_rule(self, rule: str) -> bool:
        """Remove the rule with an id, and give up its deliveries; False if there is none."""
        ...

    def check_alert_rule(self, rule: str, time: float) -> None:
        """Record that a rule was evaluated for all runs at a time."""
        ...

    def pass_over(self, rule: str, runs: Sequence[str]) -> None:
        """Record runs for which a rule raises no alert."""
        ...

    def raise_alerts(self, rule: str, texts: dict[str, str]) -> list[str]:
        """Raise the alert of a rule for runs (id → text) that have none yet, with its deliveries; returns the ids of the alerts."""
        ...

    def forward_alerts(self, rule: str, since: float, earliest: float) -> int:
        """Add the deliveries of alerts of the code of runs, by a rule that forwards them.

        Args:
            rule: the id of the rule.
            since: only alerts that were stored at or after this time.
            earliest: only alerts that were raised at or after this time.

        Returns:
            The number of alerts.
        """
        ...

    def due_deliveries(self, limit: int = 20) -> list[DueDelivery]:
        """Return deliveries to be tried now, the most urgent first."""
        ...

    def claim_delivery(self, delivery: str, lease: float) -> str | None:
        """Begin an attempt at a delivery, which no other process tries for `lease` seconds; None if another did."""
        ...

    def end_delivery(
        self,
        delivery: str,
        claim: str,
        status: str,
        error: str | None = None,
        again: float | None = None,
    ) -> bool:
        """Record how an attempt ended; `again` is when the next one is made. False if the claim has expired."""
        ...

    def alert_deliveries(
        self, limit: int = 100, experiments: Sequence[str] | None = None
    ) -> list[AlertDelivery]:
        """Return the latest deliveries, newest first, of all or of some experiments."""
        ...
