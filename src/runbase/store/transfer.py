"""Records on the move: copied between stores, exported to files."""

import os
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runbase.errors import UsageError
from runbase.ingest import transfer
from runbase.ingest.transfer import Copied, Salvaged
from runbase.store.base import ExperimentLike
from runbase.store.media import RecordMethods
from runbase.store.runs import RunMethods

if TYPE_CHECKING:
    from runbase.ingest.imports import ImportReport

BATCH = 20
"""Runs that are read and written at a time."""
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
    """Copying and exporting."""

    def copy_to(
        self,
        target: Any,
        where: str | None = None,
        *,
        experiment: ExperimentLike | None = None,
        by_name: bool = True,
        progress: Callable[[int, int], None] | None = None,
    ) -> Copied:
        """Copy runs, with their experiments, points and all, into another store.

        Ids stay, and nothing is there twice: a run that is there already is completed, and what
        people changed there (tags, notes, parameters) stays. An experiment joins the one of its name
        that is there, unless `by_name` is false, when it keeps an id of its own. Files stay where they
        are. It may be interrupted at any moment and begun again.
        """
        found = None if experiment is None else self._experiment_id(experiment)
        return transfer.copy(
            self.storage,
            target.storage,
            where,
            experiment=found,
            by_name=by_name,
            progress=progress,
        )

    def salvage(
        self,
        path: "str | os.PathLike[str]",
        progress: Callable[[int, int], None] | None = None,
    ) -> Salvaged:
        """Take over what a SQLite database holds, damaged as it may be: run by run, what can be read.

        Ids stay, and what is here already stays as it is; notes, tags, links and imported runs come along, and what was
        deleted there is deleted here. Raises NotFound where there is no such file.
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
        """Take in the runs of a SQLite file that `export` wrote, or of any other store's file.

        See `copy_to`. Raises NotFound where there is no such file, and UsageError where it is no store.
        """
        from runbase.ingest.readers import check_store_file
        from runbase.storage.open import open_storage

        file = Path(path).expanduser()
        check_store_file(file)
        with closing(open_storage(f"sqlite:///{file.absolute()}", create=False)) as source:
            found = (
                None if experiment is None else source.find_experiment(experiment, deleted=False)
            )
            return transfer.copy(source, self.storage, where, experiment=found, progress=progress)

    def import_from(
        self,
        source: "str | os.PathLike[str]",
        system: str | None = None,
        *,
        columns: Mapping[str, str] | None = None,
        experiment: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> "ImportReport":
        """Import the record of another tool: MLflow, W&B, Trackio, Neptune, GoodSeed, mlos_bench, SQLTrack, tables, …

        Import the same source again to add what it gained since then; nothing is added twice. Run folders of other
        formats are imported by `scan`, stores of runbase by `import_file`.

        Args:
            source: a folder, a file, a database URL, or the address of a server.
            system: the tool, such as ``"mlflow"``; None: found out from the source.
            columns: of a table, column → role, such as ``{"epoch": "step"}``.
            experiment: of a table, the experiment of runs that name none.
            progress: called with how many runs are done, and of how many.

        Raises:
            UsageError: the source is not a record that runbase knows.
            NotFound: there is no such file or folder.
        """
        from runbase.ingest.imports import import_from  # the readers are not needed otherwise
        from runbase.ingest.readers import check_known

        found = check_known(os.fspath(source), system)
        return import_from(
            self.storage,
            os.fspath(source),
            found,
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
        """Write a selection of runs to a file; how many runs.

        The format follows the file's name, or `format`: Parquet, CSV or JSON Lines hold `what`: a row a
        run (``runs``), a row a point (``metrics``), or a row a record (``records``: texts, tables, images;
        values as JSON, files by their path; see `export_records` for the files). SQLite (`.db`) holds everything: it is a store of
        its own, and `runbase import` takes it into any other. A file that is there is replaced, whole or
        not at all; a SQLite file is added to.
        """
        target = Path(path)
        kind = format or FORMATS.get(target.suffix.lower()) or ""
        if kind not in FORMATS.values():
            known = ", ".join(sorted(set(FORMATS.values())))
            raise UsageError(f"cannot tell the format of {target.name!r}; known: {known}")
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

    def _points_of(self, runs: list[Any]) -> list[dict[str, Any]]:
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

    def _records_of(self, runs: list[Any]) -> list[dict[str, Any]]:
        import msgspec

        return [
            {"run": run.id, "experiment": run.experiment, "name": run.name}
            | {name: record[name] for name in ("key", "kind", "step", "time", "path")}
            | {"value": msgspec.json.encode(self._inlined(record), enc_hook=str).decode()}
            for run in runs
            for record in self.records(run.id)
        ]

    def _inlined(self, record: dict[str, Any]) -> Any:
        """The value of a record, also of a large one, which is a file."""
        if record["path"] is None or not record["path"].endswith(".json"):
            return record["value"]
        return self.read_record(record)

    def _export_store(self, path: Path, where: str | None, experiment: Any, progress: Any) -> int:
        from runbase.storage.open import open_storage

        found = None if experiment is None else self._experiment_id(experiment)
        with closing(open_storage(f"sqlite:///{path.absolute()}")) as target:
            return transfer.copy(
                self.storage, target, where, experiment=found, by_name=False, progress=progress
            ).runs
