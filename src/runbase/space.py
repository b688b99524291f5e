"""Search spaces: what the parameters of an experiment may be.

space = {
    "lr": Float(1e-5, 1e-1, log=True, default=1e-3),
    "layers": Int(1, 8),
    "optimizer": Categorical(["sgd", "adam"]),
    "momentum": Float(0, 1, when={"optimizer": ["sgd"]}),
}
"""

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from runbase.errors import UsageError


class Int(Struct, frozen=True, tag="int", omit_defaults=True):
    """An integer parameter.

    Attributes:
        low: the lowest value.
        high: the highest value, included.
        step: the distance between values.
        log: whether to sample the logarithm uniformly.
        default: the default value.
        special: values outside the range with a meaning of their own, such as -1.
        when: other parameter → its values for which this parameter exists.
    """

    low: int
    high: int
    step: int = 1
    log: bool = False
    default: int | None = None
    special: list[int] = []
    when: dict[str, list[Any]] = {}


class Float(Struct, frozen=True, tag="float", omit_defaults=True):
    """A floating-point parameter.

    Attributes:
        low: the lowest value.
        high: the highest value, included.
        step: the distance between values, from `low` on. Default: any value in the range.
        log: whether to sample the logarithm uniformly.
        default: the default value.
        special: values outside the range with a meaning of their own, such as -1.
        when: other parameter → its values for which this parameter exists.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False
    default: float | None = None
    special: list[float] = []
    when: dict[str, list[Any]] = {}


class Categorical(Struct, frozen=True, tag="categorical", omit_defaults=True):
    """A parameter that is one of several values without an order.

    Attributes:
        choices: the values.
        default: the default value.
        when: other parameter → its values for which this parameter exists.
    """

    choices: list[Any]
    default: Any = None
    when: dict[str, list[Any]] = {}


Parameter = Int | Float | Categorical


def check(space: Mapping[str, Any]) -> dict[str, Parameter]:
    """The space, if it makes sense; UsageError names the parameter that does not."""
    for key, parameter in space.items():
        if isinstance(parameter, Int | Float):
            _check_range(key, parameter)
        elif isinstance(parameter, Categorical):
            if not parameter.choices:
                raise UsageError(f"parameter {key!r} has no choices")
            if parameter.default is not None and parameter.default not in parameter.choices:
                raise UsageError(
                    f"the default of {key!r}, {parameter.default!r}, is not one of its choices"
                )
        else:
            raise UsageError(f"parameter {key!r} is {parameter!r}; use Int, Float or Categorical")
        for other, values in parameter.when.items():
            if other == key or other not in space:
                raise UsageError(f"{key!r} depends on {other!r}, which is not another parameter")
            if not values:
                raise UsageError(f"{key!r} depends on no value of {other!r}")
    return dict(space)


def applies(parameter: Parameter, params: Mapping[str, Any]) -> bool:
    """Whether a parameter is there at all, as others stand."""
    return all(params.get(other) in values for other, values in parameter.when.items())


def inside(parameter: Parameter, value: Any) -> bool:
    """Whether a value is in the range, on its steps, or a choice; special values are not."""
    if isinstance(parameter, Categorical):
        return any(value == each and type(value) is type(each) for each in parameter.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if not parameter.low <= value <= parameter.high or (
        isinstance(parameter, Int) and value != int(value)
    ):
        return False
    steps = 0.0 if not parameter.step else (value - parameter.low) / parameter.step
    return abs(steps - round(steps)) < 1e-8


def to_distribution(parameter: Parameter) -> Any:
    """A parameter in Optuna's words: its distribution."""
    from optuna import distributions

    match parameter:
        case Categorical():
            return distributions.CategoricalDistribution(parameter.choices)
        case Int():
            return distributions.IntDistribution(
                parameter.low, parameter.high, parameter.log, parameter.step
            )
        case Float():
            return distributions.FloatDistribution(
                parameter.low, parameter.high, parameter.log, parameter.step
            )


def _check_range(key: str, parameter: Int | Float) -> None:
    low, high, default = parameter.low, parameter.high, parameter.default
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise UsageError(f"parameter {key!r} goes from {low} to {high}")
    if parameter.log and low <= 0:
        raise UsageError(f"parameter {key!r} has a logarithm and begins at {low}; begin above 0")
    if parameter.step is not None and parameter.step <= 0:
        raise UsageError(f"the step of {key!r} is {parameter.step}")
    if default is not None and not low <= default <= high and default not in parameter.special:
        raise UsageError(f"the default of {key!r}, {default}, is not from {low} to {high}")
