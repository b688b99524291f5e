"""Parse the comments of a schema's SQL: the descriptions of tables, views and columns.

A table or view is described by the comment above it, a column by the comment after it.
"""

import re
from collections.abc import Iterator

from msgspec import Struct

_CREATE = re.compile(
    r"((?:^--[^\n]*\n)*)^create (?:or replace )?(table|view) (?:if not exists )?\"?(\w+)\"?(.*?);[ ]*$",
    re.MULTILINE | re.DOTALL | re.IGNORECASE,
)
_ADDED = re.compile(
    r'^alter table "?(\w+)"? add column "?(\w+)"? ([^-;]+?);?\s*-- (.*)$',
    re.MULTILINE | re.IGNORECASE,
)
_COLUMN = re.compile(r'^  "?(\w+)"? +(.*?),?\s*-- (.*)$', re.MULTILINE)
_RULES = ("primary", "unique", "check", "foreign", "constraint")


class Described(Struct, frozen=True):
    """A table, a view or (if `column` is set) a column, with its type and description."""

    kind: str
    name: str
    comment: str
    column: str | None = None
    type: str = ""
    body: str = ""


def described(text: str) -> Iterator[Described]:
    """Yield each table, view and column of a schema's SQL, in order; `comment` is empty if it has none."""
    for comment, kind, name, body in _CREATE.findall(text):
        description = " ".join(line.lstrip("- ") for line in comment.splitlines())
        yield Described(kind, name, "" if "opens-with" in description else description, body=body)
        if kind == "table":
            for column, rest, meaning in _COLUMN.findall(body):
                if column not in _RULES:
                    yield Described("column", name, meaning, column, _type(rest))
    for table, column, rest, meaning in _ADDED.findall(text):
        yield Described("column", table, meaning, column, _type(rest))


def _type(definition: str) -> str:
    """Return the type at the beginning of a column's definition."""
    match = re.match(r"double precision(\[\])?|\w+(\[\])?", definition)
    return match[0] if match else ""
