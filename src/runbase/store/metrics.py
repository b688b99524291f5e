"""Points: of one metric as arrays or an envelope, of many as a frame."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast, overload

from runbase.analysis.frames import Axis, Layout
from runbase.errors import UsageError
from runbase.model import Envelope, Scalar, Series
from runbase.store.base import RunLike, StoreBase
from runbase.values import Moment, to_seconds


class PointMethods(StoreBase):
    """The points of a store's runs."""

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
        """The points of a metric between two steps (both included), as NumPy arrays by step.

        Of several points at one step the latest is given, unless `every` is true. With a
        `resolution`, an Envelope instead: least, greatest and mean value in at most that many
        buckets, over every point that was logged. Raises NotFound for an unknown run or metric.
        """
        found = self._run_id(run)
        if resolution is not None:
            return self.storage.envelope(found, key, start, end, resolution)
        return self.storage.series(found, key, start, end, every=every)

    def telemetry(self, run: RunLike, key: str) -> Series:
        """Figures that the run logged about the machine; their times matter, not their steps. Those brought
        in from elsewhere are in `telemetry_frame`.
        """
        return self.storage.series(self._run_id(run), key, every=True, kind="telemetry")

    def add_telemetry(self, run: RunLike, samples: Iterable[tuple[Moment, str, Any]]) -> None:
        """Figures about the system under test that were measured elsewhere: (time, name, value) each, the
        value of any scalar type. One that is there already (same name and time) stays as it is, so that
        bringing them in twice does no harm.
        """
        rows = [(to_seconds(time), str(key), value) for time, key, value in samples]
        self.storage.add_samples(self._run_id(run), rows)

    def telemetry_frame(self, runs: "Sequence[RunLike] | RunLike", key: str | None = None) -> Any:
        """Figures by time, those that were logged and those that were brought in: a pandas DataFrame with the
        columns run, time (aware, UTC), key, value; of one name or all.
        """
        from runbase.analysis.frames import telemetry

        many = isinstance(runs, Sequence) and not isinstance(runs, str)
        wanted: list[RunLike] = list(cast("Sequence[RunLike]", runs)) if many else [runs]
        ids = [self._run_id(run) for run in wanted]
        rows: list[tuple[str, float, str, Any]] = [
            (run, *sample) for run, sample in self.storage.samples(ids, key)
        ]
        logged = self.storage.points(ids, None if key is None else [key], kind="telemetry")
        for (run, name), series in logged.items():
            pairs = zip(series.times, series.values, strict=True)
            rows += [(run, time, name, value) for time, value in pairs]
        return telemetry(rows)

    def keys(self, run: RunLike, kind: str = "metric") -> list[str]:
        """The names of the metrics (or of the `telemetry`) that a run has logged."""
        rows = self.storage.sql(
            "select key from series where run_id = :run and kind = :kind order by key",
            {"run": self._run_id(run), "kind": kind},
        )
        return [row[0] for row in rows]

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
        """Metrics of many runs as one data frame.

        Args:
            runs: runs, as records, ids or names.
            keys: which metrics; all where None.
            layout: ``long`` (a row a point), ``wide`` (a row a step of a run, a column a metric) or
                ``runs`` (a row a step, a column a run; of one metric).
            axis: what is lined up: ``step``, ``time`` (seconds since the epoch) or ``relative``
                (seconds since the run's first point).
            resample: cuts the axis into pieces of this width; each piece's values become one.
            aggregate: how: mean, min, max, median, first or last.
            backend: pandas, polars or arrow.
        """
        from runbase.analysis import frames

        makers = {"pandas": frames.to_pandas, "polars": frames.to_polars, "arrow": frames.to_arrow}
        if backend not in makers:
            raise UsageError(f"backend is {backend!r}; known: {', '.join(makers)}")
        single = isinstance(runs, str) or not isinstance(runs, Sequence)
        many: list[Any] = [runs] if single else [*cast("Sequence[Any]", runs)]
        wanted = [keys] if isinstance(keys, str) else keys
        ids = [self._run_id(run) for run in many]
        names = {record.id: record.name for record in self.storage.get_runs(ids)}
        points = self.storage.points(ids, wanted)
        ordered = {
            (r, k): points[r, k] for r, k in sorted(points, key=lambda p: (ids.index(p[0]), p[1]))
        }
        columns = frames.curves(
            ordered, names, layout=layout, axis=axis, resample=resample, aggregate=aggregate
        )
        return makers[backend](columns)
