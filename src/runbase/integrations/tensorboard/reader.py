"""Folders of TensorBoard event files: each folder that has some is a run, also one inside another.

Kept are scalars, texts, hyperparameters, histograms, images and sounds. The files say nothing about how the run ended: one whose files have been
still for three minutes counts as COMPLETED, and goes on when they grow again.
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
"""Runs may lie in runs."""
_LONGEST_NAME = 150
_BEGINNINGS = {b"\xff\xd8": ".jpg", b"GIF8": ".gif", b"RIFF": ".wav", b"\x89PNG": ".png"}
"""How files begin, and what they are called."""


def tells(folder: str, names: set[str]) -> list[str]:
    """Every event file."""
    del folder
    return sorted(n for n in names if "tfevents." in n and not n.endswith(".profile-empty"))


def read(folder: Path, names: Sequence[str], reached: Reached, keep: Keep) -> Folder:
    """What is new in each file: they are only ever appended to."""
    run = derived_id(NAME, str(folder))
    times = {name: (folder / name).stat().st_mtime for name in names}
    newest = max(times, key=lambda name: times[name])
    still = time.time() - times[newest] > STILL
    deliveries: list[Delivery] = []
    found = _Kept(run, keep)
    for number, name in enumerate(names):
        delivery = _file(
            folder, name, found, reached, first=number == 0, over=still and name == newest
        )
        if delivery is not None:
            deliveries.append(delivery)
    return Folder(run=run, deliveries=deliveries, live=not still, left_out=dict(found.left_out))


def _file(
    folder: Path, name: str, kept: "_Kept", reached: Reached, *, first: bool, over: bool
) -> Delivery | None:
    path, run = folder / name, kept.run
    changed = path.stat().st_mtime
    journal = derived_id(run, name)
    known = reached(journal)  # twice the bytes that were read; odd, where it was taken for over
    with path.open("rb") as file:
        file.seek(known // 2)
        told, problems = _events(path, known // 2, file.read())
    end = known // 2 + (told[-1][0] if told else 0)
    offset = 2 * end + (1 if over else 0)
    if offset <= known:
        return None
    found: list[Any] = []
    if known == 0:
        began = next((event.time for _, event in told if event is not None), changed)
        began = usable_time(began, changed)
        group, label = folder.parent.name or NAME, folder.name or NAME
        opened, _ = opening(run, name, group, label, began)
        found = [opened, Started(time=began, resumed=not first)]
    elif known % 2 and told:
        found = [Started(time=changed, resumed=True)]
    found += kept.observe([event for _, event in told if event is not None])
    if over:
        times = (event.time for _, event in told if event is not None)
        last = max((usable_time(time, changed) for time in times), default=changed)
        found.append(Ended(time=max(changed, last), status=Status.COMPLETED))
    return Delivery(
        run=run,
        events=found,
        journal=journal,
        start=known,
        offset=offset,
        file=name,
        problems=[*problems, *_unread(path, told)],
    )


def _events(path: Path, start: int, raw: bytes) -> tuple[list[Any], list[Problem]]:
    """Records, and where the framing is broken: what comes behind that cannot be read."""
    found: list[Any] = []
    try:
        found.extend(events(raw))
    except Damaged as damage:
        end = start + (found[-1][0] if found else 0)
        return found, [Problem(str(path), end, f"{damage}; what comes after it cannot be read")]
    return found, []


def _unread(path: Path, told: Sequence[tuple[int, Any]]) -> list[Problem]:
    return [Problem(str(path), None, "a damaged record") for _, event in told if event is None]


class _Kept:
    """What is kept of the events of a run.

    Args:
        run: the run's id.
        keep: makes a file of bytes.
    """

    def __init__(self, run: str, keep: Keep) -> None:
        self.run, self._keep = run, keep
        self.left_out: Counter[str] = Counter()

    def observe(self, told: Sequence[TensorBoardEvent]) -> list[Any]:
        """Events as runbase's: each tag's points together."""
        params: dict[str, Any] = {}
        columns: dict[str, tuple[list[Scalar], list[float], list[Scalar]]] = {}
        records: list[Any] = []
        for event in told:
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
        found: list[Any] = (
            [Params(time=usable_time(told[0].time, 0.0), values=params)] if params else []
        )
        found += [
            Points(keys=(tag,), steps=steps, times=times, columns=[values])
            for tag, (steps, times, values) in columns.items()
        ]
        return found + records

    def _media(self, event: TensorBoardEvent) -> Iterator[Any]:
        """Pictures and sounds, as files."""
        tags = Counter(one.tag for one in event.media)
        seen: Counter[str] = Counter()
        for one in event.media:
            number = seen[one.tag]
            seen[one.tag] += 1
            key = f"{one.tag}/{number}" if tags[one.tag] > 1 else one.tag
            name = f"media/{_file_name(key)}.{event.step}{_suffix(one)}"
            uri = self._keep(self.run, name, one.data)
            if uri is None:
                self.left_out[f"{one.kind} (a store without a folder has no place for it)"] += 1
                continue
            yield RecordLogged(time=event.time, key=key, kind=one.kind, step=event.step, path=name)
            yield ArtifactLogged(
                time=event.time,
                path=name,
                kind="media",
                uri=uri,
                size=len(one.data),
                sha256=hashlib.sha256(one.data).hexdigest(),
                step=event.step,
            )


def _file_name(key: str) -> str:
    """A tag as the name of a file, below the run's folder whatever it says."""
    parts = [part for part in key.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    return safe_name("/".join(parts) or "unnamed")[:_LONGEST_NAME]


def _suffix(one: Media) -> str:
    for start, suffix in _BEGINNINGS.items():
        if one.data.startswith(start):
            return suffix
    return ".wav" if one.kind == "audio" else ".png"
