"""Migrate a database to this program's schema: apply each numbered file once, in order.

A file's header contains `-- opens-with: N`: the lowest schema number of a program that may still use the result. A
database whose latest migration needs a newer program is refused.
"""

import hashlib
import re
import time
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

from msgspec import Struct

from runbase.errors import StoreTooNew, StoreUnavailable
from runbase.storage.sql.statements import for_dialect

_LEDGER = """
create table if not exists migrations (
  name       text primary key,  -- the file's name; user scripts are listed here too
  sha256     text not null,     -- of its text
  opens_with integer not null default 0, -- the lowest schema number a program must know to use this
  applied    {time} not null
)
"""


class Migration(Struct, frozen=True):
    """One step of the schema."""

    number: int
    name: str
    text: str
    opens_with: int
    sha256: str


class MigratingSession(Protocol):
    """What a migration needs of a driver's session."""

    dialect: str
    schema: str | None

    def row(self, name: str, /, **params: Any) -> Any: ...
    def script(self, text: str) -> None: ...
    def query(self, text: str, params: dict[str, Any]) -> list[Any]: ...
    def time(self, seconds: float) -> Any: ...


@cache
def migrations(dialect: str) -> list[Migration]:
    """Return this program's migrations, first to last."""
    steps: list[Migration] = []
    for file in files("runbase.storage.sql").joinpath("migrations").iterdir():
        if match := re.fullmatch(r"(\d{4})_\w+\.sql", file.name):
            text = for_dialect(file.read_text("utf-8"), dialect)
            opens = re.search(r"^-- opens-with: (\d+)", text, re.MULTILINE)
            assert opens, f"{file.name} does not say which program may open the result"
            digest = hashlib.sha256(text.encode()).hexdigest()
            steps.append(Migration(int(match[1]), file.name, text, int(opens[1]), digest))
    return sorted(steps, key=lambda migration: migration.number)


def pending(session: MigratingSession) -> list[Migration]:
    """Return the migrations that a database lacks; raise StoreTooNew if it needs a newer program."""
    if session.row("has_table", schema=session.schema, name="migrations") is None:
        _refuse_foreign(session)
        return migrations(session.dialect)
    rows = session.query("select name, opens_with from migrations", {})
    newest = migrations(session.dialect)[-1].number
    needed = max((row["opens_with"] for row in rows), default=0)
    if needed > newest:
        raise StoreTooNew(
            f"this database has schema {needed} and this runbase knows up to {newest}; "
            "upgrade it: pip install --upgrade runbase"
        )
    applied = {row["name"] for row in rows}
    return [m for m in migrations(session.dialect) if m.name not in applied]


def migrate(session: MigratingSession) -> list[str]:
    """Apply the migrations that a database lacks, in the caller's transaction; returns their names."""
    steps = pending(session)
    if steps:
        session.script(for_dialect(_LEDGER, session.dialect))
    for step in steps:
        session.script(step.text)
        session.query(
            "insert into migrations (name, sha256, opens_with, applied) "
            "values (:name, :sha256, :opens_with, :applied)",
            {
                "name": step.name,
                "sha256": step.sha256,
                "opens_with": step.opens_with,
                "applied": session.time(time.time()),
            },
        )
    return [step.name for step in steps]


def _refuse_foreign(session: MigratingSession) -> None:
    """Refuse a database in which another program has tables with the names of runbase's tables."""
    for name in ("experiments", "runs", "metrics", "series", "params"):
        if session.row("has_table", schema=session.schema, name=name) is not None:
            raise StoreUnavailable(
                f"this database has a table {name!r} of another program; give runbase another file, or "
                "a schema of its own (?schema=lab)"
            )
