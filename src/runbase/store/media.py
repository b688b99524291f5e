"""Records beyond numbers: listed, read back, shown in a notebook, written to files."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from runbase.errors import NotFound, suggestion
from runbase.storage.types import Query
from runbase.store.artifacts import ArtifactMethods
from runbase.store.base import ExperimentLike, RunLike


class Records(list[dict[str, Any]]):
    """Records as they were logged: run_id, key, kind, step, time, and value or the path of a file.

    In a notebook, texts, tables, histograms and images show as what they are.
    """

    def __init__(self, items: list[dict[str, Any]], read: Callable[[dict[str, Any]], Any]) -> None:
        super().__init__(items)
        self._read = read

    def _repr_html_(self) -> str:
        from runbase.analysis.html import records

        return records(self, self._read)


class RecordMethods(ArtifactMethods):
    """The records of a store's runs."""

    def records(self, run: RunLike, key: str | None = None, *, kind: str | None = None) -> Records:
        """A run's texts, JSON, tables, histograms, images, audio, video and plots, by key and step.

        Each is a dictionary: run_id, key, kind, step, time, and value, or path where it is a file;
        `read_record` gives what it holds. Raises NotFound for an unknown key.
        """
        found = self._run_id(run)
        rows = self.storage.records(found, key)
        if key is not None and not rows:
            keys = {row["key"] for row in self.storage.records(found)}
            raise NotFound(f"the run has no record {key!r}{suggestion(key, keys)}")
        kept = [{"run_id": found, **row} for row in rows if kind in (None, row["kind"])]
        return Records(kept, self.read_record)

    def read_record(self, record: dict[str, Any]) -> Any:
        """What a record holds: text as str, JSON, tables, histograms and plots as data (also large ones,
        which are files), an image as a PIL image; the path of a file here of audio and video.
        """
        if record["path"] is None:
            return record["value"]
        path = self.download(f"{record['run_id']}/{record['path']}")
        if record["path"].endswith(".json"):
            return msgspec.json.decode(path.read_bytes())
        if record["kind"] == "image":
            from PIL import Image

            with Image.open(path) as image:
                image.load()
                return image
        return path

    def export_records(
        self,
        folder: Path,
        where: str | None = None,
        *,
        experiment: ExperimentLike | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Write every record of the runs that satisfy a filter to a file of its own; how many.

        `<folder>/<run>/<key>.<step>` with a suffix for what it is: .txt, .json, .csv for tables, and
        that of the file for images, audio and video.
        """
        found = None if experiment is None else self._experiment_id(experiment)
        runs = self.storage.runs(Query(where=where, experiment=found))
        count = 0
        for number, run in enumerate(runs):
            for record in self.records(run.id):
                name = f"{record['key']}.{record['step']}"
                self._write(record, folder / f"{run.name}-{run.id[-6:]}" / name)
                count += 1
            if progress is not None:
                progress(number + 1, len(runs))
        return count

    def _write(self, record: dict[str, Any], base: Path) -> None:
        base.parent.mkdir(parents=True, exist_ok=True)
        value: Any = self.read_record(record) if record["kind"] != "image" else None
        if record["kind"] == "text":
            base.with_name(base.name + ".txt").write_text(str(value), "utf-8")
        elif record["kind"] == "table":
            with base.with_name(base.name + ".csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(value["columns"])
                writer.writerows(value["rows"])
        elif record["path"] is None or record["path"].endswith(".json"):
            data = msgspec.json.format(msgspec.json.encode(value), indent=2)
            base.with_name(base.name + ".json").write_bytes(data)
        else:
            source = self.download(f"{record['run_id']}/{record['path']}")
            shutil.copyfile(source, base.with_name(base.name + source.suffix))
