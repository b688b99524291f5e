"""Write points: columns of log calls as groups and blocks, and each metric's statistics.

A journal has at most one open group for each set of keys. A batch first fills this group, then creates new ones of 1,024
calls. Only the open group's head is read: arrays grow by concatenation.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from runbase.events import Points, Scalar, Types
from runbase.journal.validation import floats_for_large
from runbase.storage.arrays import total
from runbase.storage.sql import outlines
from runbase.storage.sql.session import Session
from runbase.values import plain_text

BLOCK = outlines.BLOCK
"""Log calls in a full group."""
MANY = 8
"""Events with points from which all open groups of a journal are read at once."""
STOCK = 128
"""Ids for rows that a session with an id_pool fetches ahead."""

_encode = msgspec.json.Encoder().encode


def types(session: Session, run: str, event: Types) -> None:
    """Store the types of metrics whose values are int, bool or time."""
    rows = [{"run": run, "key": key, "type": kind} for key, kind in event.types.items()]
    session.many("set_type", rows)


class Head(Struct):
    """A group that has room for more calls."""

    id: int
    count: int
    first_step: Scalar
    stride: Scalar | None
    first_time: float


class Writer:
    """What a delivery needs to know of its run to store points, read once for all its events.

    Args:
        session: a session inside a transaction that writes.
        run: the run.
        journal: the journal of the delivery.
        events: the events that will be stored.
    """

    def __init__(
        self, session: Session, run: str, journal: str, events: Sequence[Any] = ()
    ) -> None:
        self._session, self._run, self._journal = session, run, journal
        self._known: dict[str, dict[str, int]] = {}
        self._heads: dict[str, Head] | None = None
        self._seq: int | None = None
        self._ids: list[int] = []
        keys: dict[str, dict[str, None]] = {}
        calls = [event for event in events if isinstance(event, Points)]
        for event in calls:
            keys.setdefault(event.kind, {}).update(dict.fromkeys(map(plain_text, event.keys)))
        for kind, names in keys.items():
            self.series(kind, list(names))
        if len(calls) >= MANY:  # one query for all groups costs less than one for each set of keys
            rows = session.rows("open_groups", journal=journal)
            self._heads = {row["keys_hash"]: _head(row) for row in rows}
            self._ids = reserve(session, "reserve_groups", len(calls))[::-1]

    def head(self, digest: str) -> Head | None:
        """Return the group of some keys that has room for more calls."""
        if self._heads is not None:
            return self._heads.get(digest)
        row = self._session.row("open_group", journal=self._journal, keys_hash=digest)
        return None if row is None else _head(row)

    def hold(self, digest: str, head: Head) -> None:
        """Note the group of some keys as it is now."""
        if self._heads is not None:
            self._heads[digest] = head
            if head.count >= BLOCK:
                del self._heads[digest]

    def next_group(self) -> int:
        """Return the id of a new group."""
        if self._ids:
            return self._ids.pop()
        return reserve(self._session, "reserve_groups", 1)[0]

    def next_seq(self) -> int:
        """Return the sequence number of the run's next group."""
        if self._seq is None:
            self._seq = cast("int", self._session.row("next_seq", run=self._run)["seq"])
        self._seq += 1
        return self._seq - 1

    def series(self, kind: str, keys: Sequence[str]) -> list[int]:
        """Return the ids of the series of some keys; create the series that do not exist."""
        if kind not in self._known:
            self._look(kind)
        known = self._known[kind]
        new = [key for key in keys if key not in known]
        if new:
            self._session.many(
                "insert_series",
                [{"run": self._run, "kind": kind, "key": key, "type": "float"} for key in new],
            )
            if len(new) == 1:
                row = self._session.row("series_of_key", run=self._run, kind=kind, key=new[0])
                known[new[0]] = row["id"]
            else:
                known = self._look(kind)
        return [known[key] for key in keys]

    def _look(self, kind: str) -> dict[str, int]:
        rows = self._session.rows("series_ids", run=self._run, kind=kind)
        ids = self._known[kind] = {row["key"]: row["id"] for row in rows}
        return ids


