"""Results of trials: observations for optimizers, scores, and suggestions for the next trial.

These are functions of an experiment record and a storage; `Experiment` has them as methods.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from runbase.errors import UsageError
from runbase.model import Experiment, Run
from runbase.status import ACTIVE, WAITING
from runbase.storage.protocol import Storage
from runbase.storage.types import Query
from runbase.trials import observations, ranking, sampling
from runbase.trials.observations import Observations
from runbase.trials.ranking import Scored
from runbase.trials.sampling import Suggestion

_UNFINISHED = ", ".join(f"'{status}'" for status in sorted({*WAITING, *ACTIVE}))


def load(
    record: Experiment,
    storage: Storage,
    after: int | Mapping[str, int],
    metrics: Sequence[str] | None,
    others: Sequence[Experiment],
) -> Observations:
    """Load every trial that has ended.

    Args:
        record: the experiment.
        storage: the storage that contains it.
        after: only trials with a greater number; or the `after` of an earlier result, per experiment.
        metrics: the metrics to return as scores; None for the objectives.
        others: the experiments that were merged into it.

    Raises:
        UsageError: there are neither objectives nor `metrics`.
    """
    seen = after if isinstance(after, Mapping) else {record.id: after}
    since = {experiment.id: seen.get(experiment.id, 0) for experiment in (record, *others)}
    if not isinstance(after, Mapping) and after > 0:  # the first call loaded those of the others
        others, since = (), {record.id: after}
    wanted = objective_metrics(record) if metrics is None else list(metrics)
    return observations.assemble(
        record, others, storage.observations(since, observations.ENDED, wanted)
    )


def check_mergeable(record: Experiment, storage: Storage, others: Sequence[Experiment]) -> None:
    """Raise UsageError, with the reason, if an experiment cannot be merged into another."""
    own = storage.observations({record.id: 0}, observations.ENDED, [])
    for other in others:
        if other.id == record.id:
            raise UsageError(f"experiment {record.name!r} cannot be merged into itself")
        theirs = storage.observations({other.id: 0}, observations.ENDED, [])
        observations.check_compatible(record, other, own, theirs)


def merged_ids(record: Experiment, storage: Storage) -> list[str]:
    """Return the ids of the experiments that were merged into an experiment."""
    links = storage.links("experiment", record.id)
    return [link.to_id for link in links if (link.from_id, link.kind) == (record.id, "merges")]


def suggest(
    record: Experiment,
    storage: Storage,
    sampler: Any,
    seed: int | None,
    options: Mapping[str, object],
    others: Sequence[Experiment],
) -> Suggestion | None:
    """Suggest the parameters of the next trial; None if a grid has no more points. See `Experiment.suggest`."""
    if not record.space:
        raise UsageError(
            f"experiment {record.name!r} has no search space; set one with "
            "store.update_experiment(…, space={'lr': Float(1e-5, 1e-1, log=True)})"
        )
    if sampler in ("random", "grid"):
        if options:
            raise UsageError(f"sampler {sampler!r} has no option {', '.join(sorted(options))}")
        if sampler == "random":
            tried = 0 if seed is None else storage.count_runs(Query(experiment=record.id))
            return sampling.random(record.space, None if seed is None else (seed, tried))
        return sampling.grid(record.space, [run.params for run in _runs(record, storage)])
    from runbase.trials import optuna_samplers  # needs Optuna

    waiting = _runs(record, storage, f"status in ({_UNFINISHED})")
    seen = load(record, storage, 0, [*objective_metrics(record), *record.limits], others)
    notes = optuna_samplers.Notes(
        study=storage.attributes("experiment", [record.id], optuna_samplers.SCOPE)[record.id],
        runs=storage.attributes("run", seen.runs, optuna_samplers.SCOPE),
    )
    suggestion = optuna_samplers.suggest(
        record, seen, [run.params for run in waiting], notes, sampler, seed, dict(options)
    )
    if notes.changed:
        storage.put_attributes("experiment", record.id, optuna_samplers.SCOPE, notes.changed)
    return suggestion


def scored(record: Experiment, storage: Storage) -> list[Scored]:
    """Return the completed trials that have all objectives, with their scores."""
    wanted = [*objective_metrics(record), *record.limits]
    return ranking.score(record, storage.observations({record.id: 0}, ("COMPLETED",), wanted))


def objective_metrics(record: Experiment) -> list[str]:
    """Return the metrics of the objectives; raise UsageError if there are none."""
    if not record.objectives:
        raise UsageError(
            f"experiment {record.name!r} has no objectives; pass metrics, or set objectives with "
            "store.update_experiment(…, objectives={'loss': 'min'})"
        )
    return [objective.metric for objective in record.objectives]


def _runs(record: Experiment, storage: Storage, where: str | None = None) -> list[Run]:
    return list(storage.runs(Query(where=where, experiment=record.id)))
