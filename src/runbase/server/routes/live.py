"""The stream of changes."""

from collections import defaultdict
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import msgspec
from anyio.to_thread import run_sync
from litestar import Request, get
from litestar.di import NamedDependency
from litestar.params import FromQuery, QueryParameter
from litestar.response import Stream
from litestar.response.sse import ServerSentEventMessage
from msgspec import Struct

from runbase.errors import RunbaseError
from runbase.server import limits
from runbase.server.alerts.news import AlertNews
from runbase.server.bodies import finite, gzipped
from runbase.server.callers import Callers
from runbase.server.live import LiveHub
from runbase.server.principals import Principal
from runbase.server.scope import among, readable_runs, visible
from runbase.storage.types import Changes
from runbase.store.store import Store

MOST_KNOWN = 2000
"""Runs whose last sent cells a stream keeps; of others, all columns are sent at their next change."""
HEADERS = {
    "Cache-Control": "no-cache",
    "Connection": "keep-alive",
    "X-Accel-Buffering": "no",  # nginx passes events on at once
    "Vary": "Accept-Encoding",
}


class LiveRuns(Struct, frozen=True):
    """Runs that changed, and the columns in which they did since the stream sent them last.

    Runs that changed in the same columns share an event. `gone` are changed runs that no longer match.
    """

    ids: list[str]
    columns: dict[str, list[Any]]
    gone: list[str]


class Sent:
    """What a stream has sent of each run, to send only what is new."""

    def __init__(self) -> None:
        self._rows: dict[str, tuple[Any, ...]] = {}

    def news(
        self, ids: list[str], columns: dict[str, list[Any]], gone: list[str]
    ) -> list[LiveRuns]:
        """Return the events for changed runs: runs that changed in the same columns together.

        Args:
            ids: the changed runs that match.
            columns: their values, column by column.
            gone: the changed runs that do not match.
        """
        plain = {name: [finite(value) for value in values] for name, values in columns.items()}
        names = tuple(plain)
        groups: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for place, run in enumerate(ids):
            row = tuple(values[place] for values in plain.values())
            before = self._rows.pop(run, None)
            self._rows[run] = row  # at the end: the oldest ones are forgotten first
            groups[_changed(names, before, row)].append(place)
        events = [
            LiveRuns(
                [ids[place] for place in places],
                {name: [plain[name][place] for place in places] for name in changed},
                [],
            )
            for changed, places in groups.items()
        ]
        for run in gone:
            self._rows.pop(run, None)
        while len(self._rows) > MOST_KNOWN:
            del self._rows[next(iter(self._rows))]
        return [*events, LiveRuns([], {}, gone)] if gone else events


def _changed(
    names: tuple[str, ...], before: tuple[Any, ...] | None, now: tuple[Any, ...]
) -> tuple[str, ...]:
    if before is None:
        return names
    return tuple(
        name
        for name, old, new in zip(names, before, now, strict=True)
        if old != new or old.__class__ is not new.__class__
    )


class _Follower:
    """The events for one client."""

    def __init__(
        self, user: Principal, store: Store, where: str | None, experiment: str | None, columns: str
    ) -> None:
        self._user, self._store, self._experiment = user, store, experiment
        self._condition = visible(user, where)
        self._names = [name.strip() for name in columns.split(",") if name.strip()]
        self._sent = Sent()
        self._news = AlertNews(store, self._condition, experiment)

    def begin(self, changes: Changes) -> bytes:
        """Return the first event."""
        self._news.begin(changes.runs)
        return _event("ready", "", changes.cursor)

    def events(self, changes: Changes) -> list[bytes]:
        """Return the events for changes. Only the last one has the cursor: a client that missed one asks for all again."""
        events: list[tuple[str, Any]] = []
        if changes.runs:
            events += [("runs", event) for event in self._runs(changes.runs)]
            events += [("alert", alert) for alert in self._news.look()]
        experiments = [e for e in changes.experiments if self._user.may("read", e)]
        if experiments:
            events.append(("experiments", experiments))
        last = len(events) - 1
        return [
            _event(
                name, msgspec.json.encode(data).decode(), changes.cursor if place == last else None
            )
            for place, (name, data) in enumerate(events)
        ]

    def _runs(self, changed: list[str]) -> list[LiveRuns]:
        here = among("id", changed) + (f" and ({self._condition})" if self._condition else "")
        found = self._store.table(here, columns=self._names, experiment=self._experiment)
        gone = set(changed).difference(found.ids)
        if not self._user.may_everywhere(
            "read"
        ):  # ids of other runs are none of the caller's business
            gone = readable_runs(self._store.storage, self._user, gone)
        return self._sent.news(found.ids, found.columns, [run for run in changed if run in gone])


def _event(name: str, data: str = "", cursor: str | None = None) -> bytes:
    return ServerSentEventMessage(event=name, data=data, id=cursor, sep="\n").encode()


@get("/api/live", opt={"permission": "read"}, media_type="text/event-stream")
async def live(
    request: Request[Principal, Any, Any],
    store: NamedDependency[Store],
    hub: NamedDependency[LiveHub],
    callers: NamedDependency[Callers],
    where: FromQuery[str | None] = None,
    experiment: FromQuery[str | None] = None,
    columns: Annotated[
        str, QueryParameter(description="names of columns, separated by commas")
    ] = "name,status",
) -> Stream:
    """Stream what changes: `runs`, `experiments` and `alert` events, and `reset` if everything must be read again.

    `ready` comes first: what changes after it is streamed. The first event of a run has all columns, each further one those that changed. The last event of a change has an id; a client that reconnects with `Last-Event-ID` gets what it missed. NaN and infinities are text.
    """
    follower = _Follower(request.user, store, where, experiment, columns)
    since = request.headers.get("last-event-id")

    async def followed() -> AsyncGenerator[bytes]:
        started = False
        async for changes in hub.listen(since):
            try:
                if changes is not None and not started:
                    started = True
                    yield await run_sync(follower.begin, changes)
                if await callers.of_scope(request.scope) != request.user:
                    return  # signed out, revoked, or with other rights: the client connects again
                if changes is None:
                    yield b": nothing changed\n\n"
                    continue
                if changes.reset and since is not None:
                    yield _event("reset", "", changes.cursor)
                for event in await run_sync(follower.events, changes):
                    yield event
            except RunbaseError as error:
                yield _event("error", str(error))
                return

    async def events() -> AsyncGenerator[bytes]:
        with limits.streams.taken(request.user.person):
            async for event in followed():
                yield event

    limits.streams.check(request.user.person)
    if "gzip" in request.headers.get("accept-encoding", ""):
        packed = HEADERS | {"Content-Encoding": "gzip"}
        return Stream(gzipped(events()), headers=packed, media_type="text/event-stream")
    return Stream(events(), headers=HEADERS, media_type="text/event-stream")


ROUTES: tuple[Any, ...] = (live,)
