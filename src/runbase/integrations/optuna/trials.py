"""Convert between Optuna's trials and runs of a store: states, distributions, values, times."""

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
"""The number of low bits of a trial id that contain the trial number; the bits above contain the study id.

An id is below 2^53, so that JavaScript represents it exactly.
"""
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
    """What a process has read of a study."""

    def __init__(self, number: int, experiment: str, name: str) -> None:
        self.number, self.experiment, self.name = number, experiment, name
        self.finished: dict[int, FrozenTrial] = {}
        """Number → ended trial as read; ended trials never change."""
        self.runs: dict[int, str] = {}
        """Number → run id."""
        self.distributions: dict[str, BaseDistribution] = {}
        self.running: dict[int, FrozenTrial] = {}
        """Number → trial that this process created and runs, so that it need not be read."""
        self.ended: dict[int, FrozenTrial] = {}
        """Number → trial that this process ended, until it is read once."""
        self.guard = threading.RLock()
        self._known = -1

    @property
    def known(self) -> int:
        """The greatest number up to which all trials have ended and were read."""
        while self._known + 1 in self.finished:
            self._known += 1
        return self._known


def objectives_of(directions: Sequence[StudyDirection]) -> list[Objective]:
    """Return the directions of a study as objectives; Optuna's values have no names."""
    names = [f"value_{n}" for n in range(len(directions))] if len(directions) > 1 else ["value"]
    return [
        Objective(metric=name, direction="max" if direction is StudyDirection.MAXIMIZE else "min")
        for name, direction in zip(names, directions, strict=True)
        if direction is not StudyDirection.NOT_SET
    ]


def scopes_of(trial: FrozenTrial) -> dict[str, dict[str, Any]]:
    """Return the attributes to store of a template, by scope."""
    scopes: dict[str, dict[str, Any]] = {
        "user": dict(trial.user_attrs),
        "system": dict(trial.system_attrs),
        "intermediate": {str(step): value for step, value in trial.intermediate_values.items()},
    }
    if trial.values is not None:
        scopes["value"] = {str(n): value for n, value in enumerate(trial.values)}
    return {scope: values for scope, values in scopes.items() if values}


def suggestions(trial: FrozenTrial) -> dict[str, str]:
    """Return parameter → suggestion, for all parameters of a trial."""
    return {
        name: suggestion(distribution, distribution.to_internal_repr(trial.params[name]))
        for name, distribution in trial.distributions.items()
    }


def suggestion(distribution: BaseDistribution, internal: float) -> str:
    """Return a JSON document: distribution, internal value, and the time, which defines the order of parameters."""
    document = {
        "distribution": distribution_to_json(distribution),
        "internal": internal,
        "time": time.time_ns(),
    }
    return json.dumps(document)


def final_values(values: Sequence[float] | None) -> list[Points]:
    """Return the values of a trial as metrics."""
    if values is None:
        return []
    names = ["value"] if len(values) == 1 else [f"value_{n}" for n in range(len(values))]
    return [
        Points(
            keys=tuple(names), steps=[0], times=[time.time()], columns=[[float(v)] for v in values]
        )
    ]


def curve(values: Mapping[int, float]) -> list[Points]:
    """Return intermediate values as one metric, with the current time."""
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
    update: TrialUpdate,
    space: Mapping[str, Parameter],
    figures: Sequence[float | None] | None,
) -> FrozenTrial:
    """Return a trial of Optuna.

    For a trial that Optuna did not run, the distributions come from the experiment's search space, and
    the values from `figures`, the last values of the objectives.
    """
    attributes = update.attributes
    documents = [(name, json.loads(text)) for name, text in update.suggested.items()]
    suggested = sorted(documents, key=lambda item: item[1]["time"])
    distributions = {
        name: json_to_distribution(document["distribution"]) for name, document in suggested
    }
    params = {
        name: distributions[name].to_external_repr(document["internal"])
        for name, document in suggested
    }
    for name, value in update.params.items():
        if name not in params and name in space and inside(space[name], value):
            distributions[name], params[name] = to_distribution(space[name]), value
    values = attributes.get("value")
    scores = None if values is None else [values[str(n)] for n in range(len(values))]
    state = state_of(update.status)
    if state is TrialState.COMPLETE and scores is None:
        known = [figure for figure in figures or () if figure is not None and figure == figure]
        scores = known if figures is not None and len(known) == len(figures) else None
        state = state if scores else TrialState.FAIL
    return FrozenTrial(
        number=update.number - 1,
        state=state,
        value=None,
        values=scores,
        datetime_start=local(update.started_at),
        datetime_complete=local(update.ended_at),
        params=params,
        distributions=distributions,
        user_attrs=attributes.get("user", {}),
        system_attrs=attributes.get("system", {}),
        intermediate_values={
            int(step): math.nan if value is None else value
            for step, value in sorted(
                attributes.get("intermediate", {}).items(), key=lambda i: int(i[0])
            )
        },
        trial_id=study << NUMBERS | update.number - 1,
    )


def is_native(update: TrialUpdate) -> bool:
    """Return whether a trial was not run by Optuna: its values or parameters were not set through Optuna."""
    ended = update.status is Status.COMPLETED and "value" not in update.attributes
    return ended or len(update.params) > len(update.suggested)


def new_trial(number: int, trial_id: int, now: datetime) -> FrozenTrial:
    """Return a trial that has just started."""
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
    """Return Optuna's state for a status."""
    if status in OURS:
        return OURS[status]
    if status.value in WAITING:
        return TrialState.WAITING
    return TrialState.FAIL if status.phase == "ended" else TrialState.RUNNING


def epoch(moment: datetime | None) -> float | None:
    """Return the seconds since the epoch of Optuna's naive local time."""
    return None if moment is None else moment.timestamp()


def local(moment: datetime | None) -> datetime | None:
    """Return a time as Optuna's naive local time."""
    return None if moment is None else moment.astimezone().replace(tzinfo=None)
