"""Trials: the queue of an experiment, its runners, and what its results say."""

from typing import Annotated, Any

import msgspec
from litestar import Request, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import Struct

from runbase.analysis.importance import importances
from runbase.errors import Conflict
from runbase.model import Run
from runbase.server.principals import Principal
from runbase.server.routes.runs import Count
from runbase.server.scope import experiment_for, run_for
from runbase.server.threads import in_thread
from runbase.store.store import Store
from runbase.trials.claim import LEASE, Claim, Held
from runbase.trials.experiment import Experiment
from runbase.trials.ranking import Scored

Caller = Request[Principal, Any, Any]
MOST_WAITING = 200
Attempt = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
"""A number that both databases can store."""
MOST_TRIALS = 10_000


class TrialStates(Struct, frozen=True):
    """The trials of an experiment by state, the runners that work on them, and the first trials that wait."""

    progress: dict[str, int]
    runners: dict[str, int]
    waiting: list[Run]


@get("/api/experiments/{experiment:str}/trials", opt={"permission": "read"})
@in_thread
def trials(
    request: Caller, store: NamedDependency[Store], experiment: FromPath[str]
) -> TrialStates:
    """Return how many trials are in each state, how many each runner runs, and which wait."""
    found = experiment_for(store, request.user, experiment)
    states: dict[str, int] = {}
    for row in store.storage.trial_rows(found.id):
        states[row.status.value] = states.get(row.status.value, 0) + 1
    runners: dict[str, int] = {}
    for run in store.runs("status = 'RUNNING' and runner is not null", experiment=found.id):
        runners[str(run.runner)] = runners.get(str(run.runner), 0) + 1
    return TrialStates(states, runners, list(found.pending_trials()[:MOST_WAITING]))


