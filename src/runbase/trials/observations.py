"""Observations: all ended trials of an experiment and its merged experiments, for an optimizer to start from. No I/O.

A parameter that trials of a merged experiment lack is imputed: with the default in the search space, else with
the constant in the configuration of that experiment, else with the one in our own configuration. Trials for
which no value is known are left out and counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from runbase import extras
from runbase.errors import UsageError
from runbase.model import Experiment
from runbase.space import Categorical, applies
from runbase.status import Status
from runbase.storage.types import Observation
from runbase.typing import JsonObject

ENDED = ("COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE")
"""Statuses of the trials that an optimizer uses; only the first has scores."""
_MISSING = object()


class Observations(Struct, kw_only=True):
    """Ended trials, as columns of equal length, sorted by experiment (our own first) and number."""

    experiments: list[str]
    """The id of the experiment of each trial."""
    numbers: list[int]
    runs: list[str]
    params: list[JsonObject]
    scores: list[dict[str, float | None] | None]
    """Metric → last value; None for a trial that did not complete."""
    statuses: list[Status]
    imputed: list[frozenset[str]]
    """The names of the imputed parameters of each trial."""
    after: dict[str, int]
    """Experiment → the greatest number seen; `load(after=…)` continues from there."""
    left_out: int = 0
    """The number of trials of merged experiments that were left out for lack of a parameter value."""

    def __len__(self) -> int:
        return len(self.runs)

    def to_pandas(self) -> Any:
        """Return a DataFrame: experiment, number, run, status, `params.*`, `metrics.*`, imputed."""
        pd: Any = extras.load("pandas", "analysis", "a data frame")

        rows: list[JsonObject] = [
            {
                "experiment": self.experiments[n],
                "number": self.numbers[n],
                "run": self.runs[n],
                "status": self.statuses[n].value,
                **{f"params.{key}": value for key, value in self.params[n].items()},
                **{f"metrics.{key}": value for key, value in (self.scores[n] or {}).items()},
                "imputed": ", ".join(sorted(self.imputed[n])),
            }
            for n in range(len(self))
        ]
        return pd.DataFrame(rows)


def assemble(
    own: Experiment, others: Sequence[Experiment], trials: Iterable[Observation]
) -> Observations:
    """Return trials as columns, our own first.

    For trials of others, parameters that they lack are imputed, and parameters that only they have
    are dropped.
    """
    columns = Observations(
        experiments=[],
        numbers=[],
        runs=[],
        params=[],
        scores=[],
        statuses=[],
        imputed=[],
        after={experiment.id: 0 for experiment in (own, *others)},
    )
    others_by_id = {experiment.id: experiment for experiment in others}
    everything = list(trials)
    mine = [trial for trial in everything if trial.experiment == own.id]
    keys = _keys(own, mine)
    for trial in [*mine, *(trial for trial in everything if trial.experiment != own.id)]:
        columns.after[trial.experiment] = max(columns.after[trial.experiment], trial.number)
        params, imputed = trial.params, frozenset[str]()
        if trial.experiment != own.id and keys is not None:
            filled = _fill(own, others_by_id[trial.experiment], keys, trial.params)
            if filled is None:
                columns.left_out += 1
                continue
            params, imputed = filled
        columns.experiments.append(trial.experiment)
        columns.numbers.append(trial.number)
        columns.runs.append(trial.run)
        columns.params.append(params)
        columns.scores.append(trial.metrics if trial.status is Status.COMPLETED else None)
        columns.statuses.append(trial.status)
        columns.imputed.append(imputed)
    return columns


def check_compatible(
    own: Experiment,
    other: Experiment,
    own_trials: Sequence[Observation],
    other_trials: Sequence[Observation],
) -> None:
    """Raise UsageError with the reason if the trials of one experiment cannot be used for the other."""
    why = f"experiment {other.name!r} cannot be merged into {own.name!r}: "
    directions = {o.metric: o.direction for o in own.objectives}
    for objective in other.objectives:
        wanted = directions.get(objective.metric, objective.direction)
        if objective.direction != wanted:
            raise UsageError(
                f"{why}its objective {objective.metric!r} is {objective.direction}, and here it is {wanted}"
            )
    ours, theirs = _kinds(own, own_trials), _kinds(other, other_trials)
    for key in sorted(ours.keys() & theirs.keys()):
        if not ours[key] & theirs[key]:
            raise UsageError(
                f"{why}parameter {key!r} is {_named(theirs[key])} there and {_named(ours[key])} here"
            )
    if ours and theirs and not ours.keys() & theirs.keys():
        raise UsageError(
            f"{why}they have no parameter in common; there {', '.join(sorted(theirs))}, here "
            f"{', '.join(sorted(ours))}"
        )


def _keys(own: Experiment, trials: Sequence[Observation]) -> list[str] | None:
    """Our parameters: those of the search space, else those of our trials; None where none is known."""
    if own.space:
        return list(own.space)
    keys = {key: None for each in trials for key in each.params}
    return list(keys) or None


def _fill(
    own: Experiment, other: Experiment, keys: Sequence[str], params: Mapping[str, object]
) -> tuple[JsonObject, frozenset[str]] | None:
    filled: JsonObject = {}
    imputed: set[str] = set()
    for key in keys:
        if key in params:
            filled[key] = params[key]
            continue
        parameter = own.space.get(key)
        if parameter is not None and not applies(parameter, {**filled, **params}):
            continue  # with these other values, the parameter does not apply here either
        value = _default(own, other, key)
        if value is _MISSING:
            return None
        filled[key] = value
        imputed.add(key)
    return filled, frozenset(imputed)


def _default(own: Experiment, other: Experiment, key: str) -> Any:
    parameter = own.space.get(key)
    if parameter is not None and parameter.default is not None:
        return parameter.default
    for experiment in (other, own):
        if key in experiment.config:
            return experiment.config[key]
    return _MISSING


def _kinds(experiment: Experiment, trials: Sequence[Observation]) -> dict[str, set[str]]:
    """Return parameter → the kinds of its values: numbers, texts, ..."""
    kinds: dict[str, set[str]] = {}
    for key, parameter in experiment.space.items():
        values = parameter.choices if isinstance(parameter, Categorical) else [0.0]
        kinds[key] = {_kind(value) for value in values}
    for trial in trials:
        for key, value in trial.params.items():
            if key not in experiment.space:
                kinds.setdefault(key, set()).add(_kind(value))
    return kinds


def _kind(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case _:
            return "a document"


def _named(kinds: set[str]) -> str:
    return " or ".join(sorted(kinds))
