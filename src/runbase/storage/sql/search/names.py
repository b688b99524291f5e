"""Names that users write: columns of a subject, and keys of its families, bound and joined.

Filters, sort keys and columns of tables share them. Nothing here imports the SQL parser.
"""

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from msgspec import Struct

from runbase.errors import FilterError, suggestion
from runbase.storage.sql.search.fields import Column, Family, Subject
from runbase.storage.sql.statements import for_dialect
from runbase.values import plain_text, stored_key

_PART = re.compile(r'"((?:[^"]|"")*)"|([^."]+)')
_PLAIN = re.compile(r"[A-Za-z_]\w*")
_ALONE = ("params", "metrics", "tags")
"""Families whose keys may stand alone as columns and sort keys."""


class Constant(Struct, frozen=True):
    """A constant in the filter."""

    value: Any


class Name(Struct, frozen=True):
    """A key of a family, bound and joined."""

    family: Family
    alias: str
    key: str


class Expression(Struct, frozen=True):
    """Compiled SQL of a kind. A parameter has the kind `any`, and is converted to the kind that it is compared with."""

    sql: str
    kind: str
    name: Name | None = None
    constant: Constant | None = None
    upper: bool = False
    truth: bool = False


class Reference(Struct, frozen=True):
    """A key of a family as a user names it, and a figure of it, such as `min` of a metric."""

    word: str
    family: Family
    scope: str
    key: str
    figure: str | None


