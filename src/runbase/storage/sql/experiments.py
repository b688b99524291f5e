"""Experiments: found by name or id, made when first named, forked, listed with their descent."""

import time as clock
from collections.abc import Sequence

from runbase.errors import Ambiguous, NotFound, suggestion
from runbase.ids import new_id
from runbase.model import Ancestor
from runbase.storage.sql.session import Session


def get_or_create(session: Session, name: str, time: float) -> str:
    """The id of the newest experiment of this name, made if there is none."""
    row = session.row("experiment_by_name", name=name)
    if row is None:
        session.rows("lock_name", name=name)
        row = session.row("experiment_by_name", name=name)  # another may have made it meanwhile
    return row["id"] if row else create(session, name, time)


def create(session: Session, name: str, time: float | None = None, id: str | None = None) -> str:
    """A new experiment's id."""
    experiment = id or new_id()
    moment = session.time(clock.time() if time is None else time)
    session.run("insert_experiment", id=experiment, name=name, time=moment)
    return experiment


def find(session: Session, word: str, *, deleted: bool = False) -> str:
    """The id of the experiment of this name (the newest), id, or unique beginning of an id."""
    rows = (
        session.rows("experiments_of_word", word=word, low=word, high=word + "\U0010ffff")
        if word
        else []
    )
    rows = [row for row in rows if (row["deleted_at"] is not None) is deleted]
    exact = [row for row in rows if word in (row["name"], row["id"])]
    if exact or len(rows) == 1:
        return (exact or rows)[0]["id"]
    if rows:
        fits = ", ".join(f"{row['id'][:16]}… ({row['name']})" for row in rows[:5])
        raise Ambiguous(f"the id prefix {word!r} fits several experiments: {fits}; give more of it")
    names = dict.fromkeys(row["name"] for row in session.rows("names_of_experiments"))
    where = " in the bin" if deleted else ""
    raise NotFound(
        f"no experiment matches {word!r}{where}{'' if deleted else suggestion(word, names)}"
    )


def ancestors(session: Session, experiment: str) -> list[Ancestor]:
    """Where it comes from, nearest first; also what was deleted since."""
    return [Ancestor(**dict(row)) for row in session.rows("ancestors", id=experiment)]


def descendants(session: Session, experiment: str) -> list[Ancestor]:
    """What was forked from it, nearest first."""
    return [Ancestor(**dict(row)) for row in session.rows("descendants", id=experiment)]


def lineage(session: Session, experiment: str) -> tuple[list[Ancestor], list[Ancestor]]:
    """The ancestors of an experiment and its descendants, nearest first."""
    return ancestors(session, experiment), descendants(session, experiment)


def set_dates(session: Session, experiment: str, created: float, updated: float) -> None:
    """Set when it was created and last changed, in seconds since the epoch: an import keeps its source's times."""
    times = {"created": session.time(created), "updated": session.time(updated)}
    session.run("date_experiment", id=experiment, **times)


def add_ancestor(session: Session, experiment: str, ancestor: str, name: str) -> None:
    """Record that it descends from an experiment that is not in this database."""
    session.run("add_ancestor", id=experiment, ancestor=ancestor, ancestor_name=name)


def figures(
    session: Session, ids: Sequence[str]
) -> dict[str, dict[str, tuple[float | None, float | None]]]:
    """The least and greatest last value of each metric over each experiment's runs."""
    found: dict[str, dict[str, tuple[float | None, float | None]]] = {}
    for row in session.rows("figures_of_experiments", ids=session.as_list(ids)):
        found.setdefault(row["experiment_id"], {})[row["key"]] = (row["low"], row["high"])
    return found
