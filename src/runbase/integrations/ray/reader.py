"""Read folders of trials of Ray Tune: params.json, result.json with a line for each result, and error.txt.

A trial with error.txt is FAILED. Its files need not record another end: a trial whose files have not changed for three
minutes is COMPLETED, and is resumed when they grow again.
"""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from msgspec import Struct

from runbase.events import Ended, Params, Points, Problem, Started
from runbase.ids import derived_id
from runbase.ingest.folders import STILL, Folder, Keep, Reached, opening
from runbase.integrations.held import numbers
from runbase.integrations.ray.terms import OWN, error_text
from runbase.journal.validation import usable_time
from runbase.status import Status
from runbase.storage.types import Delivery
from runbase.typing import JsonObject
from runbase.values import flatten

NAME = "ray-tune"
_RESULTS, _PARAMS, _ERROR = "result.json", "params.json", "error.txt"
_ALIVE, _STILL, _DONE, _FAILED = range(4)
"""How a trial was found, in the lowest bits of the position."""
_LONGEST_SHOWN = 100


def tells(folder: str, names: set[str]) -> list[str]:
    """Return the known files of a folder; none without parameters, or without results and an error."""
    del folder
    if _PARAMS not in names or not names & {_RESULTS, _ERROR}:
        return []
    return [name for name in (_PARAMS, _RESULTS, _ERROR) if name in names]


class _Results(Struct, frozen=True):
    """New results: the lines, how many bytes of the file are read with them, and lines that cannot be read."""

    rows: list[JsonObject]
    end: int
    problems: list[Problem]


def read(folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
    """Read new results, and with the first of them the parameters."""
    del keep
    run = derived_id(NAME, str(folder))
    times = {name: (folder / name).stat().st_mtime for name in names}
    began, changed = min(times.values()), max(times.values())
    experiment = folder.parent.name or NAME
    first, journal = opening(run, _RESULTS, experiment, folder.name or NAME, began)
    known = reached(journal)  # 0: never read; else 1 + four times the bytes + how it was found
    start, before = divmod(max(known - 1, 0), 4)
    results = _results(folder / _RESULTS, start) if _RESULTS in names else _Results([], 0, [])
    state = _state(times, results.rows)
    if before == _DONE and not results.rows and state != _FAILED:
        state = _DONE  # the last result said so
    offset = 1 + 4 * results.end + state
    events: list[Any] = []
    problems = list(results.problems)
    if known == 0:
        events = [first, Started(time=began)]
        params, problem = _params(folder / _PARAMS)
        problems += problem
        if params:
            events.append(Params(time=began, values=params))
    elif before != _ALIVE and (results.rows or state == _ALIVE):
        events.append(Started(time=changed, resumed=True))
    events += _points(results.rows, changed)
    if state != _ALIVE and (events or state != before):
        events.append(_end(folder, state, changed))
    if offset == known or not (events or problems):
        return Folder(run=run, deliveries=[], live=state == _ALIVE)
    delivery = Delivery(
        run=run,
        events=events,
        journal=journal,
        start=known,
        offset=offset,
        file=_RESULTS,
        problems=problems,
    )
    return Folder(run=run, deliveries=[delivery], live=state == _ALIVE)


def _results(path: Path, start: int) -> _Results:
    """Read the complete lines after a position."""
    with path.open("rb") as file:
        file.seek(start)
        raw = file.read()
    raw = raw[: raw.rfind(b"\n") + 1]
    rows: list[JsonObject] = []
    problems: list[Problem] = []
    place = start
    for line in raw.splitlines(keepends=True):
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict):
            rows.append(cast("JsonObject", row))
        else:
            shown = line[:_LONGEST_SHOWN].decode("utf-8", "replace")
            problems.append(Problem(str(path), place, "not a valid result", shown))
        place += len(line)
    return _Results(rows, start + len(raw), problems)


def _state(times: dict[str, float], new: Sequence[JsonObject]) -> int:
    """Return how a trial is found; a trial that has results after its error goes on."""
    if _ERROR in times and times[_ERROR] >= times.get(_RESULTS, 0.0):
        return _FAILED
    if new and new[-1].get("done") is True:
        return _DONE
    return _STILL if time.time() - max(times.values()) > STILL else _ALIVE


def _points(rows: Sequence[JsonObject], changed: float) -> list[Points]:
    """Return the numbers of results at their iterations."""
    points: list[Points] = []
    for number, row in enumerate(rows):
        figures = numbers({key: value for key, value in row.items() if key not in OWN})
        if not figures:
            continue
        keys = tuple(figures)
        if not points or points[-1].keys != keys:
            points.append(Points(keys=keys, steps=[], times=[], columns=[[] for _ in keys]))
        step = row.get("training_iteration")
        points[-1].steps.append(step if isinstance(step, int) else number)
        points[-1].times.append(usable_time(row.get("timestamp"), changed))
        for column, value in zip(points[-1].columns, figures.values(), strict=True):
            column.append(value)
    return points


def _params(path: Path) -> tuple[JsonObject, list[Problem]]:
    """Return the configuration of a trial, flattened, and a problem if it cannot be read."""
    try:
        values: Any = json.loads(path.read_bytes())
        return dict(flatten(cast("JsonObject", values))), []
    except (ValueError, RecursionError, AttributeError) as wrong:
        return {}, [Problem(str(path), None, f"not valid parameters: {wrong}")]


def _end(folder: Path, state: int, changed: float) -> Ended:
    if state != _FAILED:
        return Ended(time=changed, status=Status.COMPLETED)
    return Ended(time=changed, status=Status.FAILED, error=_error(folder / _ERROR))


def _error(path: Path) -> JsonObject:
    """Return an error as runs have them: the last line is that of the exception, the rest its traceback."""
    text = error_text(path)
    kind, colon, message = text.splitlines()[-1].partition(": ")
    if colon and kind.replace(".", "").isidentifier():
        return {"type": kind, "message": message, "traceback": text}
    return {"type": "", "message": text, "traceback": ""}
