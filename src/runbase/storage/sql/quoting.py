"""Statements whose tables or columns are known at run time only: names are quoted, values are bound."""

from collections.abc import Iterable

from runbase.errors import UsageError


def identifier(name: str) -> str:
    """Return the name of a table, view or column as a quoted identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Return text as a literal, for a view, in which nothing can be bound."""
    if "\0" in text:
        raise UsageError("a metric's name in a view cannot contain NUL")
    return "'" + text.replace("'", "''") + "'"


def update_of(table: str, columns: Iterable[str]) -> str:
    """Return the update of some columns of one row: the nth value is `:vN`, the id `:key`."""
    changes = ", ".join(f"{identifier(column)} = :v{n}" for n, column in enumerate(columns))
    return f"update {identifier(table)} set {changes} where id = :key"


def select_of(table: str, column: str) -> str:
    """Return the select of one column of the row whose id is `:key`."""
    return f"select {identifier(column)} from {identifier(table)} where id = :key"
