"""New alerts for one listener: each once, in the order in which they were stored."""

import time
from collections.abc import Sequence

from runbase.errors import NotFound
from runbase.storage.alert_protocol import Alert
from runbase.store.store import Store

OVERLAP = 120.0
"""Seconds by which a look begins before the previous one: clocks of servers differ, and transactions end late."""
MISSED = 3600.0
"""Seconds of alerts that a listener gets which was away."""
MOST = 500


class AlertNews:
    """Reads the alerts that were stored since the previous look.

    Args:
        store: the store.
        where: a filter over runs.
        experiment: only of runs of this experiment.
    """

    def __init__(
        self, store: Store, where: str | None = None, experiment: str | None = None
    ) -> None:
        self._store, self._where, self._experiment = store, where, experiment
        self._seen: dict[str, float] = {}
        self._since = time.time()

    def begin(self, changed: Sequence[str] = ()) -> None:
        """Pass over what is stored now, but for alerts of runs that changed while the listener was away."""
        missed = set(changed)
        self._since = time.time() - (MISSED if missed else 0.0)
        for alert in self._read():
            if alert.run_id not in missed:
                self._seen[alert.id] = alert.stored_at.timestamp()

    def look(self) -> list[Alert]:
        """Return alerts that no look has returned, oldest first."""
        began = time.time()
        found = [alert for alert in self._read() if alert.id not in self._seen]
        self._seen |= {alert.id: alert.stored_at.timestamp() for alert in found}
        self._since = max(self._since, began - OVERLAP) if len(found) < MOST else self._since
        first = self._since - OVERLAP
        self._seen = {alert: at for alert, at in self._seen.items() if at >= first}
        return found[::-1]

    def _read(self) -> list[Alert]:
        since = self._since - OVERLAP
        try:
            return self._store.alerts(
                self._where, since=since, limit=MOST, experiment=self._experiment
            )
        except NotFound:  # the experiment does not exist yet
            return []
