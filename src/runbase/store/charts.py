"""Chart methods of a store: a metric of several runs, as data and as a Matplotlib figure."""

from collections.abc import Sequence
from typing import Any, cast

from runbase.errors import NotFound, suggestion
from runbase.model import Envelope, Run, Scalar
from runbase.store.metrics import PointMethods
from runbase.store.runs import RunMethods
from runbase.typing import ExperimentLike, RunLike

NEWEST = 200
"""Number of newest runs that are searched for the metric."""


class ChartMethods(RunMethods, PointMethods):
    """Charts of a store's runs."""

    def curves(
        self,
        metric: str,
        runs: "Sequence[RunLike] | RunLike | None" = None,
        *,
        where: str | None = None,
        experiment: ExperimentLike | None = None,
        limit: int = 8,
        resolution: int = 1000,
        start: Scalar | None = None,
        end: Scalar | None = None,
    ) -> list[tuple[Run, Envelope]]:
        """Return a metric of several runs as envelopes.

        Args:
            metric: the name of the metric.
            runs: the runs. Default: the newest runs that have the metric.
            where: without `runs`, only runs that match this filter.
            experiment: without `runs`, only runs of this experiment.
            limit: without `runs`, the maximum number of runs.
            resolution: the maximum number of buckets of each envelope.
            start: the first step. Default: no bound.
            end: the last step. Default: no bound.

        Returns:
            A list of (run, envelope): minimum, maximum and mean value of each bucket.

        Raises:
            NotFound: no run has the metric.
        """
        wanted = runs
        if wanted is not None and (isinstance(wanted, str) or not isinstance(wanted, Sequence)):
            wanted = [wanted]
        if wanted is not None:
            candidates = [self.run(run) for run in cast("Sequence[RunLike]", wanted)]
        else:
            candidates = self.runs(where, experiment=experiment, limit=NEWEST)
        chosen = [run for run in candidates if metric in run.metrics]
        if not chosen:
            keys = {key for run in candidates for key in run.metrics}
            raise NotFound(f"no run has a metric {metric!r}{suggestion(metric, keys)}")
        if wanted is None:
            chosen = chosen[:limit]
        envelopes = self.reader.envelopes(
            [(run.id, metric) for run in chosen], start, end, resolution
        )
        return [*zip(chosen, envelopes, strict=True)]

    def plot(
        self,
        metric: str,
        runs: "Sequence[RunLike] | RunLike | None" = None,
        *,
        where: str | None = None,
        experiment: ExperimentLike | None = None,
        limit: int = 8,
        log: bool = False,
    ) -> Any:
        """Draw a metric of several runs.

        Each run has a line for the mean and a band from minimum to maximum, so outliers stay
        visible. A notebook displays the figure. The other arguments are those of `curves`.

        Args:
            log: use a logarithmic axis for the values.

        Returns:
            A Matplotlib `Figure`.

        Raises:
            NotFound: no run has the metric.
        """
        from runbase.analysis.figures import curves

        envelopes = self.curves(metric, runs, where=where, experiment=experiment, limit=limit)
        return curves(metric, envelopes, log=log)
