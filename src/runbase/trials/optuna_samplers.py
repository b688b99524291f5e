"""Optuna's samplers on the trials of an experiment.

Each suggestion creates an Optuna study in memory from all recorded trials, and asks its sampler for one trial
(Optuna's ask-and-tell interface).
"""

import contextvars
import inspect
import json
import logging
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
from runbase.typing import JsonObject

SCOPE = "system"
"""The attribute scope of samplers' notes; `RunbaseStorage` stores those of Optuna studies in it too."""
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
    """The notes of samplers about the study and its trials, and the changes made by a suggestion."""

    study: JsonObject
    runs: dict[str, JsonObject]
    changed: JsonObject = {}


_suggesting: contextvars.ContextVar[bool] = contextvars.ContextVar("suggesting", default=False)
# Each suggestion makes a study in memory, of which Optuna would print a line.
logging.getLogger("optuna.storages._in_memory").addFilter(lambda record: not _suggesting.get())


def suggest(
    experiment: Experiment,
    seen: Observations,
    waiting: Sequence[Mapping[str, object]],
    notes: Notes,
    sampler: Any,
    seed: int | None,
    options: Mapping[str, object],
) -> Suggestion:
    """Suggest the next trial from the ended trials and the parameters of waiting and running ones."""
    space = dict(ordered(experiment.space))
    storage = optuna.storages.InMemoryStorage()
    directions = [DIRECTIONS[objective.direction] for objective in experiment.objectives]
    token = _suggesting.set(True)
    try:
        number = storage.create_new_study(directions, experiment.name)
    finally:
        _suggesting.reset(token)
    for key, value in notes.study.items():
        storage.set_study_system_attr(number, key, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # what Optuna will change is not the user's to mend
        count = len(seen) + len(waiting)
        study = optuna.load_study(
            study_name=experiment.name,
            storage=storage,
            sampler=_sampler(
                sampler, seed, count, dict(options), constrained=bool(experiment.limits)
            ),
        )
        study.add_trials(_ended(experiment, space, seen, notes.runs))
        study.add_trials([_trial(space, params, TrialState.RUNNING) for params in waiting])
        try:
            trial = study.ask()
            params, suggested = _ask(trial, space)
        except ModuleNotFoundError as missing:
            raise UsageError(
                f"sampler {sampler} needs {missing.name}, which Optuna does not install: "
                f"pip install {missing.name}"
            ) from missing
        except ValueError as wrong:
            raise UsageError(f"sampler {sampler} cannot be used here: {wrong}") from wrong
    # Attributes that are not scalars refer to trial numbers of this study, which the next one lacks.
    for key, value in storage.get_study_system_attrs(number).items():
        if isinstance(value, int | float | str) and notes.study.get(key) != value:
            notes.changed[key] = value
    asked = storage.get_trial_id_from_study_id_trial_number(number, trial.number)
    return Suggestion(params, suggested, storage.get_trial_system_attrs(asked))


def _ask(trial: optuna.Trial, space: Mapping[str, Parameter]) -> tuple[JsonObject, dict[str, str]]:
    """Return a value for each parameter that applies, and the distribution that it was drawn from."""
    params: JsonObject = {}
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


def _ended(
    experiment: Experiment,
    space: Mapping[str, Parameter],
    seen: Observations,
    notes: Mapping[str, Mapping[str, object]],
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
    params: Mapping[str, object],
    state: TrialState,
    values: list[float] | None = None,
    notes: Mapping[str, object] | None = None,
) -> FrozenTrial:
    """Return a trial of Optuna with those parameters that are in the current search space."""
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
    sampler: Any, seed: int | None, count: int, options: JsonObject, *, constrained: bool
) -> BaseSampler:
    """Return a sampler of Optuna, by its name or as an object."""
    if isinstance(sampler, BaseSampler):
        if options or seed is not None:
            raise UsageError(
                f"sampler {type(sampler).__name__} is an object; pass the seed and options to its constructor"
            )
        return sampler
    word = str(sampler).removeprefix("optuna:")
    kinds = {name.lower().removesuffix("sampler"): name for name in NAMES}
    name = kinds.get(word.lower().removesuffix("sampler"))
    if not str(sampler).startswith("optuna:") or name is None:
        raise UsageError(
            f"no sampler {sampler!r}; there are random, grid, "
            + ", ".join(f"optuna:{short}" for short in sorted(kinds))
        )
    kind: Any = getattr(optuna.samplers, name)
    takes = inspect.signature(kind).parameters
    if seed is not None and "seed" in takes:
        # The same seed each time would repeat the first suggestion. QMC continues its sequence itself.
        options.setdefault("seed", seed if name == "QMCSampler" else (seed + count) % 2**32)
    if constrained and "constraints_func" in takes:
        options.setdefault("constraints_func", _constraints)
    try:
        return kind(**options)
    except TypeError as wrong:
        raise UsageError(f"{name}: {wrong}") from None
