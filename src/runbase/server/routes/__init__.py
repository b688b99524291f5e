"""The routes of the server, by topic."""

from typing import Any

from runbase.server.routes import (
    about,
    alerts,
    experiments,
    files,
    media,
    points,
    queries,
    runs,
    storage,
    tokens,
    trials,
)  # fmt: skip

ROUTES: tuple[Any, ...] = (
    *about.ROUTES,
    *experiments.ROUTES,
    *runs.ROUTES,
    *points.ROUTES,
    *queries.ROUTES,
    *files.ROUTES,
    *media.ROUTES,
    *trials.ROUTES,
    *tokens.ROUTES,
    *alerts.ROUTES,
    *storage.ROUTES,
)
