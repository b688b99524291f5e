"""Named statements, read from `queries/*.sql`.

A statement begins with a line `-- name: NAME`; the comment lines behind it say what it does. Lines
between `-- only: DIALECT` and `-- only: end` count for that dialect alone.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from msgspec import Struct

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)
_PARAMETER = re.compile(r"(?<!:):([a-z_][a-z0-9_]*)")


class Statement(Struct, frozen=True):
    """A statement, what it is for, and the parameters it takes."""

    name: str
    description: str
    text: str
    parameters: frozenset[str]


def for_dialect(text: str, dialect: str) -> str:
    """`text` without the lines that are only for other dialects."""
    kept: list[str] = []
    only = None
    for line in text.splitlines():
        guard = re.fullmatch(r"\s*-- only: (\w+)", line)
        if guard:
            only = None if guard[1] == "end" else guard[1]
        elif only in (None, dialect):
            kept.append(line)
    return "\n".join(kept)


@cache
def statements(dialect: str) -> Mapping[str, Statement]:
    """Every named statement, by name."""
    found: dict[str, Statement] = {}
    for file in files("runbase.storage.sql").joinpath("queries").iterdir():
        if file.name.endswith(".sql"):
            pieces = _NAME.split(file.read_text("utf-8"))
            for name, body in zip(pieces[1::2], pieces[2::2], strict=True):
                assert name not in found, f"two statements are named {name}"
                found[name] = _statement(name, for_dialect(body, dialect))
    return found


def _statement(name: str, body: str) -> Statement:
    lines = body.strip().splitlines()
    comments = [line for line in lines if line.lstrip().startswith("--")]
    text = "\n".join(line for line in lines if not line.lstrip().startswith("--")).strip()
    return Statement(
        name=name,
        description=" ".join(line.strip().lstrip("- ") for line in comments),
        text=text.removesuffix(";"),
        parameters=frozenset(_PARAMETER.findall(re.sub(r"'[^']*'", "''", text))),
    )
