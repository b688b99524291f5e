"""Search for runs and their points."""

from collections.abc import Sequence
from typing import Any

from runbase.integrations.mlflow.rest import records, run_filters, runs
from runbase.integrations.mlflow.rest.calls import Call, Json, page
from runbase.integrations.mlflow.rest.deliveries import run_of
from runbase.integrations.mlflow.rest.errors import absent, bad_value, invalid
from runbase.integrations.mlflow.rest.experiments import view_type
from runbase.integrations.mlflow.rest.grammar import (
    Clause,
    Entity,
    Key,
    parse_filter,
    parse_order,
    satisfied,
    sort,
)
from runbase.integrations.mlflow.rest.numbers import SCOPE
from runbase.model import Run
from runbase.storage.types import Query

MOST = 50_000
MOST_RUNS = 100
START = Key(Entity("number", "start_time"), True)


def search(call: Call) -> Json:
    """Return runs of experiments that match a filter."""
    most = call.fields.most(1000, MOST)
    view = view_type(call, "run_view_type")
    clauses = parse_filter(call.fields.text("filter"), run_filters.entity)
    keys = parse_order(call.fields.texts("order_by"), run_filters.entity)
    if any(key.entity.kind == "dataset" for key in keys):
        raise invalid("Invalid order_by clause: runs cannot be ordered by datasets")
    numbers = call.fields.texts("experiment_ids")
    found = {key for number in numbers if (key := call.numbers.find(number)) is not None}
    experiments = [key for key in sorted(found) if call.caller.may("read", key)]
    if not experiments:
        return {"runs": []}
    where = _where(call, experiments, clauses, view)
    by_uri = [clause for clause in clauses if clause.entity.key == "artifact_uri"]
    if view == "ALL" or by_uri or any(key.entity.key == "artifact_uri" for key in keys):
        return _search_here(call, experiments, where, by_uri, keys, view, most)
    listed = call.store.storage.runs(
        Query(
            where=where,
            order_by=run_filters.order(keys),
            limit=most,
            after=call.fields.text("page_token") or None,
            experiment=_only(experiments),
            deleted=view == "DELETED_ONLY",
        )
    )
    more = {"next_page_token": listed.cursor} if listed.cursor else {}
    return {"runs": runs.shown(call, listed), **more}


def _where(
    call: Call, experiments: Sequence[str], clauses: Sequence[Clause], view: str
) -> str | None:
    """Return the condition of a search. That the runs belong to the only experiment is not part of it."""
    several = ", ".join(map(run_filters.quoted, experiments))
    parts = [] if _only(experiments) else [f"experiment_id in ({several})"]
    about_datasets = [clause for clause in clauses if clause.entity.kind == "dataset"]
    parts += [
        run_filters.condition(clause)
        for clause in clauses
        if clause.entity.kind != "dataset" and clause.entity.key != "artifact_uri"
    ]
    where = " and ".join(parts) or None
    if not about_datasets:
        return where
    ids = [
        run
        for deleted in _deleted(view)
        for run in call.store.storage.table(
            Query(where=where, experiment=_only(experiments), deleted=deleted), ["id"]
        ).ids
    ]
    attributes = call.store.storage.attributes("run", ids, SCOPE)
    matching = [
        run
        for run in ids
        if run_filters.has_dataset(about_datasets, records.datasets(attributes[run]))
    ]
    if not matching:
        return run_filters.NOTHING
    return f"id in ({', '.join(map(run_filters.quoted, matching))})"


def _only(experiments: Sequence[str]) -> str | None:
    """Return the experiment if there is one only, which the database finds by an index."""
    return experiments[0] if len(experiments) == 1 else None


def _deleted(view: str) -> tuple[bool, ...]:
    return {"ACTIVE_ONLY": (False,), "DELETED_ONLY": (True,)}.get(view, (False, True))


