"""The routes of the server, by topic."""

from typing import Any

from runbase.server.routes import about, experiments, files, points, queries, runs, storage, tokens

ROUTES: tuple[Any, ...] = (
    *about.ROUTES,
    *experiments.ROUTES,
    *runs.ROUTES,
    *points.ROUTES,
    *queries.ROUTES,
    *files.ROUTES,
    *tokens.ROUTES,
    *storage.ROUTES,
)