class Names:
    """The names of one query: its joins, and the values to bind."""

    def __init__(
        self,
        subject: Subject,
        dialect: str,
        own: Mapping[str, Column],
        known: Callable[[str], list[str]],
        has: Callable[[str, str], bool],
    ) -> None:
        self.subject, self.own, self.known, self.has = subject, own, known, has
        self.values: dict[str, Any] = {}
        self.joins: list[str] = []
        self._dialect = dialect
        self._names: dict[tuple[str, str, str], Name] = {}

    def column(self, path: list[str]) -> Column | None:
        """Return a column of the subject, or one that a user added; None if there is none."""
        if len(path) > 1 and self.subject.words.get(path[0].lower()) == "":
            path = path[1:]  # run.status, attributes.status
        name = ".".join(path)
        name = self.subject.aliases.get(name, name)
        return self.subject.columns.get(name) or self.own.get(name)

    def word(self, path: list[str]) -> str:
        """Return the name of the family that a path begins with."""
        return self.subject.words.get(path[0].lower(), path[0].lower()) if path else ""

    def reference(self, path: list[str]) -> Reference | None:
        """Return the key of a family that a path names; None if it names none."""
        word = self.word(path)
        if not word and len(path) > 2:  # attributes.SCOPE.KEY
            word = path[0].lower()
        family = self.subject.families.get(word)
        if family is None or len(path) == 1:
            return None
        scope, path = (path[1], path[2:]) if family.scoped else ("", path[1:])
        figure = path[-1] if len(path) > 1 and path[-1] in family.figures else None
        key = ".".join(path if figure is None else path[:-1])
        return Reference(word, family, scope, key, figure)

    def alone(self, path: list[str]) -> list[str] | None:
        """Return the path of an existing parameter, metric or tag whose key stands alone, such as val/loss.min."""
        key, shorter = ".".join(path), ".".join(path[:-1])
        for word in _ALONE:
            family = self.subject.families.get(word)
            if family is not None and self.has(word, key):
                return [word, key]
            if family is not None and path[-1] in family.figures and self.has(word, shorter):
                return [word, shorter, path[-1]]
        return None

    def quoted(self, text: str) -> str | None:
        """Return the name of an existing key as the filter language writes it; None for anything else."""
        try:
            path = parts_of(text)
        except FilterError:
            return None
        if self.column(path) is not None:
            return None
        found = self.reference(path)
        if found is None:
            alone = self.alone(path)
            found = None if alone is None else self.reference(alone)
        elif found.scope or not self.has(found.word, found.key):
            return None
        if found is None:
            return None
        figure = "" if found.figure is None else f".{found.figure}"
        return f"{found.word}.{in_quotes(found.key)}{figure}"

    def expression(self, path: list[str]) -> Expression | None:
        """Return the SQL of a column or of a key; None if the path names neither."""
        column = self.column(path)
        if column is not None:
            sql = for_dialect(column.sql, self._dialect).strip()
            return Expression(sql, column.kind, upper=column.upper, truth=column.truth)
        found = self.reference(path)
        return None if found is None else self.joined(found)

    def joined(self, found: Reference) -> Expression:
        """Return the SQL of a key of a family, and join it."""
        family, key = found.family, found.key
        name = self._names.get((found.word, found.scope, key))
        if name is None:
            bound = stored_key(plain_text(key)) if family.join else key
            name = Name(family, f"f{len(self._names)}", self.bind(bound))
            self._names[found.word, found.scope, key] = name
            if family.join:
                scope = self.bind(found.scope) if family.scoped else ""
                self.joins.append(family.join.format(name.alias, name.key, scope))
        if found.figure is not None:
            figure = family.figures[found.figure]
            return Expression(figure.sql.format(name.alias, name.key), figure.kind, name)
        if family.kind == "any":
            return Expression("", "any", name)
        sql = for_dialect(family.values[family.kind], self._dialect).strip()
        return Expression(sql.format(name.alias, name.key), family.kind, name)

    def keys(self) -> list[tuple[str, str]]:
        """Return the keys that were named, with their families."""
        return [(word, key) for word, scope, key in self._names if not scope]

    def bind(self, value: Any) -> str:
        """Add a value to bind; returns its mark in the SQL."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f":{name}"

    def unknown(self, path: list[str], text: str) -> FilterError:
        """Return the error for a path in `text` that names nothing."""
        names, families = [*self.subject.columns, *self.own], list(self.subject.families)
        found = text.find(path[0])
        place = pointer(text, found + 1 if found >= 0 else 1)
        name = ".".join(path)
        keys = self._keys()
        if len(path) > 1 and self.word(path) not in self.subject.families:
            close = get_close_matches(name, keys, n=3, cutoff=0.7)
            hint = suggestion(path[0], [*families, "experiment"])
            more = f'; quote keys with dots or slashes: params."{name}"'
            hint = _listed([keys[key] for key in close]) if close else f"{hint}{more}"
            return FilterError(f"{name if close else path[0]!r} is unknown{hint}{place}")
        for key, full in keys.items():
            if "/" in key and key in text and f'"{key}"' not in text:  # read as a division
                hint = f"; did you mean {full!r}? A key with slashes needs quotes"
                return FilterError(f"no column is named {name!r}{hint}{place}")
        for family in families:
            if self.has(family, name):
                hint = f"; did you mean {family}.{in_quotes(name)}?"
                return FilterError(f"no column is named {name!r}{hint}{place}")
        shown = {**keys, **{key: key for key in (*names, *(f"{word}.…" for word in families))}}
        close = get_close_matches(name, shown, n=3, cutoff=0.5)
        hint = _listed([shown[key] for key in close]) if close else suggestion(name, names)
        return FilterError(f"no column is named {name!r}{hint}{place}")

    def _keys(self) -> dict[str, str]:
        """Return the existing parameters, metrics and tags: key → its name in the filter language."""
        return {
            key: f"{word}.{in_quotes(key)}"
            for word in reversed(_ALONE)
            if word in self.subject.families
            for key in self.known(word)
        }


def parts_of(text: str) -> list[str]:
    """Return the parts of a dotted name; quotes protect dots: metrics."val.acc".min has three parts."""
    parts, place = list[str](), 0
    while found := _PART.match(text, place):
        parts.append(found[2] or found[1].replace('""', '"'))
        place = found.end()
        if place == len(text):
            return parts
        if text[place] != ".":
            break
        place += 1
    raise FilterError(f'{text!r} is not the name of a column; quote a key with dots: params."a.b"')


def in_quotes(key: str) -> str:
    """Return a key as the filter language writes it: in double quotes unless it is a plain word."""
    return key if _PLAIN.fullmatch(key) else '"' + key.replace('"', '""') + '"'


def _listed(names: list[str]) -> str:
    return "; did you mean " + " or ".join(repr(name) for name in names) + "?"


def pointer(text: str, column: int) -> str:
    """Return `text` and a mark below one of its characters, counted from 1."""
    return f"\n  {text}\n  {' ' * max(column - 1, 0)}^"
