"""The first line of a journal, and what is read from one."""

import time
from pathlib import Path
from typing import Any

import pytest

from runbase.events import JournalEvent, Opened, Points, Process
from runbase.journal.reader import batches


def head() -> Opened:
    return Opened(
        time=time.time(),
        version=1,
        journal="journal-id",
        run="run-id",
        experiment="e",
        name="n",
        process=Process("host", 1),
    )


def plain(value: Any) -> Any:
    """A form in which NaN equals itself, and 1 is not 1.0."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return (type(value).__name__, repr(value))


def everything(path: Path) -> tuple[list[JournalEvent | Points], list[str], int]:
    events: list[JournalEvent | Points] = []
    problems: list[str] = []
    torn = 0
    for batch in batches(path, size=4096):
        events += batch.events
        problems += [str(problem) for problem in batch.problems]
        torn = batch.torn
    return events, problems, torn


def everything_of(data: bytes, factory: pytest.TempPathFactory) -> Any:
    path = factory.mktemp("whole") / "journal.jsonl"
    path.write_bytes(data)
    return everything(path)


def rows(events: list[Any]) -> list[tuple[Any, ...]]:
    found = []
    for event in events:
        if isinstance(event, Points):
            progress = event.progress or [None] * len(event.steps)
            for i, step in enumerate(event.steps):
                values = {k: event.columns[j][i] for j, k in enumerate(event.keys)}
                found.append((step, values, progress[i]))
    return found


def count(events: list[Any]) -> int:
    return sum(len(e.steps) if isinstance(e, Points) else 1 for e in events)
