"""What a role may do in a schema, and the sentences that say how to allow it."""

from typing import Any, LiteralString

from runbase.storage.sql.quoting import identifier

_MISSING: LiteralString = "select not has_schema_privilege(current_user, oid, 'usage') from pg_namespace where nspname = %s"
_SCHEMAS: LiteralString = """
select n.nspname from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and c.relname in ('migrations', 'series', 'runs')
group by n.nspname having count(*) = 3 order by n.nspname
"""


def is_closed(connection: Any, schema: str | None) -> bool:
    """Return whether the current role may not use a schema that exists."""
    row = connection.execute(_MISSING, [schema]).fetchone()
    return row is not None and bool(row[0])


def schemas(connection: Any) -> list[str]:
    """Return the schemas of the database that have tables of runbase."""
    return [row[0] for row in connection.execute(_SCHEMAS)]


def how_to_read(schema: str | None, role: str) -> str:
    """Return the sentence that says which statements let a role read a schema."""
    place, who = identifier(schema or "public"), identifier(role)
    return (
        f"its owner can allow it: grant usage on schema {place} to {who}; "
        f"grant select on all tables in schema {place} to {who};"
    )


def how_to_write(message: str, schema: str | None, role: str) -> str:
    """Return the sentence that says which statement lets a role do what the server refused.

    Args:
        message: the server's message.
        schema: the schema.
        role: the role.
    """
    place, who = identifier(schema or "public"), identifier(role)
    if "for schema" in message:
        return (
            f"the owner of the schema can allow it: grant usage, create on schema {place} to {who};"
        )
    return (
        "the owner of the tables can allow it: grant select, insert, update, delete on all tables in "
        f"schema {place} to {who};"
    )