def _search_here(
    call: Call,
    experiments: Sequence[str],
    where: str | None,
    by_uri: Sequence[Clause],
    keys: Sequence[Key],
    view: str,
    most: int,
) -> Json:
    """Search in the trash and outside of it, or by the URI of artifacts: filter and sort all runs here."""
    found = [
        run
        for deleted in _deleted(view)
        for run in call.store.storage.runs(
            Query(where=where, experiment=_only(experiments), deleted=deleted)
        )
    ]
    places = call.numbers.of(run.experiment_id for run in found)
    attributes = call.store.storage.attributes("run", [run.id for run in found], SCOPE)
    value = run_filters.value_of(places, attributes)
    found = [run for run in found if all(satisfied(c, value(run, c.entity)) for c in by_uri)]
    found.sort(key=lambda run: run.id)
    found = sort(found, [*keys, START], value)
    listed, more = page(found, call.fields.begin(), most)
    return {"runs": runs.shown(call, listed), **more}


# Points


def history(call: Call) -> Json:
    """Return all points of a metric, by time, step and value."""
    run = run_of(call, call.fields.either("run_id", "run_uuid"))
    key = call.fields.text("metric_key", required=True)
    most = call.fields.integer("max_results", 0)
    if most < 0 or most > MOST:
        raise bad_value(most, "max_results")
    points = points_of(call, run, key)
    listed, more = page(points, call.fields.begin(), most or max(len(points), 1))
    return {"metrics": listed, **more}


def points_of(call: Call, run: Run, key: str) -> list[Json]:
    """Return the points of a metric of a run, by time, step and value."""
    if key not in run.metrics:
        return []
    series = call.store.storage.series(run.id, key, every=True)
    rows = zip(series.steps.tolist(), series.times.tolist(), series.values.tolist(), strict=True)
    found: list[tuple[int, int, float]] = [(round(at * 1000), int(step), v) for step, at, v in rows]
    found.sort(key=lambda row: (row[0], row[1], row[2] if row[2] == row[2] else float("inf")))
    return [
        {"key": key, "value": records.figure(value), "timestamp": at, "step": step}
        for at, step, value in found
    ]


def history_bulk(call: Call) -> Json:
    """Return the points of a metric of several runs."""
    most = call.fields.most(25_000, 25_000)
    key = call.fields.text("metric_key", required=True)
    points: list[Json] = []
    for run in _runs(call, "run_id"):
        points += [{**point, "run_id": run.id} for point in points_of(call, run, key)]
        if len(points) >= most:
            break
    return {"metrics": points[:most]}


def history_interval(call: Call) -> Json:
    """Return points of a metric of several runs between two steps; of more than `max_results` steps, an even choice."""
    most = call.fields.most(320, 2500)
    key = call.fields.text("metric_key", required=True)
    if call.fields.has("start_step") != call.fields.has("end_step"):
        raise invalid("If either start_step or end_step are specified, both must be specified.")
    low = high = None
    if call.fields.has("start_step"):
        low, high = call.fields.integer("start_step"), call.fields.integer("end_step")
        if low > high:
            raise invalid(
                f"end_step must be greater than start_step. Found start_step={low} and end_step={high}."
            )
    points: list[Json] = []
    for run in _runs(call, "run_ids"):
        found = [
            point
            for point in points_of(call, run, key)
            if low is None or high is None or low <= point["step"] <= high
        ]
        chosen = _even(sorted({point["step"] for point in found}), most)
        own = [{**point, "run_id": run.id} for point in found if point["step"] in chosen]
        points += sorted(own, key=lambda point: (point["step"], point["timestamp"]))
    return {"metrics": points}


def _even(steps: Sequence[int], most: int) -> set[int]:
    """Return at most some steps, at even distances, with the first and the last one."""
    if len(steps) <= most:
        return set(steps)
    if most == 1:
        return {steps[-1]}
    return {steps[round(n * (len(steps) - 1) / (most - 1))] for n in range(most)}


def _runs(call: Call, name: str) -> list[Run]:
    ids: list[Any] = call.fields.texts(name)
    if not ids:
        raise absent(name)
    if len(ids) > MOST_RUNS:
        raise invalid(
            f"GetMetricHistoryBulk request cannot specify more than {MOST_RUNS} run_ids. Received {len(ids)} run_ids."
        )
    return [run_of(call, key) for key in ids]
