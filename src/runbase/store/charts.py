"""Curves of many runs: as data, and as a picture."""

from collections.abc import Sequence
from typing import Any, cast

from runbase.errors import NotFound, suggestion
from runbase.model import Envelope, Run
from runbase.store.base import ExperimentLike, RunLike
from runbase.store.metrics import PointMethods
from runbase.store.runs import RunMethods

NEWEST = 200
"""How many of the newest runs are looked at for some that have the metric."""


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
    ) -> list[tuple[Run, Envelope]]:
        """A metric of several runs, each in at most `resolution` buckets of least, greatest and mean value.

        Of the `runs` given, else of the newest that have it (at most `limit`) among those that satisfy
        `where`. Raises NotFound where none has it.
        """
        given = runs
        if given is not None and (isinstance(given, str) or not isinstance(given, Sequence)):
            given = [given]
        if given is not None:
            found = [self.run(run) for run in cast("Sequence[RunLike]", given)]
        else:
            found = self.runs(where, experiment=experiment, limit=NEWEST)
        having = [run for run in found if metric in run.metrics]
        if not having:
            keys = {key for run in found for key in run.metrics}
            raise NotFound(f"no run has a metric {metric!r}{suggestion(metric, keys)}")
        chosen = having if given is not None else having[:limit]
        return [(run, self.metrics(run, metric, resolution=resolution)) for run in chosen]

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
        """The same as a Matplotlib Figure: a line for the mean, a band from least to greatest value, so
        that no outlier is hidden. In a notebook it shows itself. `log` is for the axis of the values.
        """
        from runbase.analysis.figures import curves

        found = self.curves(metric, runs, where=where, experiment=experiment, limit=limit)
        return curves(metric, found, log=log)
