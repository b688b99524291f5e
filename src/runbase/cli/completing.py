"""Shell completion of the names of runs, experiments, metrics and columns.

A completion prints nothing but names: without a store, or with one that cannot be read at once,
there are none.
"""

from collections.abc import Callable
from typing import Any

import typer

from runbase.settings import load
from runbase.store.store import open as open_store

_MOST = 100
"""Names that are offered."""
_PATIENCE = 1.0
"""Seconds after which a query is cancelled."""
_RUNS = "select name from runs where deleted_at is null order by id desc limit 1000"
_EXPERIMENTS = "select name from experiments where deleted_at is null order by id desc limit 1000"
_METRICS = "select key from series where kind = 'metric' group by key order by key limit 1000"
_PARAMS = "select key from params group by key order by key limit 1000"
_TAGS = "select 'tags.' || key from run_tags group by key order by 1 limit 1000"
_FIELDS = ("experiment", "host", "notes", "seconds", "started_at", "status", "tags", "user")


def runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return names of runs, newest first."""
    return _names(ctx, incomplete, _RUNS)


def experiments(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return names of experiments, newest first."""
    return _names(ctx, incomplete, _EXPERIMENTS)


def targets(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return names of experiments and runs."""
    return _names(ctx, incomplete, _EXPERIMENTS, _RUNS)


def metrics(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return keys of metrics."""
    return _names(ctx, incomplete, _METRICS)


def metric_lists(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return keys of metrics for the last part of a list with commas."""
    return _last_of_list(lambda part: _names(ctx, part, _METRICS), incomplete)


def columns(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return names of columns for the last part of a list with commas."""

    def named(part: str) -> list[str]:
        fields = [name for name in _FIELDS if name.startswith(part)]
        return [*_names(ctx, part, _METRICS, _PARAMS, _TAGS), *fields]

    return _last_of_list(named, incomplete)


def _last_of_list(named: Callable[[str], list[str]], incomplete: str) -> list[str]:
    before, comma, part = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in named(part)]


def _names(ctx: typer.Context, incomplete: str, *queries: str) -> list[str]:
    try:
        options: dict[str, Any] = ctx.params
        home, url = options.get("home"), options.get("url")
        settings = load(home=home, store=url)
        default = url is None and settings.values["store"].source == "default"
        if default and not settings.home.is_dir():
            return []
        found: list[str] = []
        with open_store(url, home=home, sync=False, create=False) as store:
            for query in queries:
                found += [str(row[0]) for row in store.sql(query, timeout=_PATIENCE)]
    except Exception:  # completion must never print a traceback
        return []
    names = [name for name in dict.fromkeys(found) if name.startswith(incomplete)]
    return [name for name in names if name.isprintable()][:_MOST]
