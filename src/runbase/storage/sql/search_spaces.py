"""An experiment's search space and the limits of its metrics, as rows."""

from collections.abc import Mapping
from typing import Any

from runbase.space import Categorical, Float, Int, Parameter
from runbase.storage.sql.session import Session


def set_space(session: Session, experiment: str, space: Mapping[str, Parameter]) -> None:
    """Replace the search space of an experiment."""
    session.run("clear_space", id=experiment)
    session.many(
        "add_to_space",
        [
            {"experiment": experiment, "position": n, "key": key, **_row(session, parameter)}
            for n, (key, parameter) in enumerate(space.items())
        ],
    )


def set_limits(
    session: Session, experiment: str, limits: Mapping[str, tuple[float | None, float | None]]
) -> None:
    """Replace the limits within which metrics make a trial feasible."""
    session.run("clear_limits", id=experiment)
    session.many(
        "add_limit",
        [
            {"id": experiment, "metric": metric, "low": low, "high": high}
            for metric, (low, high) in limits.items()
        ],
    )


def parameter(session: Session, row: Any) -> Parameter:
    """Convert a row of the search space to a parameter."""
    when: dict[str, list[Any]] = session.document(row["condition"]) or {}
    default: Any = session.document(row["fallback"])
    if row["kind"] == "categorical":
        return Categorical(choices=session.document(row["choices"]), default=default, when=when)
    if row["kind"] == "int":
        return Int(
            low=int(row["low"]),
            high=int(row["high"]),
            step=int(row["step"] or 1),
            log=bool(row["log"]),
            default=default,
            special=session.document(row["special"]) or [],
            when=when,
        )
    return Float(
        low=row["low"],
        high=row["high"],
        step=row["step"],
        log=bool(row["log"]),
        default=default,
        special=session.document(row["special"]) or [],
        when=when,
    )


def _row(session: Session, parameter: Parameter) -> dict[str, Any]:
    ranged = not isinstance(parameter, Categorical)
    return {
        "kind": {Int: "int", Float: "float", Categorical: "categorical"}[type(parameter)],
        "low": parameter.low if ranged else None,
        "high": parameter.high if ranged else None,
        "step": parameter.step if ranged else None,
        "log": int(ranged and parameter.log),
        "special": session.json(parameter.special) if ranged and parameter.special else None,
        "choices": None if ranged else session.json(parameter.choices),
        "fallback": None if parameter.default is None else session.json(parameter.default),
        "condition": session.json(parameter.when) if parameter.when else None,
    }
