"""Convert the history rows of a W&B run to points and media records."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from runbase.events import Scalar
from runbase.ingest.foreign import ImportedRecord
from runbase.ingest.protobuf import fields

_MEDIA = {"image-file": "image", "audio-file": "audio", "video-file": "video"}
_SEVERAL = {"images/separated": "image", "audio": "audio", "videos": "video"}
"""The types of lists of media; their members are in a list of this name, or their files in `filenames`."""
_OWN = ("_step", "_timestamp", "_runtime", "_wandb")
_LARGEST_DOCUMENT = 2**24
"""The maximum size in bytes of a table or plot file that is imported as a record; a larger one remains a file."""


class Rows:
    """Collects what was logged, by metric."""

    def __init__(self) -> None:
        self.types: dict[str, str] = {}
        self.texts: list[tuple[float, Scalar, str, Any]] = []
        self.records: list[ImportedRecord] = []
        self.latest = 0.0
        self._step: Scalar = 0
        self._metrics: dict[str, list[tuple[float, Scalar, float]]] = {}
        self._summary: dict[tuple[str, ...], bytes] = {}

    def take(self, raw: bytes, files: Path) -> None:
        """Add a HistoryRecord."""
        row: dict[str, Any] = {}
        step: Scalar = 0
        for number, part in fields(raw):
            if number == 1:
                path, value = _item(part)
                place = row
                for key in path[:-1]:
                    place = place.setdefault(key, {})
                place[path[-1]] = value
            elif number == 2:
                step = dict(fields(part)).get(1, 0)
        when = float(row.get("_timestamp") or self.latest)
        self._step = row.get("_step", step)
        self.latest = max(self.latest, when)
        for key, value in row.items():
            if key not in _OWN:
                self._keep(key, value, when, files)

    def summarise(self, raw: bytes) -> None:
        """Add a SummaryRecord; it is decoded when the end of the run is known."""
        for number, part in fields(raw):
            item = list(fields(part)) if number in (1, 2) else []
            path = [v for n, v in item if n == 2] or [v for n, v in item if n == 1]
            key = tuple(part.decode() for part in path)
            if number == 2:
                self._summary.pop(key, None)
            elif number == 1:
                self._summary[key] = dict(item).get(16, b"null")

    def points(self, end: float | None) -> dict[str, list[tuple[float, Scalar, float]]]:
        """Return metric → points; for an ended run, a value that is only in the summary is a point at the last step."""
        if end is None:  # a summary is written before its history row
            return self._metrics
        known = {*self._metrics, *(text[2] for text in self.texts), *(r.key for r in self.records)}
        for path, raw in self._summary.items():
            key = ".".join(path)
            typed = any((*path[:n], "_type") in self._summary for n in range(1, len(path)))
            if typed or path[0] in _OWN or any(key == k or key.startswith(f"{k}.") for k in known):
                continue
            for name, value in _leaves(key, json.loads(raw)):
                if isinstance(value, int | float):
                    self._metrics[name] = [(end, self._step, float(value))]
                elif isinstance(value, str):
                    self.texts.append((end, self._step, name, value))
        return self._metrics

    def _keep(self, key: str, value: Any, when: float, files: Path) -> None:
        if isinstance(value, bool):
            self.types[key] = "bool"
        if isinstance(value, int | float):
            self._metrics.setdefault(key, []).append((when, self._step, float(value)))
        elif isinstance(value, dict):
            document = cast("dict[str, Any]", value)
            if "_type" in document:
                self._object(key, document, when, files)
            else:  # W&B joins the keys of nested values with dots
                for inner, part in document.items():
                    self._keep(f"{key}.{inner}", part, when, files)
        elif value is not None:
            self.texts.append((when, self._step, key, value))

    def _object(self, key: str, value: dict[str, Any], when: float, files: Path) -> None:
        """Add an image, a histogram, a table; any other object is added as its JSON document."""
        kind = str(value["_type"])
        if kind in _SEVERAL:
            listed = value.get("captions")
            captions: list[Any] = cast("list[Any]", listed) if isinstance(listed, list) else []
            for number, name in enumerate(_members(value)):
                caption = {"caption": captions[number]} if number < len(captions) else None
                path = _inside(files, name)
                if path is not None:
                    self._record(f"{key}/{number}", _SEVERAL[kind], when, caption, path)
        elif kind in _MEDIA and (path := _inside(files, value.get("path"))) is not None:
            caption = {"caption": value["caption"]} if value.get("caption") else None
            self._record(key, _MEDIA[kind], when, caption, path)
        elif kind == "histogram":
            self._record(key, "histogram", when, _histogram(value))
        elif kind == "table-file" and (table := _table(files, value.get("path"))) is not None:
            self._record(key, "table", when, table)
        elif kind == "plotly-file" and (figure := _document(files, value.get("path"))) is not None:
            self._record(key, "plot", when, {"library": "plotly", "figure": figure})
        else:  # an HTML page, a point cloud, a molecule: the document, and the file that it refers to
            self._record(key, "json", when, value, _inside(files, value.get("path")))

    def _record(
        self, key: str, kind: str, when: float, value: Any = None, path: str | None = None
    ) -> None:
        if value is not None or path is not None:
            self.records.append(
                ImportedRecord(
                    time=when, step=self._step, key=key, kind=kind, value=value, path=path
                )
            )


def _leaves(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Yield the values of a nested document, with dots between their keys; a document of a type has none."""
    if not isinstance(value, dict):
        yield key, value
        return
    document = cast("dict[str, Any]", value)
    if "_type" not in document:
        for name, inner in document.items():
            yield from _leaves(f"{key}.{name}", inner)


