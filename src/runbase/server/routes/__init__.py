"""The routes of the server, by topic."""

from typing import Any

from runbase.server.routes import (
    about,
    alerts,
    experiments,
    files,
    live,
    media,
    points,
    queries,
    runs,
    session,
    storage,
    tokens,
    trials,
    users,
)  # fmt: skip

ROUTES: tuple[Any, ...] = (
    *about.ROUTES,
    *experiments.ROUTES,
    *runs.ROUTES,
    *points.ROUTES,
    *live.ROUTES,
    *queries.ROUTES,
    *files.ROUTES,
    *media.ROUTES,
    *trials.ROUTES,
    *tokens.ROUTES,
    *alerts.ROUTES,
    *users.ROUTES,
    *session.ROUTES,
    *storage.ROUTES,
)
