"""The current schema: as SQL text, as rows with descriptions of columns, and checks of its integrity."""

from collections.abc import Iterator
from typing import Any

from runbase.storage.sql.comments import described
from runbase.storage.sql.migrate import migrations
from runbase.storage.sql.session import Session


def statements(session: Session) -> list[str]:
    """Return the tables, indexes and views as SQL statements that create them, with comments."""
    if session.dialect == "sqlite":
        return [f"{row['sql']};" for row in session.rows("definitions", schema=session.schema)]
    return list(_described(session))


def text(session: Session) -> str:
    """Return the current schema as SQL with its comments."""
    return "\n\n".join(statements(session)) + "\n"


def objects(session: Session) -> list[dict[str, Any]]:
    """Return each table and view: kind, name, comment, and its columns with type and comment."""
    comments = {
        (item.name, item.column): item.comment
        for text in _texts(session)
        for item in described(text)
        if item.comment
    }
    tables: dict[str, dict[str, Any]] = {}
    for row in session.rows("columns_of_all", schema=session.schema):
        name = row["table_name"]
        item = tables.setdefault(
            name,
            {
                "kind": row["kind"],
                "name": name,
                "comment": row["table_comment"] or comments.get((name, None)) or "",
                "columns": [],
            },
        )
        item["columns"].append(
            {
                "name": row["name"],
                "type": row["type"],
                "comment": row["comment"] or comments.get((name, row["name"])) or "",
            }
        )
    return list(tables.values())


def _texts(session: Session) -> Iterator[str]:
    """Yield SQL that contains comments in SQLite: the schema's own migrations, and the text of users' objects."""
    if session.dialect == "sqlite":
        yield from (step.text for step in migrations("sqlite"))
        yield from (f"{row['sql']};" for row in session.rows("definitions", schema=session.schema))


def faults(session: Session) -> list[str]:
    """Return what is wrong with the database; empty when it is sound."""
    problems: list[str] = []
    if session.dialect == "sqlite":
        checks = session.query("pragma integrity_check(20)", {})
        problems += [str(row[0]) for row in checks if row[0] != "ok"]
        broken = session.query("pragma foreign_key_check", {})
        problems += [f"{row[0]}: a row refers to a missing row of {row[2]}" for row in broken]
    for row in session.rows("series_without_their_blocks"):
        problems.append(
            f"run {row['run_id']}: {row['key']!r} counts {row['count']} points, but its blocks contain "
            f"{row['held']}"
        )
    return problems


def _described(session: Session) -> Iterator[str]:
    """Yield the SQL of tables: PostgreSQL does not store it, so it is built from the catalogue."""
    columns: dict[str, list[str]] = {}
    comments: dict[str, str | None] = {}
    for row in session.rows("columns", schema=session.schema):
        comments[row["table_name"]] = row["table_comment"]
        text = f"  {row['name']} {row['type']}"
        text += " not null" if row["required"] else ""
        text += f" default {row['standard']}" if row["standard"] else ""
        said = f" -- {row['comment']}" if row["comment"] else ""
        columns.setdefault(row["table_name"], []).append(f"{text},{said}")
    rules: dict[str, list[str]] = {}
    for row in session.rows("constraints", schema=session.schema):
        rules.setdefault(row["table_name"], []).append(f"  {row['definition']}")
    for table, lines in columns.items():
        head = f"-- {comments[table]}\n" if comments[table] else ""
        body = "\n".join(lines) + "\n" + ",\n".join(rules.get(table, []))
        if table not in rules:
            name, _, comment = lines[-1].rpartition(",")
            body = "\n".join([*lines[:-1], name + comment])
        yield f"{head}create table {table} (\n{body.rstrip()}\n);"
    for row in session.rows("definitions", schema=session.schema):
        head = f"-- {row['comment']}\n" if row["comment"] else ""
        yield f"{head}{row['sql']};"
