"""Experiments: found by name, made when first named, listed."""

from typing import Any

from runbase.ids import new_id
from runbase.model import Experiment
from runbase.storage.sql.session import Session


def get_or_create(session: Session, name: str, time: float) -> str:
    """The id of the newest experiment of this name, made if there is none."""
    row = session.row("experiment_by_name", name=name)
    if row is None:
        session.rows("lock_name", name=name)
        row = session.row("experiment_by_name", name=name)  # another may have made it meanwhile
    return row["id"] if row else create(session, name, time)


def create(
    session: Session,
    name: str,
    time: float,
    *,
    description: str = "",
    base_model: str | None = None,
    method: str | None = None,
    config: dict[str, Any] | None = None,
    parent: str | None = None,
) -> str:
    """A new experiment's id."""
    experiment = new_id()
    session.run(
        "insert_experiment",
        id=experiment,
        name=name,
        description=description,
        base_model=base_model,
        method=method,
        config=session.json(config or {}),
        parent_id=parent,
        time=session.time(time),
    )
    return experiment


def listing(session: Session, experiment: str | None = None) -> list[Experiment]:
    """All experiments, newest first; or the one of this id."""
    found: list[Experiment] = []
    for row in session.rows("list_experiments", id=experiment):
        fields: dict[str, Any] = dict(row)
        fields["config"] = session.document(row["config"])
        fields["created_at"] = session.moment(row["created_at"])
        fields["updated_at"] = session.moment(row["updated_at"])
        found.append(Experiment(**fields))
    return found
