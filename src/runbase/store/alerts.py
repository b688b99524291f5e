"""Alert methods of a store."""

from datetime import datetime

from runbase.errors import UsageError
from runbase.storage.alert_protocol import Alert
from runbase.store.base import StoreBase
from runbase.typing import ExperimentLike
from runbase.values import to_time


class AlertMethods(StoreBase):
    """Alerts that the code of runs, and rules, raised."""

    def alerts(
        self,
        where: str | None = None,
        *,
        since: datetime | float | None = None,
        limit: int = 100,
        experiment: ExperimentLike | None = None,
    ) -> list[Alert]:
        """Return alerts, the latest first.

        Args:
            where: a filter over their runs, which also has `title`, `text`, `level`, `rule` and `time` of the
                alert: ``level = 'error' and params.lr > 0.1``.
            since: only alerts that were stored at or after this time; a number is in seconds since the epoch.
            limit: the maximum number of alerts.
            experiment: only alerts of runs of this experiment.

        Raises:
            FilterError: the filter cannot be read.
            InvalidValue: `since` is not a time.
        """
        if limit < 0:
            raise UsageError(f"limit is {limit}; it must be 0 or more")
        moment = since.timestamp() if isinstance(since, datetime) else since
        start = None if moment is None else to_time("since", moment)
        experiment_id = None if experiment is None else self._experiment_id(experiment)
        return self.storage.alerts(where, start, limit, experiment_id)
