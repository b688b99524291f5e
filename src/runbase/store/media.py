"""Media methods of a store: list, read, display and export texts, images, tables and other media."""

import csv
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from runbase import extras
from runbase.errors import NotFound, counted, suggestion
from runbase.storage.types import Query
from runbase.store.artifacts import ArtifactMethods
from runbase.typing import ExperimentLike, JsonObject, RunLike


class Records(list[JsonObject]):
    """Media as they were logged: dictionaries of run_id, key, kind, step, time, and value or path.

    A notebook displays texts, tables, histograms and images.
    """

    def __init__(self, items: list[JsonObject], read: Callable[[JsonObject], Any]) -> None:
        super().__init__(items)
        self._read = read

    def __repr__(self) -> str:
        keys = ", ".join(dict.fromkeys(str(item["key"]) for item in self[:100]))
        return f"<Records: {counted(len(self), 'record')} of {keys}>" if self else "<Records: none>"

    def _repr_html_(self) -> str:
        from runbase.analysis.html import records

        return records(self, self._read)


class RecordMethods(ArtifactMethods):
    """The media (texts, images, tables and so on) of a store's runs."""

    def records(self, run: RunLike, key: str | None = None, *, kind: str | None = None) -> Records:
        """Return the texts, JSON, tables, histograms, images, audio, video and plots of a run.

        Args:
            run: the run.
            key: only records of this name.
            kind: only records of this kind: text, json, table, histogram, image, audio, video, plot.

        Returns:
            Dictionaries, sorted by key and step: run_id, key, kind, step, time, and value, or path
            if the content is a file. `read_record` returns the content.

        Raises:
            NotFound: the run has no record of this key.
        """
        run_id = self._run_id(run)
        rows = self.reader.records(run_id, key)
        if key is not None and not rows:
            keys = {row["key"] for row in self.reader.records(run_id)}
            raise NotFound(f"the run has no record {key!r}{suggestion(key, keys)}")
        selected = [{"run_id": run_id, **row} for row in rows if kind in (None, row["kind"])]
        return Records(selected, self.read_record)

    def read_record(self, record: JsonObject) -> Any:
        """Return the content of a record, from the database or its file.

        Returns:
            A str for text; Python data for JSON, tables, histograms and plots; a PIL image for an
            image; the path of a file on this machine for audio and video.
        """
        if record["path"] is None:
            return record["value"]
        path = self.download(f"{record['run_id']}/{record['path']}")
        if record["path"].endswith(".json"):
            return msgspec.json.decode(path.read_bytes())
        if record["kind"] == "image":
            images = extras.load("PIL.Image", "media", "reading an image")
            with images.open(path) as image:
                image.load()
                return image
        return path

    def export_records(
        self,
        folder: "str | os.PathLike[str]",
        where: str | None = None,
        *,
        experiment: ExperimentLike | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Write each record of the selected runs to a file of its own.

        The files are `<folder>/<run>/<key>.<step>` with the suffix .txt, .json, .csv (tables), or the
        suffix of the original file (images, audio, video).

        Args:
            folder: where to write the files.
            where: only runs that match this filter.
            experiment: only runs of this experiment.
            progress: called with the number of runs done and the total.

        Returns:
            The number of files.
        """
        experiment_id = None if experiment is None else self._experiment_id(experiment)
        runs = self.reader.runs(Query(where=where, experiment=experiment_id))
        count = 0
        for number, run in enumerate(runs):
            for record in self.records(run.id):
                name = f"{record['key']}.{record['step']}"
                self._write(record, Path(folder) / f"{run.name}-{run.id[-6:]}" / name)
                count += 1
            if progress is not None:
                progress(number + 1, len(runs))
        return count

    def _write(self, record: JsonObject, base: Path) -> None:
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
