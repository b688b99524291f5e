"""What the comments of a schema's SQL say of its tables, views and columns.

Above a table or view stands what it is; behind each column, what it means.
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
    """A table, view or (where `column` is given) column, its type, and what it is."""

    kind: str
    name: str
    comment: str
    column: str | None = None
    type: str = ""
    body: str = ""


def described(text: str) -> Iterator[Described]:
    """Each table, view and column of a schema's SQL, in order; `comment` is empty where none stands."""
    for comment, kind, name, body in _CREATE.findall(text):
        said = " ".join(line.lstrip("- ") for line in comment.splitlines())
        yield Described(kind, name, "" if "opens-with" in said else said, body=body)
        if kind == "table":
            for column, rest, meaning in _COLUMN.findall(body):
                if column not in _RULES:
                    yield Described("column", name, meaning, column, _type(rest))
    for table, column, rest, meaning in _ADDED.findall(text):
        yield Described("column", table, meaning, column, _type(rest))


def _type(definition: str) -> str:
    """The type at the beginning of a column's definition."""
    found = re.match(r"double precision(\[\])?|\w+(\[\])?", definition)
    return found[0] if found else ""
