"""stable-pretraining's run folders: sidecar.json, heartbeat, metrics.csv, media.jsonl.

Of its registry only last values were kept; here the curves come along, from metrics.csv.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from runbase.events import (
    ArtifactLogged,
    Ended,
    Noted,
    Params,
    Points,
    Problem,
    RecordLogged,
    Started,
    Tags,
)
from runbase.ids import derived_id
from runbase.registry.formats.base import (
    Folder,
    Keep,
    Reached,
    Unreadable,
    opening,
    rows_to_points,
)
from runbase.status import Status
from runbase.storage.records import Delivery
from runbase.untrusted import csv_rows, is_inside
from runbase.validation import usable_time
from runbase.values import flatten

NAME = "stable-pretraining"
_SIDECAR, _METRICS, _MEDIA = "sidecar.json", "metrics.csv", "media.jsonl"
_ENDED = {
    "completed": Status.COMPLETED,
    "failed": Status.FAILED,
    "interrupted": Status.CANCELLED,
    "orphaned": Status.NODE_FAIL,
}


def tells(folder: str, names: set[str]) -> list[str]:
    """The sidecar, and what lies beside it."""
    del folder
    return (
        [name for name in (_SIDECAR, _METRICS, _MEDIA) if name in names]
        if _SIDECAR in names
        else []
    )


def read(folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
    """The sidecar when it changed, and the rows of the curves that are new."""
    del keep
    try:
        told: Any = json.loads((folder / _SIDECAR).read_bytes())
    except (ValueError, RecursionError) as wrong:
        raise Unreadable(f"{_SIDECAR} is damaged or half-written: {wrong}") from None
    if not isinstance(told, dict) or "run_id" not in told:
        raise Unreadable(f"{_SIDECAR} names no run")
    told = cast("dict[str, Any]", told)
    name = str(told["run_id"])
    run = derived_id(NAME, name)
    status = str(told.get("status") or "running")
    return Folder(
        run=run,
        deliveries=_deliveries(folder, names, told, run, reached),
        source_status=status,
        checkpoint=_checkpoint(told),
    )


def _deliveries(
    folder: Path, names: Sequence[str], told: dict[str, Any], run: str, reached: Reached
) -> Iterator[Delivery]:
    began = usable_time(told.get("created_at"), (folder / _SIDECAR).stat().st_mtime)
    parts = folder.parts
    experiment = "runs"
    if "runs" in parts[:-1]:  # {cache_dir}/runs/**/{run_id}: what is between names the group
        between = parts[len(parts) - 1 - parts[::-1].index("runs") + 1 : -1]
        experiment = "/".join(between) or "runs"
    elif len(parts) > 1:
        experiment = parts[-2]
    name = str(told["run_id"])
    if _METRICS in names:
        yield from _curves(folder / _METRICS, run, experiment, name, began, told, reached)
    if _MEDIA in names:
        yield from _media(folder, run, experiment, name, began, reached)
    updated = usable_time(told.get("updated_at"), (folder / _SIDECAR).stat().st_mtime)
    version = int(updated * 1e6)
    first, journal = opening(run, _SIDECAR, experiment, name, began)
    known = reached(journal)
    if version <= known:
        return
    events: list[Any] = [first] if not known else []
    if not known:
        events.append(Started(time=began))
    events += _said(folder, names, told, began)
    status = str(told.get("status") or "running")
    if status in _ENDED:
        end = usable_time(told.get("ended_at"), updated)
        events.append(Ended(time=end, status=_ENDED[status]))
    yield Delivery(
        run=run, events=events, journal=journal, start=known, offset=version, file=_SIDECAR
    )


def _said(folder: Path, names: Sequence[str], told: dict[str, Any], began: float) -> Iterator[Any]:
    """What the sidecar says beside the run's state."""
    params = dict(flatten(told.get("hparams") or {}))
    if params:
        yield Params(time=began, values=params)
    if told.get("tags"):
        yield Tags(time=began, set={str(tag): None for tag in told["tags"]})
    if told.get("notes"):
        yield Noted(time=began, text=str(told["notes"]))
    now = usable_time(told.get("updated_at"), began)
    if _METRICS not in names and told.get("summary"):
        numbers = {k: float(v) for k, v in told["summary"].items() if isinstance(v, int | float)}
        if numbers:
            columns: Any = [[value] for value in numbers.values()]
            yield Points(keys=tuple(numbers), steps=[0], times=[now], columns=columns)
    if told.get("checkpoint_path"):
        path = Path(str(told["checkpoint_path"]))
        place = path if path.is_absolute() else folder / path
        if place.exists() and is_inside(place, _root_of(folder)):
            yield (
                ArtifactLogged(
                    time=now,
                    path=str(_checkpoint(told)),
                    kind="checkpoint",
                    uri=str(place),
                    size=place.stat().st_size,
                )
            )


