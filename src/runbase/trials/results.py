"""What the trials of an experiment show: observations for optimizers, ranking, groups, and what to try next.

Functions of an experiment's record and a storage; `runbase.trials.experiment.Experiment` has them as methods.
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
        storage: where it is.
        after: only trials with a greater number; or the `after` of an earlier result, for each experiment.
        metrics: the metrics that are the scores; None: the objectives.
        others: the experiments that were merged into it.

    Raises:
        UsageError: there are neither objectives nor `metrics`.
    """
    given = after if isinstance(after, Mapping) else {record.id: after}
    since = {each.id: given.get(each.id, 0) for each in (record, *others)}
    if not isinstance(after, Mapping) and after > 0:  # the others were loaded with the first
        others, since = (), {record.id: after}
    wanted = objective_metrics(record) if metrics is None else list(metrics)
    return observations.assemble(
        record, others, storage.observations(since, observations.ENDED, wanted)
    )


def check_mergeable(record: Experiment, storage: Storage, others: Sequence[Experiment]) -> None:
    """Raise UsageError, with the reason, where an experiment cannot be merged into another."""
    own = storage.observations({record.id: 0}, observations.ENDED, [])
    for other in others:
        if other.id == record.id:
            raise UsageError(f"experiment {record.name!r} cannot be merged into itself")
        theirs = storage.observations({other.id: 0}, observations.ENDED, [])
        observations.check_compatible(record, other, own, theirs)


def merged_ids(record: Experiment, storage: Storage) -> list[str]:
    """The ids of the experiments that were merged into one."""
    links = storage.links("experiment", record.id)
    return [link.to_id for link in links if (link.from_id, link.kind) == (record.id, "merges")]


def suggest(
    record: Experiment,
    storage: Storage,
    sampler: Any,
    seed: int | None,
    options: Mapping[str, Any],
    others: Sequence[Experiment],
) -> Suggestion | None:
    """Suggest parameters of the next trial; None when a grid is used up. Arguments as for `Experiment.suggest`."""
    if not record.space:
        raise UsageError(
            f"experiment {record.name!r} has no search space; set one with "
            "store.update_experiment(…, space={'lr': Float(1e-5, 1e-1, log=True)})"
        )
    if sampler in ("random", "grid"):
        if options:
            raise UsageError(f"the sampler {sampler!r} takes no {', '.join(sorted(options))}")
        tried = _runs(record, storage)
        if sampler == "random":
            return sampling.random(record.space, None if seed is None else (seed, len(tried)))
        return sampling.grid(record.space, [run.params for run in tried])
    from runbase.trials import optuna_samplers  # needs Optuna

    waiting = _runs(record, storage, f"status in ({_UNFINISHED})")
    seen = load(record, storage, 0, [*objective_metrics(record), *record.limits], others)
    notes = optuna_samplers.Notes(
        study=storage.attributes("experiment", [record.id], optuna_samplers.SCOPE)[record.id],
        runs=storage.attributes("run", seen.runs, optuna_samplers.SCOPE),
    )
    found = optuna_samplers.suggest(
        record, seen, [run.params for run in waiting], notes, sampler, seed, dict(options)
    )
    if notes.changed:
        storage.put_attributes("experiment", record.id, optuna_samplers.SCOPE, notes.changed)
    return found


def scored(record: Experiment, storage: Storage) -> list[Scored]:
    """The completed trials with the values of the objectives and limits."""
    wanted = [*objective_metrics(record), *record.limits]
    return ranking.score(record, storage.observations({record.id: 0}, ("COMPLETED",), wanted))


def objective_metrics(record: Experiment) -> list[str]:
    """The metrics of the objectives; UsageError where there are none."""
    if not record.objectives:
        raise UsageError(
            f"experiment {record.name!r} has no objectives; name the metrics, or set them with "
            "store.update_experiment(…, objectives={'loss': 'min'})"
        )
    return [objective.metric for objective in record.objectives]


def _runs(record: Experiment, storage: Storage, where: str | None = None) -> list[Run]:
    return list(storage.runs(Query(where=where, experiment=record.id)))
