"""Search spaces of `runbase.space` as those of Ray Tune, and back. Keys with ``/`` are nested mappings of Tune."""

# pyright: basic, reportMissingImports=false

import math
from collections.abc import Mapping
from typing import Any

from ray import tune
from ray.tune.search import sample

from runbase import space
from runbase.errors import UsageError
from runbase.space import Categorical, Float, Int, Parameter

NEAR = 1e-9
"""The relative distance from a multiple of a step that is rounding."""


def to_tune(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return a search space as `param_space` of a Tuner.

    Args:
        parameters: name → parameter, as for `Experiment.create`.

    Returns:
        The space of Tune; a key ``a/b`` is nested.

    Raises:
        UsageError: a parameter has conditions or special values, or steps that do not begin at a multiple of
            themselves: Tune has neither.
    """
    found: dict[str, Any] = {}
    for key, parameter in space.check(parameters).items():
        *path, last = key.split("/")
        node = found
        for part in path:
            node = node.setdefault(part, {})
        node[last] = _domain(key, parameter)
    return found


def from_tune(param_space: Mapping[str, Any]) -> dict[str, Parameter]:
    """Return the `param_space` of a Tuner as a search space.

    Args:
        param_space: domains of Tune, constants, and mappings of both.

    Returns:
        Name → parameter; a constant has one choice.

    Raises:
        UsageError: a domain has no bounds (`randn`), or is a function (`sample_from`).
    """
    found: dict[str, Parameter] = {}
    for key, value in _leaves(param_space):
        found[key] = _parameter(key, value)
    return space.check(found)


def _domain(key: str, parameter: Parameter) -> Any:
    if parameter.when:
        raise UsageError(f"{key!r} depends on other parameters, which Tune's spaces cannot express")
    if isinstance(parameter, Categorical):
        return tune.choice(parameter.choices)
    if parameter.special:
        raise UsageError(f"{key!r} has special values, which Tune's spaces cannot express")
    low, high, step = parameter.low, parameter.high, parameter.step
    if step is not None and step != 1 and not _is_multiple(low, step):
        raise UsageError(
            f"the values of {key!r} are {low} plus multiples of {step}, and Tune's are multiples only"
        )
    if isinstance(parameter, Int):
        if parameter.step == 1:  # without the upper bound
            return (tune.lograndint if parameter.log else tune.randint)(
                parameter.low, parameter.high + 1
            )
        return (tune.qlograndint if parameter.log else tune.qrandint)(
            parameter.low, parameter.high, parameter.step
        )
    if step is None:
        return (tune.loguniform if parameter.log else tune.uniform)(low, high)
    return (tune.qloguniform if parameter.log else tune.quniform)(low, high, step)


def _parameter(key: str, value: Any) -> Parameter:
    if isinstance(value, Mapping):
        return Categorical(list(value["grid_search"]))
    if isinstance(value, sample.Categorical):
        return Categorical(list(value.categories))
    if not isinstance(value, sample.Domain):
        return Categorical([value])
    sampler, step = value.get_sampler(), None
    if isinstance(sampler, sample.Quantized):
        sampler, step = sampler.get_sampler(), sampler.q
    known = isinstance(sampler, sample.Uniform | sample.LogUniform)
    if not known or not isinstance(value, sample.Integer | sample.Float):
        raise UsageError(
            f"{key!r} is {type(value).__name__} of {type(sampler).__name__}, which has no bounds; use a domain such as "
            "tune.uniform, tune.randint or tune.choice"
        )
    log = isinstance(sampler, sample.LogUniform)
    low, high = value.lower, value.upper
    if step is not None and step != 1:  # only multiples are values
        low = _inside(low, step, math.ceil)
        high = _inside(high, step, math.floor)
    if isinstance(value, sample.Integer):
        if step in (None, 1):
            return Int(int(low), int(high) - 1, log=log)
        return Int(int(low), int(high), step=int(step), log=log)
    return Float(float(low), float(high), step=None if step is None else float(step), log=log)


def _inside(bound: float, step: float, towards: Any) -> float:
    """Return the multiple of a step at a bound, or next to it inside the range."""
    return (round(bound / step) if _is_multiple(bound, step) else towards(bound / step)) * step


def _leaves(param_space: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return key and value of each domain and constant."""
    found: list[tuple[str, Any]] = []
    for key, value in param_space.items():
        if isinstance(value, Mapping) and set(value) != {"grid_search"}:
            found += [(f"{key}/{name}", leaf) for name, leaf in _leaves(value)]
        else:
            found.append((str(key), value))
    return found


def _is_multiple(value: float, step: float) -> bool:
    return math.isclose(value / step, round(value / step), rel_tol=NEAR, abs_tol=NEAR)
