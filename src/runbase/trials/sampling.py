"""Samplers that do not use results: random and grid. No I/O."""

import itertools
import math
from collections.abc import Generator, Mapping, Sequence
from typing import Any

from runbase.errors import UsageError
from runbase.space import Categorical, Float, Int, Parameter, applies
from runbase.typing import JsonObject

LARGEST = 1_000_000
"""The maximum number of points of a grid; a larger one is most likely a mistake."""


class Suggestion(JsonObject):
    """Suggested parameters with the notes of the sampler; `new_trial` stores both."""

    def __init__(
        self,
        params: Mapping[str, object],
        suggested: Mapping[str, str] | None = None,
        notes: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(params)
        self.suggested = dict(suggested or {})
        """Parameter → the distribution that it was drawn from, as JSON."""
        self.notes = dict(notes or {})
        """Values that the sampler reads again from the trial."""


def ordered(space: Mapping[str, Parameter]) -> list[tuple[str, Parameter]]:
    """Return the parameters in an order where each follows those that it depends on."""
    sorted_space: dict[str, Parameter] = {}
    left = dict(space)
    while left:
        ready = [key for key, parameter in left.items() if not parameter.when.keys() & left.keys()]
        if not ready:
            raise UsageError(
                f"the parameters {', '.join(left)} depend on each other in a circle; change their `when`"
            )
        for key in ready:
            sorted_space[key] = left.pop(key)
    return list(sorted_space.items())


def random(space: Mapping[str, Parameter], seed: Sequence[int] | None) -> Suggestion:
    """Draw one point, each parameter independently: uniform, or log-uniform if its `log` is set."""
    import numpy as np

    generator = np.random.default_rng(seed)
    params: JsonObject = {}
    for key, parameter in ordered(space):
        if applies(parameter, params):
            params[key] = _drawn(generator, parameter)
    return Suggestion(params)


def grid(
    space: Mapping[str, Parameter], tried: Sequence[Mapping[str, object]]
) -> Suggestion | None:
    """Return the first point that was not tried, or None if all were."""
    known = {_mark({key: params[key] for key in space if key in params}) for params in tried}
    for params in points(space):
        mark = _mark(params)
        if mark not in known:
            return Suggestion({key: params[key] for key in space if key in params})
        known.add(mark)
    return None


def points(space: Mapping[str, Parameter]) -> Generator[JsonObject]:
    """Yield all points of a grid, in the order of the space. A point may repeat if a parameter depends on others.

    Raises:
        UsageError: the grid is too large, or a parameter has no steps.
    """
    steps = {key: _values(key, parameter) for key, parameter in space.items()}
    count = math.prod(len(values) for values in steps.values())
    if count > LARGEST:
        raise UsageError(
            f"the grid has {count:,} points; use larger steps of the parameters, or another sampler"
        )
    yield from _points(ordered(space), steps)


def _points(
    parameters: Sequence[tuple[str, Parameter]], steps: Mapping[str, Sequence[Any]]
) -> Generator[JsonObject]:
    for values in itertools.product(*(steps[key] for key, _ in parameters)):
        params: JsonObject = {}
        for (key, parameter), value in zip(parameters, values, strict=True):
            if applies(parameter, params):
                params[key] = value
        yield params


def _mark(params: Mapping[str, object]) -> str:
    return repr(sorted(params.items()))


def _values(key: str, parameter: Parameter) -> Sequence[Any]:
    match parameter:
        case Categorical():
            return parameter.choices
        case Int():
            return range(parameter.low, parameter.high + 1, parameter.step)
        case Float():
            if parameter.step is None:
                raise UsageError(
                    f"a grid needs a step for {key!r}: Float({parameter.low}, {parameter.high}, step=…)"
                )
            return [parameter.low + n * parameter.step for n in range(_steps(parameter) + 1)]


def _steps(parameter: Int | Float) -> int:
    """Return the number of steps in the range, with a tolerance so that rounding does not lose the last."""
    assert parameter.step is not None
    return int((parameter.high - parameter.low) / parameter.step + 1e-9)


def _drawn(generator: Any, parameter: Parameter) -> Any:
    match parameter:
        case Categorical():
            return parameter.choices[int(generator.integers(len(parameter.choices)))]
        case Int() if parameter.log:
            low, high = math.log(parameter.low - 0.5), math.log(parameter.high + 0.5)
            drawn = round(math.exp(generator.uniform(low, high)))
            return min(max(drawn, parameter.low), parameter.high)
        case Int():
            return parameter.low + parameter.step * int(generator.integers(_steps(parameter) + 1))
        case Float() if parameter.step is not None:
            return parameter.low + parameter.step * int(generator.integers(_steps(parameter) + 1))
        case Float() if parameter.log:
            drawn = math.exp(generator.uniform(math.log(parameter.low), math.log(parameter.high)))
            return min(max(drawn, parameter.low), parameter.high)
        case Float():
            return float(generator.uniform(parameter.low, parameter.high))
