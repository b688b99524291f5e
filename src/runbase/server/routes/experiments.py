"""Experiments: lists, single ones, changes, trials, comparison."""

from typing import Any

from litestar import Request, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import UNSET, Struct, UnsetType

from runbase.errors import UsageError
from runbase.model import Experiment, Objective
from runbase.server.principals import Principal
from runbase.server.routes.runs import Count, Limit
from runbase.server.scope import experiment_for, run_for, visible_experiments
from runbase.server.threads import in_thread
from runbase.store.store import Store

Caller = Request[Principal, Any, Any]


class ExperimentPage(Struct, frozen=True):
    """A page of experiments. `cursor` is the argument `after` of the next page; null on the last one."""

    experiments: list[Experiment]
    cursor: str | None


class NewExperiment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An experiment to be created."""

    name: str
    description: str = ""
    notes: str = ""
    tags: dict[str, str | None] = {}
    objectives: dict[str, str] = {}


class ExperimentPatch(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Changes of an experiment. `objectives` maps a metric to min or max."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET
    notes: str | UnsetType = UNSET
    tags: dict[str, str | None] | UnsetType = UNSET
    objectives: dict[str, str] | UnsetType = UNSET


@get("/api/experiments", opt={"permission": "read"})
@in_thread
def list_experiments(
    request: Caller,
    store: NamedDependency[Store],
    where: FromQuery[str | None] = None,
    order_by: FromQuery[str | None] = None,
    after: FromQuery[str | None] = None,
    limit: Limit = 100,
) -> ExperimentPage:
    """Return experiments, newest first unless ordered."""
    where = visible_experiments(request.user, where)
    found = store.experiments(where, order_by=order_by, after=after, limit=limit)
    return ExperimentPage([_plain(experiment) for experiment in found], found.cursor)


def _plain(experiment: Experiment) -> Experiment:
    """Return the record without the methods of an open experiment, which the schema does not have."""
    return Experiment(**{name: getattr(experiment, name) for name in Experiment.__struct_fields__})


@get("/api/experiments/{experiment:str}", opt={"permission": "read"})
@in_thread
def one_experiment(
    request: Caller, store: NamedDependency[Store], experiment: FromPath[str]
) -> Experiment:
    """Return an experiment by id, unique prefix of an id, or name."""
    return _plain(experiment_for(store, request.user, experiment))


@post("/api/experiments", opt={"permission": "write"})
@in_thread
def create_experiment(
    request: Caller, store: NamedDependency[Store], data: JSONBody[NewExperiment]
) -> Experiment:
    """Create an experiment."""
    request.user.require("write")
    return _plain(
        store.create_experiment(
            data.name,
            description=data.description,
            notes=data.notes,
            tags=data.tags,
            objectives=data.objectives,
        )
    )


@patch("/api/experiments/{experiment:str}", opt={"permission": "write"})
@in_thread
def change_experiment(
    request: Caller,
    store: NamedDependency[Store],
    experiment: FromPath[str],
    data: JSONBody[ExperimentPatch],
) -> Experiment:
    """Change name, description, notes, tags and objectives; tags and objectives are replaced as a whole."""
    found = experiment_for(store, request.user, experiment, "write")
    fields: dict[str, Any] = {
        name: value
        for name in ExperimentPatch.__struct_fields__
        if (value := getattr(data, name)) is not UNSET
    }
    if "objectives" in fields:
        fields["objectives"] = [
            Objective(metric=metric, direction=direction)
            for metric, direction in fields["objectives"].items()
        ]
    if not fields:
        raise UsageError("nothing to change: pass name, description, notes, tags or objectives")
    return _plain(store.update_experiment(found.id, **fields))


@delete("/api/experiments/{experiment:str}", opt={"permission": "write"}, status_code=200)
@in_thread
def delete_experiment(
    request: Caller, store: NamedDependency[Store], experiment: FromPath[str]
) -> Count:
    """Move an experiment and its runs to the trash."""
    found = experiment_for(store, request.user, experiment, "write")
    return Count(store.delete(found.id))


class ForkRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A fork. `overrides` changes the parent's config; `where`: also copy the runs that match."""

    name: str | None = None
    overrides: dict[str, Any] = {}
    description: str | None = None
    where: str | None = None


@post("/api/experiments/{experiment:str}/fork", opt={"permission": "write"})
@in_thread
def fork_experiment(
    request: Caller,
    store: NamedDependency[Store],
    experiment: FromPath[str],
    data: JSONBody[ForkRequest],
) -> Experiment:
    """Create an experiment that descends from another one."""
    found = experiment_for(store, request.user, experiment)
    request.user.require("write")
    return _plain(
        store.fork(
            found.id,
            data.name,
            data.overrides,
            runs=data.where or False,
            description=data.description,
        )
    )


class MergeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Experiments, by id or name, whose trials an optimizer uses too."""

    others: list[str]


@post("/api/experiments/{experiment:str}/merge", opt={"permission": "write"}, status_code=200)
@in_thread
def merge_experiments(
    request: Caller,
    store: NamedDependency[Store],
    experiment: FromPath[str],
    data: JSONBody[MergeRequest],
) -> list[Experiment]:
    """Let the optimizer of an experiment use the trials of others too; returns all merged experiments."""
    found = experiment_for(store, request.user, experiment, "write")
    others = [experiment_for(store, request.user, other).id for other in data.others]
    return [_plain(merged) for merged in found.merge(*others)]


class CompareRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """Runs to compare, by id or name."""

    runs: list[str]


class Compared(Struct, frozen=True):
    """Rows of a comparison: field → one value a run; only fields that differ, if asked for."""

    ids: list[str]
    names: list[str]
    params: dict[str, list[Any]]
    metrics: dict[str, list[Any]]


@post("/api/compare", opt={"permission": "read"}, status_code=200)
@in_thread
def compare(
    request: Caller, store: NamedDependency[Store], data: JSONBody[CompareRequest]
) -> Compared:
    """Return parameters and last metric values of runs side by side."""
    runs = [run_for(store, request.user, run) for run in data.runs]
    if not runs:
        raise UsageError("pass at least one run")
    params = dict.fromkeys(key for run in runs for key in run.params)
    metrics = dict.fromkeys(key for run in runs for key in run.metrics)
    return Compared(
        [run.id for run in runs],
        [run.name for run in runs],
        {key: [run.params.get(key) for run in runs] for key in params},
        {
            key: [run.metrics[key].last if key in run.metrics else None for run in runs]
            for key in metrics
        },
    )


ROUTES: tuple[Any, ...] = (
    list_experiments, one_experiment, create_experiment, change_experiment, delete_experiment, fork_experiment,
    merge_experiments, compare,
)  # fmt: skip
