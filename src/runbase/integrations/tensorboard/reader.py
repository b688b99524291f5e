"""Read folders of TensorBoard event files: each folder with event files is a run, also inside another one.

Imported are scalars, texts, hyperparameters, histograms, images and audio. The files do not record how the run
ended: a run whose files have not changed for three minutes is COMPLETED, and is resumed when they grow again.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from runbase.artifacts.files import safe_name
from runbase.events import (
    ArtifactLogged,
    Ended,
    Params,
    Points,
    Problem,
    RecordLogged,
    Scalar,
    Started,
)
from runbase.ids import derived_id
from runbase.ingest.folders import STILL, Folder, Keep, Reached, opening
from runbase.integrations.tensorboard.tfevents import Damaged, Media, TensorBoardEvent, events
from runbase.journal.validation import usable_time
from runbase.status import Status
from runbase.storage.types import Delivery

NAME = "tensorboard"
NESTED = True
"""Runs can be inside the folders of other runs."""
_LONGEST_NAME = 150
_BEGINNINGS = {b"\xff\xd8": ".jpg", b"GIF8": ".gif", b"RIFF": ".wav", b"\x89PNG": ".png"}
"""The first bytes of a file → its suffix."""


def tells(folder: str, names: set[str]) -> list[str]:
    """Return the event files of a folder."""
    del folder
    return sorted(n for n in names if "tfevents." in n and not n.endswith((".profile-empty", "/")))


def read(folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
    """Read what is new in each file; event files are only appended to."""
    run = derived_id(NAME, str(folder))
    times = {name: (folder / name).stat().st_mtime for name in names}
    newest = max(times, key=lambda name: times[name])
    still = time.time() - times[newest] > STILL
    deliveries: list[Delivery] = []
    converter = _Kept(run, keep)
    for number, name in enumerate(names):
        delivery = _file(
            folder, name, converter, reached, first=number == 0, over=still and name == newest
        )
        if delivery is not None:
            deliveries.append(delivery)
    return Folder(run=run, deliveries=deliveries, live=not still, left_out=dict(converter.left_out))


def _file(
    folder: Path, name: str, kept: "_Kept", reached: Reached, *, first: bool, over: bool
) -> Delivery | None:
    path, run = folder / name, kept.run
    changed = path.stat().st_mtime
    journal = derived_id(run, name)
    known = reached(journal)  # twice the number of bytes read; odd if the run was considered ended
    with path.open("rb") as file:
        file.seek(known // 2)
        decoded, problems = _events(path, known // 2, file.read())
    end = known // 2 + (decoded[-1][0] if decoded else 0)
    offset = 2 * end + (1 if over else 0)
    if offset <= known:
        return None
    new_events: list[Any] = []
    if known == 0:
        began = next((event.time for _, event in decoded if event is not None), changed)
        began = usable_time(began, changed)
        group, label = folder.parent.name or NAME, folder.name or NAME
        opened, _ = opening(run, name, group, label, began)
        new_events = [opened, Started(time=began, resumed=not first)]
    elif known % 2 and decoded:
        new_events = [Started(time=changed, resumed=True)]
    new_events += kept.observe([event for _, event in decoded if event is not None])
    if over:
        times = (event.time for _, event in decoded if event is not None)
        last = max((usable_time(time, changed) for time in times), default=changed)
        new_events.append(Ended(time=max(changed, last), status=Status.COMPLETED))
    return Delivery(
        run=run,
        events=new_events,
        journal=journal,
        start=known,
        offset=offset,
        file=name,
        problems=[*problems, *_unread(path, decoded)],
    )


def _events(path: Path, start: int, raw: bytes) -> tuple[list[Any], list[Problem]]:
    """Return the records, and a problem if the framing is damaged: later records cannot be read."""
    records: list[Any] = []
    try:
        records.extend(events(raw))
    except Damaged as damage:
        end = start + (records[-1][0] if records else 0)
        return records, [Problem(str(path), end, f"{damage}; later records cannot be read")]
    return records, []


def _unread(path: Path, decoded: Sequence[tuple[int, Any]]) -> list[Problem]:
    return [Problem(str(path), None, "a damaged record") for _, event in decoded if event is None]


class _Kept:
    """Converts the events of a run.

    Args:
        run: the id of the run.
        keep: writes bytes to a file.
    """

    def __init__(self, run: str, keep: Keep) -> None:
        self.run, self._keep = run, keep
        self.left_out: Counter[str] = Counter()

    def observe(self, decoded: Sequence[TensorBoardEvent]) -> list[Any]:
        """Return events of runbase, with the points of each tag together."""
        params: dict[str, Any] = {}
        columns: dict[str, tuple[list[Scalar], list[float], list[Scalar]]] = {}
        records: list[Any] = []
        for event in decoded:
            params |= event.params
            for tag, value in event.scalars.items():
                steps, times, values = columns.setdefault(tag, ([], [], []))
                steps.append(event.step)
                times.append(event.time)
                values.append(value)
            for kind, entries in (("text", event.texts), ("histogram", event.histograms)):
                records += [
                    RecordLogged(time=event.time, key=tag, kind=kind, step=event.step, value=value)
                    for tag, value in entries.items()
                ]
            records += self._media(event)
            self.left_out.update(event.left_out)
        converted: list[Any] = (
            [Params(time=usable_time(decoded[0].time, 0.0), values=params)] if params else []
        )
        converted += [
            Points(keys=(tag,), steps=steps, times=times, columns=[values])
            for tag, (steps, times, values) in columns.items()
        ]
        return converted + records

    def _media(self, event: TensorBoardEvent) -> Iterator[Any]:
        """Yield images and audio as files."""
        tags = Counter(media.tag for media in event.media)
        seen: Counter[str] = Counter()
        for media in event.media:
            number = seen[media.tag]
            seen[media.tag] += 1
            key = f"{media.tag}/{number}" if tags[media.tag] > 1 else media.tag
            name = f"media/{_file_name(key)}.{event.step}{_suffix(media)}"
            uri = self._keep(self.run, name, media.data)
            if uri is None:
                self.left_out[f"{media.kind} (the store has no folder for files)"] += 1
                continue
            yield RecordLogged(
                time=event.time, key=key, kind=media.kind, step=event.step, path=name
            )
            yield ArtifactLogged(
                time=event.time,
                path=name,
                kind="media",
                uri=uri,
                size=len(media.data),
                sha256=hashlib.sha256(media.data).hexdigest(),
                step=event.step,
            )


def _file_name(key: str) -> str:
    """Return a file name for a tag that is always inside the run's folder."""
    parts = [part for part in key.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return safe_name("/".join(parts) or "unnamed")[:_LONGEST_NAME]


def _suffix(media: Media) -> str:
    for start, suffix in _BEGINNINGS.items():
        if media.data.startswith(start):
            return suffix
    return ".wav" if media.kind == "audio" else ".png"
