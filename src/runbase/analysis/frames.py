"""Records and points as data frames: pandas, Polars or Arrow, from one set of plain columns."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from runbase import extras
from runbase.errors import UsageError
from runbase.model import RUN_FIELDS, Experiment, Run, Series

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Layout = Literal["long", "wide", "runs"]
Axis = Literal["step", "time", "relative"]
Columns = dict[str, list[Any]]

_EXPERIMENT = (
    "id",
    "name",
    "description",
    "base_model",
    "method",
    "status",
    "parent_id",
    "created_at",
    "updated_at",
    "runs",
    "notes",
    "checkpoint",
)


def run_row(run: Run) -> dict[str, Any]:
    """A run as one flat row: its fields, own columns, `params.*`, `metrics.*` (last), `tags.*` and `slurm.*`."""
    row: dict[str, Any] = {name: getattr(run, name) for name in RUN_FIELDS}
    row["status"] = run.status.value
    row |= run.columns
    row |= {f"params.{key}": value for key, value in run.params.items()}
    row |= {f"metrics.{key}": metric.last for key, metric in run.metrics.items()}
    row |= {f"tags.{key}": True if value is None else value for key, value in run.tags.items()}
    job: Mapping[str, Any] = run.system.get("slurm") or {}
    row |= {f"slurm.{key}": value for key, value in job.items()}
    return row


def experiment_row(experiment: Experiment) -> dict[str, Any]:
    """An experiment as one flat row: its fields, own columns, `config.*`, `metrics.*` and `tags.*`."""
    row: dict[str, Any] = {name: getattr(experiment, name) for name in _EXPERIMENT}
    row |= experiment.columns
    row |= {f"config.{key}": value for key, value in experiment.config.items()}
    row |= {f"metrics.{key}": value for key, value in experiment.metrics.items()}
    row |= {f"tags.{k}": True if v is None else v for k, v in experiment.tags.items()}
    return row


def columns_of(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Flat rows as columns; fields first, as the first row has them, then what others add."""
    names = dict.fromkeys(name for row in rows for name in row)
    order = [n for n in names if "." not in n]
    for family in ("params.", "config.", "metrics.", "tags.", "slurm."):
        order += sorted(n for n in names if n.startswith(family))
    order += [n for n in names if n not in set(order)]
    return {name: [row.get(name) for row in rows] for name in order}


def to_pandas(columns: Mapping[str, Any]) -> Any:
    """A pandas DataFrame."""
    pd = extras.load("pandas", "analysis", "to_pandas()")
    return pd.DataFrame(dict(columns))


def to_polars(columns: Mapping[str, Any]) -> Any:
    """A Polars DataFrame; columns of several types become text."""
    made = extras.load("polars", "analysis", "to_polars()")
    return made.DataFrame([_polars_column(made, name, values) for name, values in columns.items()])


def to_arrow(columns: Mapping[str, Any]) -> Any:
    """An Arrow table; columns of several types become text."""
    made = extras.load("pyarrow", "analysis", "to_arrow()")
    return made.table({name: _arrow_column(made, values) for name, values in columns.items()})


def curves(
    points: Mapping[tuple[str, str], Series],
    names: Mapping[str, str],
    *,
    layout: Layout = "long",
    axis: Axis = "step",
    resample: float | None = None,
    aggregate: str = "mean",
) -> dict[str, Any]:
    """Points of many metrics of many runs as columns of one frame.

    `long`: run, name, metric, step, time, relative, value; a row a point. `wide`: run, name, the axis,
    and a column a metric. `runs`: the axis, and a column a run (of one metric). `axis` is what is
    lined up: the step, the time (seconds since the epoch), or the seconds since the run's first
    point. With `resample`, the axis is cut into pieces of that width, and each piece's values are
    aggregated (mean, min, max, last).
    """
    import numpy as np

    pd = extras.load("pandas", "analysis", "a data frame")
    if aggregate not in ("mean", "min", "max", "last", "first", "median"):
        raise UsageError(f"aggregate is {aggregate!r}; known: mean, min, max, last, first, median")
    if resample is not None and resample <= 0:
        raise UsageError(f"resample is {resample}, and a piece has a width above 0")
    begun = _begins(points)
    parts: dict[str, list[Any]] = {
        n: [] for n in ("run", "metric", "step", "time", "relative", "value")
    }
    runs, metrics = list(dict.fromkeys(r for r, _ in points)), sorted({k for _, k in points})
    run_place, key_place = {r: n for n, r in enumerate(runs)}, {k: n for n, k in enumerate(metrics)}
    for (run, key), series in points.items():
        size = len(series)
        parts["run"].append(np.full(size, run_place[run], dtype=np.int32))
        parts["metric"].append(np.full(size, key_place[key], dtype=np.int32))
        parts["step"].append(series.steps)
        parts["time"].append(series.times)
        parts["relative"].append(series.times - begun[run])
        parts["value"].append(series.values)
    joined = {n: np.concatenate(p) if p else np.empty(0) for n, p in parts.items()}
    labels = np.array([names.get(run, run) for run in runs], dtype=object)
    frame: Any = pd.DataFrame(
        {
            "run": pd.Categorical.from_codes(joined["run"].astype(np.int32), runs),
            "name": labels[joined["run"].astype(np.int64)] if runs else [],
            "metric": pd.Categorical.from_codes(joined["metric"].astype(np.int32), metrics),
            **{n: joined[n] for n in ("step", "time", "relative", "value")},
        }
    )
    if resample is not None:
        frame = _resampled(frame, axis, resample, aggregate)
    elif layout in {"wide", "runs"}:
        frame = frame[["run", "name", "metric", axis, "value"]]
    return _laid_out(frame, layout, axis)