def _root_of(folder: Path) -> Path:
    """The folder that holds the runs and their checkpoints: what is above `runs`, else the next one."""
    parts = folder.parts
    if "runs" in parts[:-1]:
        return Path(*parts[: len(parts) - 1 - parts[::-1].index("runs")])
    return folder.parent


def _checkpoint(told: Mapping[str, Any]) -> str | None:
    """The artifact's name that its checkpoint has with us."""
    path = told.get("checkpoint_path")
    return f"checkpoints/{Path(str(path)).name}" if path else None


def _curves(
    path: Path,
    run: str,
    experiment: str,
    name: str,
    began: float,
    told: dict[str, Any],
    reached: Reached,
) -> Iterator[Delivery]:
    """Rows of metrics.csv. Columns are added to it as metrics appear, so rows are counted, and not bytes."""
    first, journal = opening(run, _METRICS, experiment, name, began)
    known = reached(journal)
    problems: list[str] = []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = list(csv_rows(file, problems.append))
    if rows and not _whole(path):
        rows.pop()  # the last line is still being written
    if len(rows) <= known:
        return
    changed = path.stat().st_mtime
    when = min(usable_time(told.get("updated_at"), changed), changed)
    points = list(rows_to_points(rows[known:], "step", known, when))
    events: list[Any] = [*([] if known else [first]), *points]
    yield Delivery(
        run=run,
        events=events,
        journal=journal,
        start=known,
        offset=len(rows),
        file=_METRICS,
        problems=[Problem(str(path), None, problem) for problem in problems],
    )


def _media(
    folder: Path, run: str, experiment: str, name: str, began: float, reached: Reached
) -> Iterator[Delivery]:
    first, journal = opening(run, _MEDIA, experiment, name, began)
    known = reached(journal)
    raw = (folder / _MEDIA).read_bytes()
    lines = raw[: raw.rfind(b"\n") + 1].splitlines()
    events: list[Any] = [] if known else [first]
    when = (folder / _MEDIA).stat().st_mtime
    damaged: list[Problem] = []
    for line in lines[known:]:
        try:
            told = json.loads(line)
            path = folder / str(told["path"])
            path.resolve().relative_to(folder.resolve())
        except (ValueError, KeyError, TypeError, RecursionError):
            shown = line[:100].decode("utf-8", "replace")
            damaged.append(Problem(str(folder / _MEDIA), None, "not a record of a file", shown))
            continue
        key = str(told.get("key") or told.get("tag") or told.get("name") or path.stem)
        kind = "video" if str(told.get("type") or told.get("kind")) == "video" else "image"
        events.append(
            RecordLogged(
                time=usable_time(told.get("time"), when),
                key=key,
                kind=kind,
                step=int(told.get("step") or 0),
                path=str(told["path"]),
            )
        )
    if len(lines) > known:
        yield Delivery(
            run=run,
            events=events,
            journal=journal,
            start=known,
            offset=len(lines),
            file=_MEDIA,
            problems=damaged,
        )


def _whole(path: Path) -> bool:
    """Whether its last line has been ended."""
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"
