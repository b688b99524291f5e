"""Copy runs between stores, import the records of other tools, and export runs to files."""

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbase import model
from runbase.errors import UsageError
from runbase.ingest import transfer
from runbase.ingest.readers import check_known, check_store_file
from runbase.ingest.transfer import Copied, Salvaged
from runbase.storage.open import open_storage
from runbase.store.base import StoreBase
from runbase.store.media import RecordMethods
from runbase.store.runs import RunMethods
from runbase.typing import ExperimentLike, JsonObject

if TYPE_CHECKING:
    from runbase.ingest.imports import ImportReport

BATCH = 20
"""Number of runs that are read and written at a time."""
FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
}


class TransferMethods(RunMethods, RecordMethods):
    """Copy, import and export."""

    def copy_to(
        self,
        target: StoreBase,
        where: str | None = None,
        *,
        experiment: ExperimentLike | None = None,
        by_name: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> Copied:
        """Copy runs into another store, with their experiments, points and other records.

        Ids do not change and nothing is duplicated: a run that the target already has is completed,
        and edits made there (tags, notes, parameters) are kept. Files are not copied. The copy can be
        interrupted at any time and started again.

        Args:
            target: the other store.
            where: only runs that match this filter.
            experiment: only runs of this experiment.
            by_name: merge an experiment into the target's experiment of the same name. If false, it
                keeps its own id.
            progress: called with the number of runs done and the total.

        Returns:
            What was copied.
        """
        experiment_id = None if experiment is None else self._experiment_id(experiment)
        return transfer.copy(
            self.storage,
            target.storage,
            where,
            experiment=experiment_id,
            by_name=by_name,
            progress=progress,
        )

    def salvage(
        self,
        path: "str | os.PathLike[str]",
        progress: Callable[[int, int], None] | None = None,
    ) -> Salvaged:
        """Recover what can be read from a SQLite database that may be damaged, run by run.

        Ids do not change, and what this store already has is not changed. Notes, tags, links and
        imported runs are recovered too. Runs deleted there are deleted here.

        Args:
            path: the database file.
            progress: called with the number of runs done and the total.

        Returns:
            What was recovered.

        Raises:
            NotFound: the file does not exist.
        """
        return transfer.salvage(self.storage, Path(path), progress)

    def import_file(
        self,
        path: "str | os.PathLike[str]",
        where: str | None = None,
        *,
        experiment: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Copied:
        """Import the runs of a SQLite file, written by `export` or by any other store.

        The file is copied as by `copy_to`.

        Args:
            path: the file.
            where: only runs that match this filter.
            experiment: only runs of this experiment.
            progress: called with the number of runs done and the total.

        Returns:
            What was imported.

        Raises:
            NotFound: the file does not exist.
            UsageError: the file is not a store of runbase.
        """

        file = Path(path).expanduser()
        check_store_file(file)
        with closing(open_storage(f"sqlite:///{file.absolute()}", create=False)) as source:
            experiment_id = (
                None if experiment is None else source.find_experiment(experiment, deleted=False)
            )
            return transfer.copy(
                source, self.storage, where, experiment=experiment_id, progress=progress
            )

    def import_from(
        self,
        source: "str | os.PathLike[str]",
        system: str | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        experiment: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> "ImportReport":
        """Import from another tool: MLflow, W&B, Trackio, Neptune, GoodSeed, mlos_bench, SQLTrack, tables and others.

        Import a source again to add what is new in it; nothing is added twice. Run folders of other
        formats are imported by `scan`, stores of runbase by `import_file`.

        Args:
            source: a folder, a file, a database URL, or the address of a server.
            system: the tool, such as ``"mlflow"``. Default: detected from the source.
            columns: for a table, column → role, such as ``{"epoch": "step"}``.
            experiment: for a table, the experiment of runs that do not name one.
            progress: called with the number of runs done and the total.

        Returns:
            A report of what was imported.

        Raises:
            UsageError: the source is not in a known format.
            NotFound: the file or folder does not exist.
        """
        from runbase.ingest.imports import import_from  # imported here: only this method needs it

        tool = check_known(os.fspath(source), system)
        return import_from(
            self.storage,
            os.fspath(source),
            tool,
            columns=columns,
            experiment=experiment,
            progress=progress,
        )

    def export(
        self,
        path: "str | os.PathLike[str]",
        where: str | None = None,
        *,
        experiment: ExperimentLike | None = None,
        what: str = "runs",
        format: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Write runs to a file.

        Parquet, CSV and JSON Lines contain one kind of rows (`what`). SQLite contains everything: the
        file is a store of its own, and `import_file` adds it to another one. An existing file is
        replaced atomically; an existing SQLite file is extended.

        Args:
            path: the file.
            where: only runs that match this filter.
            experiment: only runs of this experiment.
            what: the rows: ``runs`` (one per run), ``metrics`` (one per point) or ``records`` (one per
                text, table, image and so on, with values as JSON and files as paths; see
                `export_records` for the files).
            format: parquet, csv, jsonl or sqlite. Default: derived from the suffix of the file.
            progress: called with the number of runs done and the total.

        Returns:
            The number of runs.

        Raises:
            UsageError: the format or `what` is not known.
            FilterError: `where` is not a valid filter.
        """
        target = Path(path)
        kind = format or FORMATS.get(target.suffix.lower()) or ""
        if kind not in FORMATS.values():
            known = ", ".join(sorted(set(FORMATS.values())))
            raise UsageError(
                f"the format of {target.name!r} is not known; use a known suffix or pass a format: {known}"
            )
        rows = {"metrics": self._points_of, "records": self._records_of}.get(what)
        if rows is None and what != "runs":
            raise UsageError(f"what is {what!r}; known: runs, metrics, records")
        if kind == "sqlite":
            return self._export_store(target, where, experiment, progress)
        from runbase.analysis.files import write

        runs = self.runs(where, experiment=experiment)
        if rows is None:
            write(target, kind, [runs.rows()])
            return len(runs)

        def parts() -> Any:
            for start in range(0, len(runs), BATCH):
                part = runs[start : start + BATCH]
                yield rows(part)
                if progress is not None:
                    progress(start + len(part), len(runs))

        write(target, kind, parts())
        return len(runs)

    def _points_of(self, runs: list[model.Run]) -> list[JsonObject]:
        names = {run.id: (run.experiment, run.name) for run in runs}
        return [
            {
                "run": run,
                "experiment": names[run][0],
                "name": names[run][1],
                "metric": key,
                "step": step,
                "time": time,
                "value": value,
            }
            for (run, key), series in self.storage.points(list(names), None).items()
            for step, time, value in zip(
                series.steps.tolist(), series.times.tolist(), series.values.tolist(), strict=True
            )
        ]

    def _records_of(self, runs: list[model.Run]) -> list[JsonObject]:
        import msgspec

        return [
            {"run": run.id, "experiment": run.experiment, "name": run.name}
            | {name: record[name] for name in ("key", "kind", "step", "time", "path")}
            | {"value": msgspec.json.encode(self._inlined(record), enc_hook=str).decode()}
            for run in runs
            for record in self.records(run.id)
        ]

    def _inlined(self, record: JsonObject) -> Any:
        """Return the value of a record; a large one is read from its file."""
        if record["path"] is None or not record["path"].endswith(".json"):
            return record["value"]
        return self.read_record(record)

    def _export_store(
        self,
        path: Path,
        where: str | None,
        experiment: ExperimentLike | None,
        progress: Callable[[int, int], None] | None,
    ) -> int:

        experiment_id = None if experiment is None else self._experiment_id(experiment)
        with closing(open_storage(f"sqlite:///{path.absolute()}")) as target:
            return transfer.copy(
                self.storage,
                target,
                where,
                experiment=experiment_id,
                by_name=False,
                progress=progress,
            ).runs