def _laid_out(frame: Any, layout: Layout, axis: Axis) -> dict[str, Any]:
    if layout == "long":
        frame = frame.assign(run=frame["run"].astype(str), metric=frame["metric"].astype(str))
        return {str(name): frame[name].to_numpy() for name in frame.columns}
    if layout not in ("wide", "runs"):
        raise UsageError(f"layout is {layout!r}; known: long, wide, runs")
    if layout == "runs":
        if frame["metric"].nunique() > 1:
            raise UsageError("layout 'runs' has a column a run, so it shows one metric; name one")
        frame = _told_apart(frame)
        named = frame[["run", "name"]].drop_duplicates("run")
        names = dict(zip(named["run"].astype(str), named["name"], strict=True))
        there = [str(run) for run in frame["run"].cat.categories]
        axes, _, table = _grid(
            frame[axis], None, frame["run"].cat.codes, frame["value"], len(there)
        )
        return {axis: axes} | {
            names[run]: table[:, n] for n, run in enumerate(there) if run in names
        }
    metrics = [str(key) for key in frame["metric"].cat.categories]
    codes = frame["run"].cat.codes, frame["metric"].cat.codes
    axes, runs, table = _grid(frame[axis], *codes, frame["value"], len(metrics))
    ids = frame["run"].cat.categories.to_numpy().astype(object)
    labels = frame.drop_duplicates("run").set_index("run")["name"].reindex(ids).to_numpy()
    columns = {"run": ids[runs], "name": labels[runs], axis: axes}
    return columns | {key: table[:, n] for n, key in enumerate(metrics)}


def _grid(axis: Any, outer: Any, inner: Any, values: Any, width: int) -> tuple[Any, Any, Any]:
    """Values in a grid: a row for each place of the axis (within each `outer`), a column an `inner`
    (there are `width` of them).

    Gives the rows' places, their outers, and the grid, NaN where there is nothing. Of several values
    at one place the last is taken.
    """
    import numpy as np

    place, column, value = axis.to_numpy(), inner.to_numpy(), values.to_numpy()
    group = np.zeros(len(place), np.int64) if outer is None else outer.to_numpy().astype(np.int64)
    order = np.lexsort((place, group))
    place, column, value, group = place[order], column[order], value[order], group[order]
    begins = np.ones(len(place), bool)
    begins[1:] = (place[1:] != place[:-1]) | (group[1:] != group[:-1])
    grid = np.full((int(begins.sum()), width), np.nan)
    grid[np.cumsum(begins) - 1, column] = value
    return place[begins], group[begins], grid


def _told_apart(frame: Any) -> Any:
    """Runs of one name get the beginning of their id behind it."""
    names = frame[["run", "name"]].drop_duplicates()
    twice = set(names["name"][names["name"].duplicated()])
    if not twice:
        return frame
    label = [
        f"{n} ({str(r)[:8]})" if n in twice else n
        for r, n in zip(frame["run"], frame["name"], strict=True)
    ]
    return frame.assign(name=label)


def _resampled(frame: Any, axis: Axis, width: float, aggregate: str) -> Any:
    import numpy as np

    place = np.floor(frame[axis].to_numpy() / width) * width
    grouped = frame.assign(**{axis: place}).groupby(
        ["run", "name", "metric", axis], observed=True, sort=True
    )
    return grouped["value"].agg(aggregate).reset_index()


def _begins(points: Mapping[tuple[str, str], Series]) -> dict[str, float]:
    begun: dict[str, float] = {}
    for (run, _), series in points.items():
        if len(series):
            first = float(series.times.min())
            begun[run] = min(begun.get(run, first), first)
    return {run: begun.get(run, 0.0) for run, _ in points}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _polars_column(polars: Any, name: str, values: Any) -> Any:
    try:
        return polars.Series(name, values, strict=True)
    except Exception:  # mixed types: as text, which says it all
        return polars.Series(name, _as_text(values), dtype=polars.String)


def _arrow_column(arrow: Any, values: Any) -> Any:
    try:
        return arrow.array(values, from_pandas=False)
    except Exception:
        return arrow.array(_as_text(values), arrow.string())


def _as_text(values: Any) -> list[str | None]:
    return [None if value is None else str(_plain(value)) for value in values]


def times_of(series: Series) -> "NDArray[np.datetime64]":
    """A series' times as NumPy datetimes, in UTC."""
    import numpy as np

    return (
        (series.times * 1e6)
        .astype("int64")
        .astype("datetime64[us]")
        .astype(np.dtype("datetime64[us]"))
    )


def telemetry(rows: Sequence[tuple[str, float, str, Any]]) -> Any:
    """(run, time in seconds since the epoch, key, value) each, as a pandas DataFrame by run and time."""
    import numpy as np

    pd = extras.load("pandas", "analysis", "a data frame")

    frame: Any = pd.DataFrame(rows, columns=["run", "time", "key", "value"])
    # To the microsecond: a double of seconds is not exact to the nanoseconds that pandas counts.
    times = np.rint(np.array([row[1] for row in rows], np.float64) * 1e6).astype("datetime64[us]")
    frame["time"] = times
    frame["time"] = frame["time"].dt.tz_localize("UTC")
    return frame.sort_values(["run", "time", "key"], kind="stable", ignore_index=True)
