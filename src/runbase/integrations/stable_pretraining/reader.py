"""Read run folders of stable-pretraining: sidecar.json, heartbeat, metrics.csv, media.jsonl.

Its own registry stores only last values; this reader also imports the curves from metrics.csv.
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
"""The attribute scope for other fields of the sidecar: `display_name`, `archived`, and unknown ones."""
_FIELDS = {
    *("schema_version", "run_id", "run_dir", "status", "created_at", "ended_at", "updated_at"),
    *("tags", "notes", "hparams", "summary", "checkpoint_path"),
}
"""The fields of the sidecar that are imported as fields of the run."""
_SIDECAR, _METRICS, _MEDIA = "sidecar.json", "metrics.csv", "media.jsonl"
_ENDED = {
    "completed": Status.COMPLETED,
    "failed": Status.FAILED,
    "interrupted": Status.CANCELLED,
    "orphaned": Status.NODE_FAIL,
}


def tells(folder: str, names: set[str]) -> list[str]:
    """Return the sidecar and the known files next to it; none without a sidecar."""
    del folder
    return (
        [name for name in (_SIDECAR, _METRICS, _MEDIA) if name in names]
        if _SIDECAR in names
        else []
    )


def read(folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
    """Read the sidecar if it changed, and the new rows of the curves."""
    del keep
    raw = (folder / _SIDECAR).read_bytes()
    try:
        sidecar: Any = json.loads(raw)
    except (ValueError, RecursionError) as wrong:
        raise Unreadable(f"{_SIDECAR} is damaged or incomplete: {wrong}") from None
    if not isinstance(sidecar, dict) or "run_id" not in sidecar:
        raise Unreadable(f"{_SIDECAR} names no run")
    sidecar = cast("dict[str, Any]", sidecar)
    name = str(sidecar["run_id"])
    run = derived_id(NAME, name)
    return Folder(
        run=run,
        deliveries=_deliveries(folder, names, sidecar, raw, run, reached),
        source_status=str(sidecar.get("status") or "running"),
        checkpoint=_checkpoint(sidecar),
        scope=SCOPE,
        attributes={
            **{key: value for key, value in sidecar.items() if key not in _FIELDS},
            "tags": _tags(sidecar),
        },
    )


def _deliveries(
    folder: Path,
    names: Sequence[str],
    sidecar: dict[str, Any],
    raw: bytes,
    run: str,
    reached: Reached,
) -> Iterator[Delivery]:
    began = usable_time(sidecar.get("created_at"), (folder / _SIDECAR).stat().st_mtime)
    parts = folder.parts
    experiment = "runs"
    if "runs" in parts[:-1]:  # {cache_dir}/runs/**/{run_id}: the folders in between are the group
        between = parts[len(parts) - 1 - parts[::-1].index("runs") + 1 : -1]
        experiment = "/".join(between) or "runs"
    elif len(parts) > 1:
        experiment = parts[-2]
    name = str(sidecar["run_id"])
    status = str(sidecar.get("status") or "running")
    busy: Unreadable | None = None
    if _METRICS in names:
        try:
            yield from _curves(folder / _METRICS, run, experiment, name, began, sidecar, reached)
        except Unreadable as wrong:  # read the rest of the folder first
            busy = wrong
    if _MEDIA in names:
        yield from _media(folder, run, experiment, name, began, reached)
    updated = usable_time(sidecar.get("updated_at"), (folder / _SIDECAR).stat().st_mtime)
    first, journal = opening(run, _SIDECAR, experiment, name, began)
    known = reached(journal)
    version, content = divmod(known, 2**32)  # an odd version: the run had ended
    over = status in _ENDED
    if not known or content != zlib.crc32(raw):
        events: list[Any] = [first, Started(time=began)] if not known else []
        events += _said(folder, names, sidecar, began)
        if over:
            end = usable_time(sidecar.get("ended_at"), updated)
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


def _said(
    folder: Path, names: Sequence[str], sidecar: dict[str, Any], began: float
) -> Iterator[Any]:
    """Yield the events for the sidecar's fields other than the status."""
    params = dict(flatten(sidecar.get("hparams") or {}))
    if params:
        yield Params(time=began, values=params)
    tags: dict[str, str | None] = dict.fromkeys(_tags(sidecar))
    archived = bool(sidecar.get("archived"))
    if tags or archived or "archived" in sidecar:
        more: dict[str, str | None] = {"archived": None} if archived else {}
        yield Tags(time=began, set={**tags, **more}, remove=() if archived else ("archived",))
    if sidecar.get("notes"):
        yield Noted(time=began, text=str(sidecar["notes"]))
    now = usable_time(sidecar.get("updated_at"), began)
    over = (
        str(sidecar.get("status")) in _ENDED
    )  # before the end, metrics.csv may still be written, with the same values
    if over and _METRICS not in names and sidecar.get("summary"):
        numbers = {k: float(v) for k, v in sidecar["summary"].items() if isinstance(v, int | float)}
        if numbers:
            columns: Any = [[value] for value in numbers.values()]
            yield Points(keys=tuple(numbers), steps=[0], times=[now], columns=columns)
    if sidecar.get("checkpoint_path"):
        path = Path(str(sidecar["checkpoint_path"]))
        place = path if path.is_absolute() else folder / path
        if place.exists() and is_inside(place, _root_of(folder)):
            yield (
                ArtifactLogged(
                    time=now,
                    path=str(_checkpoint(sidecar)),
                    kind="checkpoint",
                    uri=str(place),
                    size=place.stat().st_size,
                )
            )


def _tags(sidecar: Mapping[str, Any]) -> list[str]:
    tags: list[Any] = sidecar.get("tags") or []
    return [str(tag) for tag in tags]


def _root_of(folder: Path) -> Path:
    """Return the folder with the runs and their checkpoints: the parent of `runs`, else of the folder."""
    parts = folder.parts
    if "runs" in parts[:-1]:
        return Path(*parts[: len(parts) - 1 - parts[::-1].index("runs")])
    return folder.parent


def _checkpoint(sidecar: Mapping[str, Any]) -> str | None:
    """Return the artifact name of the checkpoint, or None."""
    path = sidecar.get("checkpoint_path")
    return f"checkpoints/{Path(str(path)).name}" if path else None


def _curves(
    path: Path,
    run: str,
    experiment: str,
    name: str,
    began: float,
    sidecar: dict[str, Any],
    reached: Reached,
) -> Iterator[Delivery]:
    """Read rows of metrics.csv. It is rewritten when columns are added, so the position counts rows, not bytes."""
    first, journal = opening(run, _METRICS, experiment, name, began)
    known = reached(journal)
    table = read_table(path, known, over=str(sidecar.get("status")) in _ENDED)
    if not table.new:
        return
    when = min(usable_time(sidecar.get("updated_at"), table.changed), table.changed)
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
            entry = json.loads(line)
            path = folder / str(entry["path"])
            path.resolve().relative_to(folder.resolve())
        except (ValueError, KeyError, TypeError, RecursionError):
            shown = line[:100].decode("utf-8", "replace")
            damaged.append(
                Problem(str(folder / _MEDIA), None, "not a valid record of a file", shown)
            )
            continue
        key = str(entry.get("key") or entry.get("tag") or entry.get("name") or path.stem)
        kind = "video" if str(entry.get("type") or entry.get("kind")) == "video" else "image"
        events.append(
            RecordLogged(
                time=usable_time(entry.get("time"), when),
                key=key,
                kind=kind,
                step=int(entry.get("step") or 0),
                path=str(entry["path"]),
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
