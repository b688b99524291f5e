"""Everything ever measured, in the form in which an optimizer can begin from it.

Trials of other, compatible experiments count too. A parameter that those did not have is imputed: with the
default that the search space declares, else with the constant in that experiment's configuration, else with
the one in our own; a trial for which none is known is left out, and counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from runbase.errors import UsageError
from runbase.model import Experiment
from runbase.space import Categorical, applies
from runbase.status import Status
from runbase.storage.types import Observation

ENDED = ("COMPLETED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "DEADLINE")
"""States of trials that an optimizer learns from; only the first has scores."""
_MISSING = object()


class Observations(Struct, kw_only=True):
    """Trials that have ended, as columns of equal length, by experiment (ours first) and number."""

    experiments: list[str]
    """The id of each trial's experiment."""
    numbers: list[int]
    runs: list[str]
    params: list[dict[str, Any]]
    scores: list[dict[str, float | None] | None]
    """Metric → its last value; None for a trial that did not complete."""
    statuses: list[Status]
    imputed: list[frozenset[str]]
    """Which of its parameters are imputed."""
    after: dict[str, int]
    """Experiment → the greatest number seen: `load(after=…)` goes on from there."""
    left_out: int = 0
    """Trials of other experiments that lack a parameter for which no value is known."""

    def __len__(self) -> int:
        return len(self.runs)

    def to_pandas(self) -> Any:
        """A data frame: experiment, number, run, status, `params.*`, `metrics.*`, imputed."""
        import pandas as pd

        rows: list[dict[str, Any]] = [
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
    own: Experiment, others: Sequence[Experiment], found: Iterable[Observation]
) -> Observations:
    """What was found, ours first, with what others lack imputed and what only they have left away."""
    made = Observations(
        experiments=[],
        numbers=[],
        runs=[],
        params=[],
        scores=[],
        statuses=[],
        imputed=[],
        after={each.id: 0 for each in (own, *others)},
    )
    places = {each.id: each for each in others}
    everything = list(found)
    mine = [each for each in everything if each.experiment == own.id]
    keys = _keys(own, mine)
    for each in [*mine, *(each for each in everything if each.experiment != own.id)]:
        made.after[each.experiment] = max(made.after[each.experiment], each.number)
        params, imputed = each.params, frozenset[str]()
        if each.experiment != own.id and keys is not None:
            filled = _fill(own, places[each.experiment], keys, each.params)
            if filled is None:
                made.left_out += 1
                continue
            params, imputed = filled
        made.experiments.append(each.experiment)
        made.numbers.append(each.number)
        made.runs.append(each.run)
        made.params.append(params)
        made.scores.append(each.metrics if each.status is Status.COMPLETED else None)
        made.statuses.append(each.status)
        made.imputed.append(imputed)
    return made


def check_compatible(
    own: Experiment,
    other: Experiment,
    own_trials: Sequence[Observation],
    other_trials: Sequence[Observation],
) -> None:
    """UsageError with the reason, where one cannot learn from the other."""
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
    own: Experiment, other: Experiment, keys: Sequence[str], params: Mapping[str, Any]
) -> tuple[dict[str, Any], frozenset[str]] | None:
    filled: dict[str, Any] = {}
    imputed: set[str] = set()
    for key in keys:
        if key in params:
            filled[key] = params[key]
            continue
        parameter = own.space.get(key)
        if parameter is not None and not applies(parameter, {**filled, **params}):
            continue  # as things stand there, it would not be there here either
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
    """Parameter → what its values are: numbers, texts, ..."""
    found: dict[str, set[str]] = {}
    for key, parameter in experiment.space.items():
        values = parameter.choices if isinstance(parameter, Categorical) else [0.0]
        found[key] = {_kind(value) for value in values}
    for each in trials:
        for key, value in each.params.items():
            if key not in experiment.space:
                found.setdefault(key, set()).add(_kind(value))
    return found


def _kind(value: Any) -> str:
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