class NewTrials(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Trials to be queued, one for each set of parameters."""

    params: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=MOST_TRIALS)]
    tags: dict[str, str | None] = {}
    priority: Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)] = 0
    retries: Annotated[int, msgspec.Meta(ge=0, le=10**6)] = 1
    runner: str | None = None


class Ids(Struct, frozen=True):
    """Ids of runs."""

    ids: list[str]


@post("/api/experiments/{experiment:str}/trials", opt={"permission": "write"})
@in_thread
def enqueue(
    request: Caller,
    store: NamedDependency[Store],
    experiment: FromPath[str],
    data: JSONBody[NewTrials],
) -> Ids:
    """Queue trials."""
    found = experiment_for(store, request.user, experiment, "write")
    made = found.new_trials(
        data.params,
        tags=data.tags,
        priority=data.priority,
        retries=data.retries,
        runner=data.runner,
    )
    return Ids(made)


class SuggestRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`sampler`: random, grid, or optuna:NAME. `count` trials are queued with the suggested parameters."""

    sampler: str = "random"
    count: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


@post("/api/experiments/{experiment:str}/suggest", opt={"permission": "write"})
@in_thread
def suggest(
    request: Caller,
    store: NamedDependency[Store],
    experiment: FromPath[str],
    data: JSONBody[SuggestRequest],
) -> Ids:
    """Queue trials with suggested parameters; fewer if a grid has no more points."""
    found = experiment_for(store, request.user, experiment, "write")
    made: list[str] = []
    for _ in range(data.count):
        params = found.suggest(sampler=data.sampler)
        if params is None:
            break
        made += found.new_trials([params])
    return Ids(made)


class ClaimRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`runner` names the process that runs the trial; it renews the claim within `lease` seconds."""

    runner: str
    lease: Annotated[float, msgspec.Meta(ge=1, le=86400)] = LEASE


class Claimed(Struct, frozen=True):
    """A claimed trial; null if none waits."""

    run: Run | None
    attempt: int


@post("/api/experiments/{experiment:str}/claim", opt={"permission": "write"}, status_code=200)
@in_thread
def claim(
    request: Caller,
    store: NamedDependency[Store],
    experiment: FromPath[str],
    data: JSONBody[ClaimRequest],
) -> Claimed:
    """Claim the next waiting trial: no two runners get the same one."""
    found = experiment_for(store, request.user, experiment, "write")
    claimed = found.claim_trial(data.runner, lease=data.lease)
    return Claimed(None, 0) if claimed is None else Claimed(claimed.run, claimed.attempt)


class RenewRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The attempt that was claimed, and for how many seconds it is extended."""

    attempt: Attempt
    lease: Annotated[float, msgspec.Meta(ge=1, le=86400)] = LEASE


@post("/api/trials/{run:str}/renew", opt={"permission": "write"}, status_code=200)
@in_thread
def renew(
    request: Caller, store: NamedDependency[Store], run: FromPath[str], data: JSONBody[RenewRequest]
) -> Count:
    """Extend a claim; the answer is 409 if it is lost."""
    found = run_for(store, request.user, run, "write")
    return _kept(store.storage.renew_claim(found.id, data.attempt, data.lease), found)


class FinishRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a claimed trial ended, with its last metrics."""

    attempt: Attempt
    status: str = "COMPLETED"
    metrics: dict[str, float] = {}
    error: str | None = None


@post("/api/trials/{run:str}/finish", opt={"permission": "write"}, status_code=200)
@in_thread
def finish(
    request: Caller,
    store: NamedDependency[Store],
    run: FromPath[str],
    data: JSONBody[FinishRequest],
) -> Count:
    """Store the last metrics of a claimed trial and end it; the answer is 409 if the claim is lost."""
    found = run_for(store, request.user, run, "write")
    held = Held(run=found.id, attempt=data.attempt, runner=found.runner or "", seconds=LEASE)
    claimed = Claim(store, found.experiment, held)
    return _kept(claimed.finish(data.status, metrics=data.metrics or None, error=data.error), found)


def _kept(kept: bool, run: Run) -> Count:
    if not kept:
        raise Conflict(f"the claim on {run.name} is lost, or the trial has ended")
    return Count(1)


@post("/api/trials/{run:str}/requeue", opt={"permission": "write"}, status_code=200)
@in_thread
def requeue(request: Caller, store: NamedDependency[Store], run: FromPath[str]) -> Count:
    """Put a trial, or any run, into the queue for another attempt."""
    found = run_for(store, request.user, run, "write")
    store.storage.requeue_trial(found.id, f"requeued by {request.user.name}")
    return Count(1)


@post("/api/trials/{run:str}/cancel", opt={"permission": "write"}, status_code=200)
@in_thread
def cancel(request: Caller, store: NamedDependency[Store], run: FromPath[str]) -> Count:
    """End a waiting or running trial as CANCELLED; its runner is told. The count is 0 if it has ended."""
    found = run_for(store, request.user, run, "write")
    return Count(int(store.storage.cancel_trial(found.id, f"cancelled by {request.user.name}")))


class Results(Struct, frozen=True):
    """What the ended trials of an experiment say.

    Attributes:
        objectives: the metrics of the objectives, with their directions.
        trials: the completed trials with their objectives, by number.
        best: for each trial by number, the best weighted sum so far.
        front: the runs that no other one dominates.
        importance: for each objective: parameter → share of the variance that it explains alone.
        timeline: each trial: number, run, status, runner, start and end in seconds since the epoch, host.
    """

    objectives: dict[str, str]
    trials: list[Scored]
    best: list[tuple[int, float]]
    front: list[str]
    importance: dict[str, dict[str, float]]
    timeline: list[tuple[int, str, str, str, float | None, float | None, str]]


@get("/api/experiments/{experiment:str}/results", opt={"permission": "read"})
@in_thread
def results(
    request: Caller,
    store: NamedDependency[Store],
    experiment: FromPath[str],
    metric: FromQuery[str | None] = None,
) -> Results:
    """Return objectives of the completed trials, the best so far, the Pareto front and the importance of parameters.

    `metric` names a further metric for the importance.
    """
    found = experiment_for(store, request.user, experiment)
    metrics = [objective.metric for objective in found.objectives]
    if metric is not None:
        metrics.append(metric)
    if not metrics:
        return Results({}, [], [], [], {}, _timeline(store, found))
    scored = found.best_trials(MOST_TRIALS) if found.objectives else []
    scored.sort(key=lambda trial: trial.number)
    observed = found.load(metrics=metrics, merged=False)
    importance = {
        name: importances(
            {key: [row.get(key) for row in observed.params] for key in _keys(observed.params)},
            [None if row is None else row.get(name) for row in observed.scores],
        )
        for name in metrics
    }
    return Results(
        {o.metric: o.direction for o in found.objectives},
        scored,
        found.progress() if found.objectives else [],
        [trial.run for trial in found.pareto_front()] if found.objectives else [],
        importance,
        _timeline(store, found),
    )


def _keys(rows: Any) -> list[str]:
    return list(dict.fromkeys(key for row in rows for key in row))


def _timeline(
    store: Store, experiment: Experiment
) -> list[tuple[int, str, str, str, float | None, float | None, str]]:
    columns = ["number", "id", "status", "runner", "started_at", "ended_at", "host"]
    table = store.table(
        columns=columns, experiment=experiment, order_by="number", limit=MOST_TRIALS
    ).columns
    return [
        (
            number,
            run,
            str(status),
            runner or "",
            None if start is None else start.timestamp(),
            None if end is None else end.timestamp(),
            host or "",
        )
        for number, run, status, runner, start, end, host in zip(
            *(table[name] for name in columns), strict=True
        )
    ]


ROUTES: tuple[Any, ...] = (
    trials, enqueue, suggest, claim, renew, finish, requeue, cancel, results,
)  # fmt: skip
