"""Optuna's samplers over our own record: what it knows is put before them anew for each suggestion.

Optuna's documentation calls this the ask-and-tell interface; the study lives for one question, in memory.
"""

import inspect
import json
import math
import time
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from msgspec import Struct
from optuna.distributions import distribution_to_json
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from runbase.errors import UsageError
from runbase.model import Experiment
from runbase.space import Categorical, Float, Int, Parameter, applies, inside, to_distribution
from runbase.trials.observations import Observations
from runbase.trials.ranking import excesses
from runbase.trials.sampling import Suggestion, ordered

SCOPE = "system"
"""Where samplers' notes are kept: those of Optuna's studies are there too."""
NAMES = [
    "BruteForceSampler",
    "CmaEsSampler",
    "GPSampler",
    "NSGAIIISampler",
    "NSGAIISampler",
    "QMCSampler",
    "RandomSampler",
    "TPESampler",
]
DIRECTIONS = {"min": StudyDirection.MINIMIZE, "max": StudyDirection.MAXIMIZE}
_CONSTRAINTS = "constraints"


class Notes(Struct, kw_only=True):
    """What samplers noted, about the study and about trials, and what is new of it."""

    study: dict[str, Any]
    runs: dict[str, dict[str, Any]]
    changed: dict[str, Any] = {}


def suggest(
    experiment: Experiment,
    seen: Observations,
    waiting: Sequence[Mapping[str, Any]],
    notes: Notes,
    sampler: Any,
    seed: int | None,
    options: Mapping[str, Any],
) -> Suggestion:
    """What a sampler would try next, given all that has ended, and what waits or runs."""
    space = dict(ordered(experiment.space))
    storage = optuna.storages.InMemoryStorage()
    directions = [DIRECTIONS[objective.direction] for objective in experiment.objectives]
    number = storage.create_new_study(directions, experiment.name)
    for key, value in notes.study.items():
        storage.set_study_system_attr(number, key, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        count = len(seen) + len(waiting)
        study = optuna.load_study(
            study_name=experiment.name,
            storage=storage,
            sampler=_sampler(
                sampler, seed, count, dict(options), constrained=bool(experiment.limits)
            ),
        )
        study.add_trials(_told(experiment, space, seen, notes.runs))
        study.add_trials([_trial(space, params, TrialState.RUNNING) for params in waiting])
        try:
            trial = study.ask()
            params, suggested = _ask(trial, space)
        except ModuleNotFoundError as missing:
            raise UsageError(
                f"the sampler {sampler} needs a package that is not installed: "
                f"pip install {missing.name}"
            ) from missing
        except ValueError as wrong:
            raise UsageError(f"the sampler {sampler} cannot be used here: {wrong}") from wrong
    # What names trials by their number in this study means nothing in the next one.
    for key, value in storage.get_study_system_attrs(number).items():
        if isinstance(value, int | float | str) and notes.study.get(key) != value:
            notes.changed[key] = value
    asked = storage.get_trial_id_from_study_id_trial_number(number, trial.number)
    return Suggestion(params, suggested, storage.get_trial_system_attrs(asked))


def _ask(
    trial: optuna.Trial, space: Mapping[str, Parameter]
) -> tuple[dict[str, Any], dict[str, str]]:
    """A value for each parameter that is there as things stand, and from what it was chosen."""
    params: dict[str, Any] = {}
    suggested: dict[str, str] = {}
    for key, parameter in space.items():
        if not applies(parameter, params):
            continue
        match parameter:
            case Categorical():
                params[key] = trial.suggest_categorical(key, parameter.choices)
            case Int():
                params[key] = trial.suggest_int(
                    key, parameter.low, parameter.high, step=parameter.step, log=parameter.log
                )
            case Float():
                params[key] = trial.suggest_float(
                    key, parameter.low, parameter.high, step=parameter.step, log=parameter.log
                )
        chosen = to_distribution(parameter)
        suggested[key] = json.dumps(
            {
                "distribution": distribution_to_json(chosen),
                "internal": chosen.to_internal_repr(params[key]),
                "time": time.time_ns(),
            }
        )
    return params, suggested


def _told(
    experiment: Experiment,
    space: Mapping[str, Parameter],
    seen: Observations,
    notes: Mapping[str, Mapping[str, Any]],
) -> list[FrozenTrial]:
    trials: list[FrozenTrial] = []
    for n, params in enumerate(seen.params):
        score = seen.scores[n] or {}
        values = [score.get(objective.metric) for objective in experiment.objectives]
        own = dict(notes.get(seen.runs[n], {}))
        if experiment.limits:
            own[_CONSTRAINTS] = excesses(experiment.limits, score)
        if any(value is None or math.isnan(value) for value in values):
            trials.append(_trial(space, params, TrialState.FAIL, notes=own))
        else:
            known = [value for value in values if value is not None]
            trials.append(_trial(space, params, TrialState.COMPLETE, known, own))
    return trials


def _trial(
    space: Mapping[str, Parameter],
    params: Mapping[str, Any],
    state: TrialState,
    values: list[float] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> FrozenTrial:
    """A trial as Optuna has it, with those parameters that are in the space as it is now."""
    known = {key: params[key] for key in space if key in params and inside(space[key], params[key])}
    return optuna.trial.create_trial(
        state=state,
        values=values,
        params=known,
        distributions={key: to_distribution(space[key]) for key in known},
        system_attrs=dict(notes or {}),
    )


def _constraints(trial: FrozenTrial) -> Sequence[float]:
    return trial.system_attrs[_CONSTRAINTS]


def _sampler(
    sampler: Any, seed: int | None, count: int, options: dict[str, Any], *, constrained: bool
) -> BaseSampler:
    """One of Optuna's, by its name or as it was handed in."""
    if isinstance(sampler, BaseSampler):
        if options or seed is not None:
            raise UsageError(
                f"{type(sampler).__name__} is made already: give the seed and options to it"
            )
        return sampler
    word = str(sampler).removeprefix("optuna:")
    kinds = {name.lower().removesuffix("sampler"): name for name in NAMES}
    name = kinds.get(word.lower().removesuffix("sampler"))
    if not str(sampler).startswith("optuna:") or name is None:
        raise UsageError(
            f"there is no sampler {sampler!r}; there are random, grid, "
            + ", ".join(f"optuna:{short}" for short in sorted(kinds))
        )
    kind: Any = getattr(optuna.samplers, name)
    takes = inspect.signature(kind).parameters
    if seed is not None and "seed" in takes:
        # One and the same would make the first suggestions equal; a sequence goes on by itself.
        options.setdefault("seed", seed if name == "QMCSampler" else (seed + count) % 2**32)
    if constrained and "constraints_func" in takes:
        options.setdefault("constraints_func", _constraints)
    try:
        return kind(**options)
    except TypeError as wrong:
        raise UsageError(f"{name}: {wrong}") from None
