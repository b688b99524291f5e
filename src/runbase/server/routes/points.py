"""Curves, points and telemetry of runs."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, Response, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Struct

from runbase.errors import UsageError
from runbase.server import curves
from runbase.server.principals import Principal
from runbase.server.scope import among, both, run_for, visible
from runbase.server.threads import in_thread
from runbase.store.store import Store

Caller = Request[Principal, Any, Any]


class CurvesRequest(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"from_": "from"}
):
    """Which curves, and how wide.

    Attributes:
        series: pairs of a run's id and the name of a metric.
        runs: instead of `series`: ids of runs; those without the metric `key` are left out.
        where: instead of `series`: the runs, by a filter; then `key` names the metric.
        limit: with `where`, the maximum number of runs.
        x: `step`, `time` (seconds since the epoch), `relative` (seconds since the start of the run) or `metric:KEY`.
        from_: the first x value; null: the first of all curves.
        to: the last x value.
        columns: pixel columns.
    """

    series: list[tuple[str, str]] | None = None
    runs: list[str] | None = None
    where: str | None = None
    experiment: str | None = None
    key: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=curves.MOST_CURVES)] = 100
    x: str = "step"
    from_: float | None = None
    to: float | None = None
    columns: Annotated[int, msgspec.Meta(ge=1, le=curves.MOST_COLUMNS)] = 1000


class PointsAnswer(Struct, frozen=True):
    """Points of a metric: steps, times (seconds since the epoch) and values; values that are no numbers are null."""

    key: str
    steps: list[float]
    times: list[float]
    values: list[float | None]


@post(
    "/api/curves",
    opt={"permission": "read"},
    status_code=200,
    media_type=curves.MEDIA_TYPE,
)
@in_thread
def curve_bodies(
    request: Caller, store: NamedDependency[Store], data: JSONBody[CurvesRequest]
) -> Response[bytes]:
    """Return curves in binary form: per pixel column the least and greatest value, or exact points."""
    if data.series is not None:
        series = data.series
        if len(series) > curves.MOST_CURVES:
            raise UsageError(f"{len(series)} curves; ask for {curves.MOST_CURVES} at most")
        if not request.user.may_everywhere("read"):
            for run in {run for run, _ in series}:
                run_for(store, request.user, run)
    elif data.key is not None:
        series = [(run, data.key) for run in _with_metric(request.user, store, data)]
    else:
        raise UsageError("pass series, or key with runs or where")
    body = curves.encode(store.reader, series, data.columns, data.from_, data.to, data.x)
    return Response(body, media_type=curves.MEDIA_TYPE)


def _with_metric(principal: Principal, store: Store, data: CurvesRequest) -> list[str]:
    """Return the ids of the runs of a request that have its metric, in the order of the request or the newest first."""
    where = f'metrics."{str(data.key).replace(chr(34), chr(34) * 2)}".count > 0'
    if data.where:
        where = both(data.where, where)
    if data.runs is not None:
        if len(data.runs) > curves.MOST_CURVES:
            raise UsageError(f"{len(data.runs)} runs; ask for {curves.MOST_CURVES} at most")
        where = f"{where} and {among('id', data.runs)}"
    found = store.table(
        visible(principal, where),
        columns=["id"],
        limit=data.limit if data.runs is None else None,
        experiment=data.experiment,
    ).ids
    if data.runs is None:
        return found
    known = set(found)
    return [run for run in data.runs if run in known]


def _numbers(values: Any) -> list[float | None]:
    return [
        None if value != value or value in (float("inf"), -float("inf")) else value
        for value in values.tolist()
    ]


@get("/api/runs/{run:str}/points", opt={"permission": "read"})
@in_thread
def points(
    request: Caller,
    store: NamedDependency[Store],
    run: FromPath[str],
    key: FromQuery[str],
    kind: FromQuery[Literal["metric", "telemetry"]] = "metric",
    start: FromQuery[float | None] = None,
    end: FromQuery[float | None] = None,
) -> PointsAnswer:
    """Return all points of a metric or of telemetry."""
    found = run_for(store, request.user, run)
    if kind == "telemetry":
        series = store.telemetry(found, key)
    else:
        series = store.metrics(found, key, start, end)
    return PointsAnswer(
        series.key, series.steps.tolist(), series.times.tolist(), _numbers(series.values)
    )


ROUTES: tuple[Any, ...] = (curve_bodies, points)
