"""stable-pretraining's run folders: sidecar.json, heartbeat, metrics.csv, media.jsonl.

Of its registry only last values were kept; here the curves come along, from metrics.csv.
"""

import json
import zlib
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
from runbase.ingest.folders import (
    Folder,
    Keep,
    Reached,
    Unreadable,
    opening,
    read_table,
    rows_to_points,
)
from runbase.ingest.untrusted import is_inside
from runbase.journal.validation import usable_time
from runbase.status import Status
from runbase.storage.types import Delivery
from runbase.values import flatten

NAME = "stable-pretraining"
SCOPE = "sidecar"
"""The scope of attributes for what else the sidecar says: `display_name`, `archived`, and fields that we do not know."""
_FIELDS = {
    *("schema_version", "run_id", "run_dir", "status", "created_at", "ended_at", "updated_at"),
    *("tags", "notes", "hparams", "summary", "checkpoint_path"),
}
"""The fields of the sidecar that have a place of their own."""
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
    raw = (folder / _SIDECAR).read_bytes()
    try:
        told: Any = json.loads(raw)
    except (ValueError, RecursionError) as wrong:
        raise Unreadable(f"{_SIDECAR} is damaged or half-written: {wrong}") from None
    if not isinstance(told, dict) or "run_id" not in told:
        raise Unreadable(f"{_SIDECAR} names no run")
    told = cast("dict[str, Any]", told)
    name = str(told["run_id"])
    run = derived_id(NAME, name)
    return Folder(
        run=run,
        deliveries=_deliveries(folder, names, told, raw, run, reached),
        source_status=str(told.get("status") or "running"),
        checkpoint=_checkpoint(told),
        scope=SCOPE,
        attributes={
            **{key: value for key, value in told.items() if key not in _FIELDS},
            "tags": _tags(told),
        },
    )


def _deliveries(
    folder: Path,
    names: Sequence[str],
    told: dict[str, Any],
    raw: bytes,
    run: str,
    reached: Reached,
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
    status = str(told.get("status") or "running")
    busy: Unreadable | None = None
    if _METRICS in names:
        try:
            yield from _curves(folder / _METRICS, run, experiment, name, began, told, reached)
        except Unreadable as wrong:  # the rest of the folder need not wait for it
            busy = wrong
    if _MEDIA in names:
        yield from _media(folder, run, experiment, name, began, reached)
    updated = usable_time(told.get("updated_at"), (folder / _SIDECAR).stat().st_mtime)
    first, journal = opening(run, _SIDECAR, experiment, name, began)
    known = reached(journal)
    version, content = divmod(known, 2**32)  # an odd version: it said that the run is over
    over = status in _ENDED
    if not known or content != zlib.crc32(raw):
        events: list[Any] = [first, Started(time=began)] if not known else []
        events += _said(folder, names, told, began)
        if over:
            end = usable_time(told.get("ended_at"), updated)
            events.append(Ended(time=end, status=_ENDED[status]))
        elif version % 2:
            events.append(Started(time=updated, resumed=True))
        yield Delivery(
            run=run,
            events=events,
            journal=journal,
            start=known,
            offset=(2 * (version // 2 + 1) + over) * 2**32 + zlib.crc32(raw),
            file=_SIDECAR,
        )
    if busy is not None:
        raise busy


def _said(folder: Path, names: Sequence[str], told: dict[str, Any], began: float) -> Iterator[Any]:
    """What the sidecar says beside the run's state."""
    params = dict(flatten(told.get("hparams") or {}))
    if params:
        yield Params(time=began, values=params)
    tags: dict[str, str | None] = dict.fromkeys(_tags(told))
    archived = bool(told.get("archived"))
    if tags or archived or "archived" in told:
        more: dict[str, str | None] = {"archived": None} if archived else {}
        yield Tags(time=began, set={**tags, **more}, remove=() if archived else ("archived",))
    if told.get("notes"):
        yield Noted(time=began, text=str(told["notes"]))
    now = usable_time(told.get("updated_at"), began)
    over = (
        str(told.get("status")) in _ENDED
    )  # before that, metrics.csv may still come, with the same values
    if over and _METRICS not in names and told.get("summary"):
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


def _tags(told: Mapping[str, Any]) -> list[str]:
    tags: list[Any] = told.get("tags") or []
    return [str(tag) for tag in tags]


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
    table = read_table(path, known, over=str(told.get("status")) in _ENDED)
    if not table.new:
        return
    when = min(usable_time(told.get("updated_at"), table.changed), table.changed)
    points = list(rows_to_points(table.new, "step", table.first, when))
    yield Delivery(
        run=run,
        events=[*([] if known else [first]), *points],
        journal=journal,
        start=known,
        offset=table.reached,
        file=_METRICS,
        problems=[Problem(str(path), None, problem) for problem in table.problems],
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
