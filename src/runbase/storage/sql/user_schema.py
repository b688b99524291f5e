"""The users' part of the schema: scripts, each applied once and recorded, and wide views of metrics."""

import hashlib
import re
import time
from collections.abc import Sequence
from typing import Any

from runbase.errors import NotFound, QueryError, StoreError, UsageError, suggestion
from runbase.storage.sql.quoting import identifier, literal
from runbase.storage.sql.session import Session
from runbase.storage.sql.statements import for_dialect
from runbase.storage.types import Script, Step

_DIALECTS = {"postgresql": "postgres", "postgres": "postgres", "sqlite": "sqlite"}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")


class TakeBack(Exception):
    """Ends a dry run's transaction; carries the steps that it would have applied."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps


def apply_scripts(session: Session, scripts: Sequence[Script], *, dry_run: bool) -> list[Step]:
    """Apply each script that was not applied yet.

    Raises:
        TakeBack: at the end of a dry run.
    """
    session.rows("lock_name", name="migrations")
    applied = {row["name"]: row for row in session.rows("ledger")}
    steps = [_apply(session, script, applied, dry_run) for script in scripts]
    if dry_run:
        raise TakeBack(steps)
    return steps


def ledger(session: Session) -> list[dict[str, Any]]:
    """Return every step of the schema, in the order in which they were applied."""
    return [
        {**dict(row), "applied": session.moment(row["applied"])} for row in session.rows("ledger")
    ]


def create_view(session: Session, name: str, metrics: Sequence[str]) -> dict[str, str]:
    """Create a view with a row per run and step and a column per metric; returns column → metric."""
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} is not a valid name of a view: use letters, digits and _, and begin with a letter"
        )
    if not metrics:
        raise UsageError("a view needs at least one metric")
    if session.row("has_object", schema=session.schema, name=name) is not None:
        raise UsageError(
            f"a table or view {name!r} exists already; drop it first, or choose another name"
        )
    columns = _column_names(metrics)
    values = ",\n       ".join(
        f"max(case when p.key = {literal(metric)} then p.value end) as {identifier(column)}"
        for column, metric in columns.items()
    )
    keys = ", ".join(literal(metric) for metric in columns.values())
    session.script(
        f"""create view {identifier(name)} as
select p.run_id, r.name as run, e.name as experiment, p.step, max(p.time) as time,
       {values}
from (select m.run_id, m.key, m.step, m.time, m.value,
             row_number() over (partition by m.run_id, m.key, m.step order by m.time desc) as nth
      from metrics m where m.key in ({keys})) p
join runs r on r.id = p.run_id and r.deleted_at is null
join experiments e on e.id = r.experiment_id
where p.nth = 1
group by p.run_id, r.name, e.name, p.step;"""
    )
    moment = session.time(time.time())
    session.run("insert_view", name=name, metrics=session.json(columns), time=moment)
    return columns


def views(session: Session) -> dict[str, dict[str, str]]:
    """Return the wide views: name → column → metric."""
    return {row["name"]: session.document(row["metrics"]) for row in session.rows("list_views")}


def drop_view(session: Session, name: str) -> None:
    """Drop a wide view."""
    known = views(session)
    if name not in known:
        raise NotFound(f"no view {name!r} that runbase created{suggestion(name, known)}")
    session.script(f"drop view if exists {identifier(name)};")
    session.run("delete_view", name=name)


def _apply(session: Session, script: Script, applied: dict[str, Any], dry_run: bool) -> Step:
    digest = hashlib.sha256(script.code.encode()).hexdigest()
    before = applied.get(script.name)
    if before is not None:
        if before["sha256"] != digest:
            raise UsageError(
                f"{script.name} was changed since it was applied on {session.moment(before['applied']):%Y-%m-%d}; "
                "a schema is changed by a further script, not by editing one that was applied"
            )
        return Step(script.name, "applied before")
    dialect = re.search(r"^\s*--\s*dialect:\s*(\w+)", script.code, re.MULTILINE)
    if dialect:
        word = _DIALECTS.get(dialect[1].lower())
        if word is None:
            raise UsageError(
                f"{script.name}: unknown dialect {dialect[1]!r}; known: sqlite, postgres"
            )
        if word != session.dialect:
            return Step(script.name, f"for {word} only")
    try:
        session.script(for_dialect(script.code, session.dialect))
    except StoreError:
        raise
    except Exception as error:
        raise QueryError(f"{script.name}: {' '.join(str(error).split())}") from error
    session.run("insert_step", name=script.name, sha256=digest, time=session.time(time.time()))
    return Step(script.name, "would be applied" if dry_run else "applied")


def _column_names(metrics: Sequence[str]) -> dict[str, str]:
    """Return a column name for each metric; equal names are made distinct by a number."""
    taken = {"run_id", "run", "experiment", "step", "time"}
    columns: dict[str, str] = {}
    for metric in dict.fromkeys(metrics):
        base = re.sub(r"\W+", "_", metric).strip("_").lower() or "metric"
        base = f"m_{base}" if base[0].isdigit() else base
        name, count = base, 2
        while name in taken:
            name, count = f"{base}_{count}", count + 1
        taken.add(name)
        columns[name] = metric
    return columns