def points(
    session: Session, run: str, journal: str, event: Points, writer: Writer | None = None
) -> None:
    """Store log calls of one set of keys. `writer` is shared by the events of one delivery."""
    writer = writer or Writer(session, run, journal)
    event = replace(
        event,
        keys=tuple(map(plain_text, event.keys)),
        columns=[floats_for_large(column) for column in event.columns],
    )
    ids = writer.series(event.kind, event.keys)
    digest = _keys_hash(event.kind, event.keys)
    calls = len(event.steps)
    done = 0
    head = writer.head(digest)
    if head is not None:
        done = min(BLOCK - head.count, calls)
        _extend(session, head, ids, cut(event, 0, done))
        writer.hold(digest, head)
        if head.count == BLOCK:
            outlines.add(session, head.id, ids)
    while done < calls:
        size = min(BLOCK, calls - done)
        head = _insert(session, run, journal, digest, ids, cut(event, done, done + size), writer)
        writer.hold(digest, head)
        if size == BLOCK:
            outlines.add(session, head.id, ids)
        done += size
    session.many(
        "add_to_series",
        [
            {"id": series, **_figures(event.steps, event.times, column)}
            for series, column in zip(ids, event.columns, strict=True)
        ],
    )


def whole(
    session: Session, run: str, journal: str, events: Sequence[Points], *, bare: bool = False
) -> None:
    """Store all points of a run at once, in a quarter of the statements.

    `bare`: it is known that the run has no points yet.
    """
    plain = all(len(event.steps) <= BLOCK and event.kind == "metric" for event in events)
    if not plain or (not bare and session.rows("series_ids", run=run, kind="metric")):
        for event in events:
            points(session, run, journal, event)
        return
    keys = [(number, key) for number, event in enumerate(events) for key in event.keys]
    series = reserve(session, "reserve_series", len(keys))
    groups = reserve(session, "reserve_groups", len(events))
    ids = {place: series[n] for n, place in enumerate(keys)}
    rows = [
        {
            "id": ids[number, key],
            "run": run,
            "kind": "metric",
            "key": key,
            "type": "float",
            **_figures(event.steps, event.times, column),
        }
        for number, event in enumerate(events)
        for key, column in zip(event.keys, event.columns, strict=True)
    ]
    session.many("load_series", rows)
    session.many(
        "insert_group",
        [
            {
                **_axis(session, event),
                "id": groups[number],
                "run": run,
                "seq": number,
                "journal": journal,
                "keys_hash": _keys_hash(event.kind, event.keys),
            }
            for number, event in enumerate(events)
        ],
    )
    blocks = [
        _blocks(session, groups[number], [ids[number, key] for key in event.keys], event)
        for number, event in enumerate(events)
    ]
    session.many("insert_block", [row for part in blocks for row in part])
    full = Counter(
        ids[number, key]
        for number, event in enumerate(events)
        if len(event.steps) == BLOCK
        for key in event.keys
    )
    outlines.build_all(session, full)


def reserve(session: Session, statement: str, count: int) -> list[int]:
    """Reserve ids for new rows."""
    if not count:
        return []
    if session.id_pool is not None:
        held = session.id_pool.setdefault(statement, [])
        if len(held) < count:
            held += [row[0] for row in session.rows(statement, count=count + STOCK)]
        taken, session.id_pool[statement] = held[:count], held[count:]
        return taken
    rows = session.rows(statement, count=count)
    if len(rows) == count:
        return [row[0] for row in rows]
    return list(range(rows[0][0], rows[0][0] + count))


def statistics(values: Sequence[Scalar]) -> dict[str, Any]:
    """Return count, nans, min, max and sum of values; the last three ignore NaN, and are None if no value is left."""
    added = total(values)
    numbers = values
    if added != added:  # a NaN, or both infinities
        numbers = [value for value in values if value == value]
        added = total(numbers)
    return {
        "count": len(values),
        "nans": len(values) - len(numbers),
        "min": min(numbers) if numbers else None,
        "max": max(numbers) if numbers else None,
        "sum": added if numbers else None,
    }


def _insert(
    session: Session,
    run: str,
    journal: str,
    digest: str,
    ids: list[int],
    event: Points,
    writer: Writer,
) -> Head:
    axis = _axis(session, event)
    head = Head(
        writer.next_group(), axis["count"], axis["first_step"], axis["stride"], axis["first_time"]
    )
    session.run(
        "insert_group",
        **axis,
        id=head.id,
        run=run,
        seq=writer.next_seq(),
        journal=journal,
        keys_hash=digest,
    )
    session.many("insert_block", _blocks(session, head.id, ids, event))
    return head


def _head(row: Any) -> Head:
    return Head(row["id"], row["count"], row["first_step"], row["stride"], row["first_time"])


