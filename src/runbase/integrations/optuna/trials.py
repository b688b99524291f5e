"""Optuna's trials as rows of a store, and back: states, distributions, values, times."""

import json
import math
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from runbase.events import Points
from runbase.model import Objective
from runbase.space import Parameter, inside, to_distribution
from runbase.status import Status
from runbase.storage.types import TrialUpdate

NUMBERS = 24
"""Bits of a trial's id that are its number in the study; those above are the study's id. Below 2^53 in all,
so that a web page can hold it."""
STATES = {
    TrialState.WAITING: Status.PENDING,
    TrialState.RUNNING: Status.RUNNING,
    TrialState.COMPLETE: Status.COMPLETED,
    TrialState.FAIL: Status.FAILED,
    TrialState.PRUNED: Status.PRUNED,
}
OURS = {status: state for state, status in STATES.items()}
WAITING = ("PENDING", "REQUEUED", "CONFIGURING")
INTERMEDIATE = "intermediate_value"


class Known:
    """What a process knows of a study."""

    def __init__(self, number: int, experiment: str, name: str) -> None:
        self.number, self.experiment, self.name = number, experiment, name
        self.finished: dict[int, FrozenTrial] = {}
        """By number, as they were read; trials that have ended never change."""
        self.runs: dict[int, str] = {}
        """Number → run."""
        self.distributions: dict[str, BaseDistribution] = {}
        self.running: dict[int, FrozenTrial] = {}
        """Trials that this process made and runs, as it has told of them: they need not be read."""
        self.ended: dict[int, FrozenTrial] = {}
        """Those that it has ended, until they are read once."""
        self.guard = threading.RLock()
        self._known = -1

    @property
    def known(self) -> int:
        """Up to which number all trials have ended and are known."""
        while self._known + 1 in self.finished:
            self._known += 1
        return self._known


def objectives_of(directions: Sequence[StudyDirection]) -> list[Objective]:
    """A study's directions as objectives; its values have no names of their own."""
    names = [f"value_{n}" for n in range(len(directions))] if len(directions) > 1 else ["value"]
    return [
        Objective(metric=name, direction="max" if direction is StudyDirection.MAXIMIZE else "min")
        for name, direction in zip(names, directions, strict=True)
        if direction is not StudyDirection.NOT_SET
    ]


def scopes_of(trial: FrozenTrial) -> dict[str, dict[str, Any]]:
    """What is kept of a template."""
    found: dict[str, dict[str, Any]] = {
        "user": dict(trial.user_attrs),
        "system": dict(trial.system_attrs),
        "intermediate": {str(step): value for step, value in trial.intermediate_values.items()},
    }
    if trial.values is not None:
        found["value"] = {str(n): value for n, value in enumerate(trial.values)}
    return {scope: values for scope, values in found.items() if values}


def suggestions(trial: FrozenTrial) -> dict[str, str]:
    """From what each of a trial's parameters was chosen."""
    return {
        name: suggestion(distribution, distribution.to_internal_repr(trial.params[name]))
        for name, distribution in trial.distributions.items()
    }


def suggestion(distribution: BaseDistribution, internal: float) -> str:
    """A parameter's distribution, its internal value, and when it was suggested: that is its place."""
    document = {
        "distribution": distribution_to_json(distribution),
        "internal": internal,
        "time": time.time_ns(),
    }
    return json.dumps(document)


def final_values(values: Sequence[float] | None) -> list[Points]:
    """A trial's values as metrics."""
    if values is None:
        return []
    names = ["value"] if len(values) == 1 else [f"value_{n}" for n in range(len(values))]
    return [
        Points(
            keys=tuple(names), steps=[0], times=[time.time()], columns=[[float(v)] for v in values]
        )
    ]


def curve(values: Mapping[int, float]) -> list[Points]:
    """Intermediate values as a metric, all of it logged now."""
    if not values:
        return []
    steps = sorted(values)
    return [
        Points(
            keys=(INTERMEDIATE,),
            steps=[*steps],
            times=[time.time()] * len(steps),
            columns=[[float(values[step]) for step in steps]],
        )
    ]


def frozen_trial(
    study: int,
    told: TrialUpdate,
    space: Mapping[str, Parameter],
    figures: Sequence[float | None] | None,
) -> FrozenTrial:
    """A trial as Optuna has it. What was not run by Optuna has its parameters' places in the experiment's space,
    and its values among its figures: the last ones of the objectives."""
    kept = told.attributes
    chosen = [(name, json.loads(text)) for name, text in told.suggested.items()]
    given = sorted(chosen, key=lambda item: item[1]["time"])
    distributions = {name: json_to_distribution(one["distribution"]) for name, one in given}
    params = {name: distributions[name].to_external_repr(one["internal"]) for name, one in given}
    for name, value in told.params.items():
        if name not in params and name in space and inside(space[name], value):
            distributions[name], params[name] = to_distribution(space[name]), value
    values = kept.get("value")
    scores = None if values is None else [values[str(n)] for n in range(len(values))]
    state = state_of(told.status)
    if state is TrialState.COMPLETE and scores is None:
        known = [figure for figure in figures or () if figure is not None and figure == figure]
        scores = known if figures is not None and len(known) == len(figures) else None
        state = state if scores else TrialState.FAIL
    return FrozenTrial(
        number=told.number - 1,
        state=state,
        value=None,
        values=scores,
        datetime_start=local(told.started_at),
        datetime_complete=local(told.ended_at),
        params=params,
        distributions=distributions,
        user_attrs=kept.get("user", {}),
        system_attrs=kept.get("system", {}),
        intermediate_values={
            int(step): math.nan if value is None else value
            for step, value in sorted(kept.get("intermediate", {}).items(), key=lambda i: int(i[0]))
        },
        trial_id=study << NUMBERS | told.number - 1,
    )


def is_native(told: TrialUpdate) -> bool:
    """Whether it was run by something else than Optuna: it has figures, or parameters, that nobody suggested."""
    ended = told.status is Status.COMPLETED and "value" not in told.attributes
    return ended or len(told.params) > len(told.suggested)


def new_trial(number: int, trial_id: int, now: datetime) -> FrozenTrial:
    """A trial that has just begun."""
    return FrozenTrial(
        number=number,
        state=TrialState.RUNNING,
        value=None,
        datetime_start=now,
        datetime_complete=None,
        params={},
        distributions={},
        user_attrs={},
        system_attrs={},
        intermediate_values={},
        trial_id=trial_id,
    )


def state_of(status: Status) -> TrialState:
    """Optuna's word for a state."""
    if status in OURS:
        return OURS[status]
    if status.value in WAITING:
        return TrialState.WAITING
    return TrialState.FAIL if status.phase == "ended" else TrialState.RUNNING


def epoch(moment: datetime | None) -> float | None:
    """Seconds since the epoch, of Optuna's naive local time."""
    return None if moment is None else moment.timestamp()


def local(moment: datetime | None) -> datetime | None:
    """Optuna's times are naive and local."""
    return None if moment is None else moment.astimezone().replace(tzinfo=None)
