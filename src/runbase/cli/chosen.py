"""The columns that `-c` names: parameters, metrics, tags and fields, spelled as in filters or shorter.

`params.lr`, `lr`, `metrics."val/loss"`, `metrics.val/loss`, `val/loss` and `val/loss.min` are all
accepted. `params.`, `metrics.` and `tags.` stand for all keys of the family, and `tags` for all tags
in one column.
"""

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from runbase.analysis.frames import run_row
from runbase.analysis.listings import Runs
from runbase.cli import common
from runbase.errors import NotFound
from runbase.storage.types import Query
from runbase.store.store import Store
from runbase.values import split_names

FAMILIES = ("params.", "metrics.", "tags.", "slurm.")
_FAMILY = re.compile(r"^(params?|parameters?|metrics?)\.")
_FIGURE = re.compile(r"\.(last|min|max|first|mean)$")


class Selection(Struct, frozen=True, kw_only=True):
    """What to list: the arguments of `Store.runs` and `Store.table`."""

    where: str | None = None
    sort: str | None = None
    limit: int | None = None
    experiment: str | None = None
    deleted: bool = False

    def runs(self, store: Store) -> Runs:
        """Return the runs."""
        return store.runs(
            self.where,
            order_by=self.sort,
            limit=self.limit,
            experiment=self.experiment,
            deleted=self.deleted,
        )


def read(store: Store, selection: Selection, found: Runs, text: str) -> dict[str, list[Any]]:
    """Return the values of the columns that a user named.

    Args:
        store: the store.
        selection: how the runs were found.
        found: the runs.
        text: names separated by commas.

    Returns:
        Name as written → the value of each run.

    Raises:
        FilterError: a name is not that of a column.
        NotFound: no run of the store has a parameter, a metric or a tag.
    """
    rows = [run_row(run) for run in found]
    known = list(dict.fromkeys(name for row in rows for name in row))
    names: list[str] = []
    for name in split_names(text):
        names += [key for key in known if key.startswith(name)] if name in FAMILIES else [name]
    names = list(dict.fromkeys(names))
    others = [name for name in names if name not in known and name != "tags"]
    if messages := store.reader.unknown_keys(Query(), others):
        raise NotFound("; ".join(messages))
    more: dict[str, dict[str, Any]] = {}
    if others:
        table = store.table(
            selection.where,
            columns=others,
            order_by=selection.sort,
            limit=selection.limit,
            experiment=selection.experiment,
            deleted=selection.deleted,
        )
        for name in others:
            more[name] = dict(zip(table.ids, table[name], strict=True))
    values: dict[str, list[Any]] = {}
    for name in names:
        if name in more:
            values[name] = [more[name].get(run.id) for run in found]
        elif name == "tags":
            values[name] = [common.tags_text(run.tags) or None for run in found]
        else:
            values[name] = [row.get(name) for row in rows]
    return values


def titles(names: Sequence[str]) -> list[str]:
    """Return headings: the keys of parameters and metrics without their family, if they differ."""
    short = [_FAMILY.sub("", name).replace('"', "") for name in names]
    return [
        title if short.count(title) == 1 else name for title, name in zip(short, names, strict=True)
    ]


def metric_of(name: str, found: Runs) -> str | None:
    """Return the key of the metric whose value a column has; None for any other column."""
    plain = name.replace('"', "")
    family = _FAMILY.match(plain)
    key = _FAMILY.sub("", plain)
    if family is None:
        if any(key in run.params for run in found):
            return None
    elif not family[1].startswith("metric"):
        return None
    for candidate in (key, _FIGURE.sub("", key)):
        if any(candidate in run.metrics for run in found):
            return candidate
    return None
