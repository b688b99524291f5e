"""Metric and telemetry methods of a store: one metric as arrays or an envelope, many as a data frame."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast, overload

from runbase.analysis.frames import Axis, Layout
from runbase.errors import NotFound, UsageError
from runbase.model import Envelope, Scalar, Series
from runbase.storage.points_protocol import KnownKey
from runbase.store.base import StoreBase
from runbase.typing import ExperimentLike, RunLike
from runbase.values import Moment, to_seconds


class PointMethods(StoreBase):
    """The metric points and telemetry of a store's runs."""

    @overload
    def metrics(
        self,
        run: RunLike,
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        *,
        resolution: None = None,
        every: bool = False,
    ) -> Series: ...
    @overload
    def metrics(
        self,
        run: RunLike,
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        *,
        resolution: int,
        every: Literal[False] = False,
    ) -> Envelope: ...
    def metrics(
        self,
        run: RunLike,
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        *,
        resolution: int | None = None,
        every: bool = False,
    ) -> Series | Envelope:
        """Return the points of a metric, sorted by step.

        Args:
            run: the run.
            key: the name of the metric.
            start: the first step to include. Default: no bound.
            end: the last step to include. Default: no bound.
            resolution: return an `Envelope` instead: minimum, maximum and mean of all logged points
                in at most this number of buckets.
            every: include all points of a step. Default: only the latest one.

        Returns:
            A `Series` of NumPy arrays `steps`, `times` and `values`, each of shape (points,), or an
            `Envelope`.

        Raises:
            NotFound: the run or the metric does not exist.
        """
        run_id = self._run_id(run)
        if resolution is not None:
            return self.reader.envelope(run_id, key, start, end, resolution)
        return self.reader.series(run_id, key, start, end, every=every)

    def telemetry(self, run: RunLike, key: str) -> Series:
        """Return telemetry of a run, by time: what the run logged about its machine, else what was added or imported.

        Values that are not numbers are in `telemetry_frame` only.

        Args:
            run: the run.
            key: the name of the telemetry series.

        Returns:
            A `Series` of NumPy arrays; use `times` (seconds since the epoch) and `values`.

        Raises:
            NotFound: the run or the telemetry does not exist.
        """
        run_id = self._run_id(run)
        try:
            return self.reader.series(run_id, key, every=True, kind="telemetry")
        except NotFound:
            added = [sample for _, sample in self.reader.samples([run_id], key)]
            pairs = [(time, value) for time, _, value in added if isinstance(value, int | float)]
            if not pairs:
                raise
        import numpy as np

        times, values = np.array(pairs, dtype=np.float64).T
        return Series(key, np.arange(len(pairs)), times, values)

    def add_telemetry(self, run: RunLike, samples: Iterable[tuple[Moment, str, Any]]) -> None:
        """Add telemetry of the system under test that was measured outside the run.

        A sample with the same name and time as a stored one is ignored, so a call can be repeated.

        Args:
            run: the run.
            samples: tuples (time, name, value); the value is a scalar of any type.
        """
        rows = [(to_seconds(time), str(key), value) for time, key, value in samples]
        self.storage.add_samples(self._run_id(run), rows)

    def telemetry_frame(self, runs: "Sequence[RunLike] | RunLike", key: str | None = None) -> Any:
        """Return logged and added telemetry of runs by time.

        Args:
            runs: one run or several.
            key: the name of one telemetry series. Default: all.

        Returns:
            A pandas DataFrame with the columns run, time (aware, UTC), key, value.
        """
        from runbase.analysis.frames import telemetry

        many = isinstance(runs, Sequence) and not isinstance(runs, str)
        wanted = list(cast("Sequence[RunLike]", runs)) if many else [cast("RunLike", runs)]
        ids = [self._run_id(run) for run in wanted]
        rows: list[tuple[str, float, str, Any]] = [
            (run, *sample) for run, sample in self.reader.samples(ids, key)
        ]
        logged = self.reader.points(ids, None if key is None else [key], kind="telemetry")
        for (run, name), series in logged.items():
            pairs = zip(series.times, series.values, strict=True)
            rows += [(run, time, name, value) for time, value in pairs]
        return telemetry(rows)

    def keys(self, run: RunLike, kind: str = "metric") -> list[str]:
        """Return the names of a run's metrics, or of its telemetry with `kind="telemetry"`."""
        rows = self.reader.sql(
            "select key from series where run_id = :run and kind = :kind union select key from samples "
            "where run_id = :run and number is not null and cast(:kind as text) = 'telemetry' order by key",
            {"run": self._run_id(run), "kind": kind},
        )
        return [row[0] for row in rows]

    def known_keys(
        self,
        kind: str = "metric",
        text: str = "",
        *,
        experiment: ExperimentLike | None = None,
        limit: int = 1000,
        newest: int | None = None,
    ) -> list[KnownKey]:
        """Return the keys that runs have, those of most runs first.

        Args:
            kind: metric, param, telemetry or tag.
            text: only keys that contain this text, in any case.
            experiment: only keys of runs of this experiment.
            limit: the maximum number of keys.
            newest: look at so many of the newest runs only, which takes the same time however many there are.

        Returns:
            For each key the number of runs, the type, and the least and greatest number.
        """
        experiment_id = None if experiment is None else self._experiment_id(experiment)
        return self.reader.known_keys(kind, experiment_id, text, limit, newest)

    def metrics_frame(
        self,
        runs: "Sequence[RunLike] | RunLike",
        keys: "Sequence[str] | str | None" = None,
        *,
        layout: Layout = "long",
        axis: Axis = "step",
        resample: float | None = None,
        aggregate: str = "mean",
        backend: str = "pandas",
    ) -> Any:
        """Return metrics of one or several runs as one data frame.

        Args:
            runs: runs, as records, ids or names.
            keys: the metrics. Default: all.
            layout: ``long`` (a row per point), ``wide`` (a row per run and step, a column per metric)
                or ``runs`` (a row per step, a column per run; for one metric).
            axis: the column that orders the points: ``step``, ``time`` (seconds since the epoch) or ``relative`` (seconds
                since the first point of the run).
            resample: the width of bins on the axis, in its unit; the values of a bin are aggregated.
            aggregate: how to aggregate: mean, min, max, median, first or last.
            backend: pandas, polars or arrow.

        Returns:
            A pandas DataFrame, a Polars DataFrame or an Arrow Table.

        Raises:
            UsageError: an option is not known.
            NotFound: a run does not exist.
        """
        from runbase.analysis import frames

        converters = {
            "pandas": frames.to_pandas,
            "polars": frames.to_polars,
            "arrow": frames.to_arrow,
        }
        if backend not in converters:
            raise UsageError(f"backend is {backend!r}; use one of {', '.join(converters)}")
        single = isinstance(runs, str) or not isinstance(runs, Sequence)
        many: list[Any] = [runs] if single else [*cast("Sequence[Any]", runs)]
        wanted = [keys] if isinstance(keys, str) else keys
        ids = [self._run_id(run) for run in many]
        names = {record.id: record.name for record in self.storage.get_runs(ids)}
        points = self.reader.points(ids, wanted)
        ordered = {
            (r, k): points[r, k] for r, k in sorted(points, key=lambda p: (ids.index(p[0]), p[1]))
        }
        columns = frames.curves(
            ordered, names, layout=layout, axis=axis, resample=resample, aggregate=aggregate
        )
        return converters[backend](columns)