def _item(raw: bytes) -> tuple[list[str], Any]:
    """Return key and value; the value is JSON, or with newer clients a field of its type."""
    path: list[str] = []
    value: Any = None
    for number, part in fields(raw):
        match number:
            case 1 | 2:
                path.append(part.decode())
            case 8 | 16:
                value = json.loads(part)
            case 4:
                value = bool(part)
            case 5:
                value = part >> 1 ^ -(part & 1)
            case 6:
                (value,) = struct.unpack("<d", part)
            case 7:
                value = part.decode()
            case _:
                pass
    return path, value


def _histogram(value: dict[str, Any]) -> dict[str, Any]:
    counts: list[float] = value.get("values") or []
    edges = value.get("bins")
    packed = value.get("packedBins")
    if edges is None and packed:
        edges = [packed["min"] + packed["size"] * n for n in range(int(packed["count"]) + 1)]
    return {"counts": counts, "edges": edges or [], "not_finite": 0}


def _table(files: Path, name: Any) -> dict[str, Any] | None:
    table = _document(files, name)
    try:
        return None if table is None else {"columns": table["columns"], "rows": table["data"]}
    except (KeyError, TypeError):
        return None


def _document(files: Path, name: Any) -> Any:
    """Return a JSON file of the run; None if it does not exist, is too large, or is damaged."""
    inside = _inside(files, name)
    if inside is None or (files / inside).stat().st_size > _LARGEST_DOCUMENT:
        return None
    try:
        return json.loads((files / inside).read_bytes())
    except ValueError:
        return None


def _members(value: dict[str, Any]) -> list[Any]:
    """Return the files of several media that were logged together."""
    if value.get("filenames"):
        return [*value["filenames"]]
    named: list[Any] = value.get("videos") or value.get("audio") or []
    return [cast("Any", item).get("path") if isinstance(item, dict) else item for item in named]


def _inside(files: Path, name: Any) -> str | None:
    """Return the name of a file within the run's files; None if it does not exist or is outside of them."""
    path = files / str(name)
    if not path.is_file() or not path.resolve().is_relative_to(files.resolve()):
        return None
    return path.relative_to(files).as_posix()