def _axis(session: Session, event: Points) -> dict[str, Any]:
    """Return what a new group stores of its log calls."""
    stride, origin = _stride(event.steps), event.times[0]
    return {
        "count": len(event.steps),
        "first_step": event.steps[0],
        "stride": stride,
        "steps": None if stride is not None else session.array(_encode(event.steps).decode()),
        "lowest_step": min(event.steps),
        "highest_step": max(event.steps),
        "first_time": origin,
        "times": session.array(_offsets(event.times, origin)),
        "progress": None if event.progress is None else session.floats(event.progress),
    }


def _extend(session: Session, head: Head, ids: list[int], event: Points) -> None:
    group, count, stride = head.id, head.count, head.stride
    all_steps = False
    steps: list[Scalar] | None = event.steps
    if stride is not None:
        held = _strided(head.first_step, stride, count)
        new_stride = _stride([held[0], *event.steps] if count == 1 else [*held[-2:], *event.steps])
        if new_stride is not None:
            stride, steps = new_stride, None
        else:
            stride, steps, all_steps = None, [*held, *event.steps], True
    session.run(
        "extend_group",
        id=group,
        count=len(event.steps),
        stride=stride,
        steps=None if steps is None else session.array(_encode(steps).decode()),
        all_steps=all_steps,
        times=session.array(_offsets(event.times, head.first_time)),
        progress=None if event.progress is None else session.floats(event.progress),
        no_progress_before=session.floats([None] * count),
        no_progress_now=session.floats([None] * len(event.steps)),
        lowest_step=min(event.steps),
        highest_step=max(event.steps),
    )
    session.many("extend_block", _blocks(session, group, ids, event))
    head.count, head.stride = count + len(event.steps), stride


def _blocks(session: Session, group: int, ids: list[int], event: Points) -> list[dict[str, Any]]:
    return [
        {
            "series": series,
            "group": group,
            **statistics(column),
            "numbers": session.floats(column),
        }
        for series, column in zip(ids, event.columns, strict=True)
    ]


def cut(event: Points, start: int, stop: int) -> Points:
    """Return some of an event's log calls."""
    if start == 0 and stop == len(event.steps):
        return event
    return Points(
        keys=event.keys,
        kind=event.kind,
        steps=event.steps[start:stop],
        times=event.times[start:stop],
        columns=[column[start:stop] for column in event.columns],
        progress=None if event.progress is None else event.progress[start:stop],
    )


def _keys_hash(kind: str, keys: tuple[str, ...]) -> str:
    return hashlib.blake2b(_encode((kind, keys)), digest_size=8).hexdigest()


def _stride(steps: Sequence[Scalar]) -> Scalar | None:
    """Return the constant distance between integer steps; None if it varies or a step is fractional."""
    if set(map(type, steps)) != {int}:
        return None
    if len(steps) == 1:
        return 1
    stride = steps[1] - steps[0]
    stop = steps[0] + stride * len(steps)
    if (
        stride
        and list(range(cast("int", steps[0]), cast("int", stop), cast("int", stride))) == steps
    ):
        return stride
    return 0 if not stride and min(steps) == max(steps) else None


def _strided(first: Scalar, stride: Scalar, count: int) -> list[Scalar]:
    return [first + stride * call for call in range(count)]


def _offsets(times: list[float], origin: float) -> str:
    return _encode([round((time - origin) * 1e6) for time in times]).decode()


def _figures(steps: list[Scalar], times: list[float], column: list[Scalar]) -> dict[str, Any]:
    figures = statistics(column)
    if len(steps) > 1 and all(a < b for a, b in pairwise(steps)):
        first, last = 0, len(steps) - 1
    else:
        places = range(len(steps))
        first = min(places, key=lambda i: (steps[i], times[i], i))
        last = max(places, key=lambda i: (steps[i], times[i], i))
    lowest, highest = figures["min"], figures["max"]
    return {
        **figures,
        "first": _or_none(column[first]),
        "first_step": steps[first],
        "first_time": times[first],
        "last": _or_none(column[last]),
        "last_step": steps[last],
        "last_time": times[last],
        "min_step": None if lowest is None else steps[column.index(lowest)],
        "max_step": None if highest is None else steps[column.index(highest)],
    }


def _or_none(value: Scalar) -> Scalar | None:
    """Return NaN as null, which plain SQL can handle."""
    return value if value == value else None
