"""Experiments: find by name or id, create, list with ancestors and descendants."""

import time as clock
from collections.abc import Sequence

from runbase.errors import Ambiguous, InTrash, NotFound, suggestion
from runbase.ids import new_id
from runbase.model import Ancestor
from runbase.storage.sql.session import Session


def get_or_create(session: Session, name: str, time: float) -> str:
    """Return the id of the newest experiment of this name; create it if none exists."""
    row = session.row("experiment_by_name", name=name)
    if row is None:
        session.rows("lock_name", name=name)
        row = session.row(
            "experiment_by_name", name=name
        )  # another process may have created it meanwhile
    return row["id"] if row else create(session, name, time)


def create(session: Session, name: str, time: float | None = None, id: str | None = None) -> str:
    """Create an experiment; returns its id."""
    experiment = id or new_id()
    moment = session.time(clock.time() if time is None else time)
    session.run("insert_experiment", id=experiment, name=name, time=moment)
    return experiment


def find(session: Session, word: str, *, deleted: bool = False) -> str:
    """Return the id of the experiment with this name (the newest), id, or unique prefix of an id."""
    rows = (
        session.rows("experiments_of_word", word=word, low=word, high=word + "\U0010ffff")
        if word
        else []
    )
    trashed = [row for row in rows if row["deleted_at"] is not None]
    rows = [row for row in rows if (row["deleted_at"] is not None) is deleted]
    exact = [row for row in rows if word in (row["name"], row["id"])]
    if exact or len(rows) == 1:
        return (exact or rows)[0]["id"]
    if rows:
        fits = ", ".join(f"{row['id'][:16]}… ({row['name']})" for row in rows[:5])
        raise Ambiguous(
            f"the id prefix {word!r} matches several experiments: {fits}; give more of it"
        )
    if trashed:
        raise InTrash(f"experiment {word!r} is in the trash; `runbase restore {word}` restores it")
    names = dict.fromkeys(row["name"] for row in session.rows("names_of_experiments"))
    where = " in the trash" if deleted else ""
    raise NotFound(
        f"no experiment matches {word!r}{where}{'' if deleted else suggestion(word, names)}"
    )


def ancestors(session: Session, experiment: str) -> list[Ancestor]:
    """Return the ancestors of an experiment, nearest first, deleted ones included."""
    return [Ancestor(**dict(row)) for row in session.rows("ancestors", id=experiment)]


def descendants(session: Session, experiment: str) -> list[Ancestor]:
    """Return the experiments that were forked from it, nearest first."""
    return [Ancestor(**dict(row)) for row in session.rows("descendants", id=experiment)]


def lineage(session: Session, experiment: str) -> tuple[list[Ancestor], list[Ancestor]]:
    """Return the ancestors of an experiment and its descendants, nearest first."""
    return ancestors(session, experiment), descendants(session, experiment)


def set_dates(session: Session, experiment: str, created: float, updated: float) -> None:
    """Set when it was created and last changed, in seconds since the epoch: an import keeps its source's times."""
    times = {"created": session.time(created), "updated": session.time(updated)}
    session.run("date_experiment", id=experiment, **times)


def add_ancestor(session: Session, experiment: str, ancestor: str, name: str) -> None:
    """Record that an experiment descends from one that is not in this database."""
    session.run("add_ancestor", id=experiment, ancestor=ancestor, ancestor_name=name)


def figures(
    session: Session, ids: Sequence[str]
) -> dict[str, dict[str, tuple[float | None, float | None]]]:
    """Return the least and greatest last value of each metric over each experiment's runs."""
    ranges: dict[str, dict[str, tuple[float | None, float | None]]] = {}
    for row in session.rows("figures_of_experiments", ids=session.as_list(ids)):
        ranges.setdefault(row["experiment_id"], {})[row["key"]] = (row["low"], row["high"])
    return ranges
