"""Records on the move: copied between stores, exported to files."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from runbase.errors import NotFound, StoreError, UsageError
from runbase.storage.types import Query
from runbase.store.base import ExperimentLike
from runbase.store.media import RecordShelf
from runbase.store.runs import RunShelf

if TYPE_CHECKING:
    import os

BATCH = 20
"""Runs in one transaction of a copy."""

FORMATS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
}


class Copied(Struct, kw_only=True):
    """What a copy did. `runs` were asked for, `new` were not there before, `fuller` had points that
    were not there."""

    experiments: int = 0
    runs: int = 0
    new: int = 0
    fuller: int = 0
    points: int = 0


class Salvaged(Struct, kw_only=True):
    """What was taken over from a damaged database: runs that were read, and those that could not be."""

    runs: int = 0
    new: int = 0
    """Runs that no folder holds."""
    unreadable: list[str] = []

    def with_(self, other: "Salvaged") -> "Salvaged":
        """Both together."""
        return Salvaged(
            runs=self.runs + other.runs,
            new=self.new + other.new,
            unreadable=[*self.unreadable, *other.unreadable],
        )


class TransferShelf(RunShelf, RecordShelf):
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
        storage = target._storage  # pyright: ignore
        query = Query(
            where=where,
            experiment=None if experiment is None else self._experiment_id(experiment),
            order_by="created_at asc",
        )
        runs = self._storage.runs(query)
        wanted = {run.experiment_id for run in runs}
        everything = where is None and experiment is None
        known = self._storage.experiments(Query())
        records = [e for e in known if everything or e.id in wanted]
        report = Copied(experiments=len(records), runs=len(runs))
        places = storage.load_experiments(records, by_name=by_name)
        storage.load_around(self._storage.dump_around([e.id for e in records]), places)
        ids = [run.id for run in runs]
        for start in range(0, len(ids), BATCH):
            dumps = self._storage.dump(ids[start : start + BATCH])
            new, fuller = storage.load(dumps, places)
            report.new += new
            report.fuller += fuller
            report.points += sum(row["count"] for dump in dumps for row in dump.series)
            if progress is not None:
                progress(min(start + BATCH, len(ids)), len(ids))
        return report

    def salvage(
        self,
        path: "str | os.PathLike[str]",
        progress: Callable[[int, int], None] | None = None,
    ) -> Salvaged:
        """Take over what a SQLite database holds, damaged as it may be: run by run, what can be read.

        Ids stay, and what is here already stays as it is; notes, tags, links and imported runs come along, and what was
        deleted there is deleted here. Raises NotFound where there is no such file.
        """
        from runbase.storage.open import open_storage

        file = Path(path)
        if not file.is_file():
            raise NotFound(f"there is no file {file} to take anything over from")
        report = Salvaged()
        storage = self._storage
        try:
            source = open_storage(f"sqlite:///{file.absolute()}", create=False)
            told = [*source.experiments(Query()), *source.experiments(Query(deleted=True))]
            places = storage.load_experiments(told, by_name=True)
            ids = [str(row[0]) for row in source.sql("select id from runs order by id")]
        except StoreError as wrong:
            return Salvaged(unreadable=[f"{file}: {wrong}"])
        for number, run in enumerate(ids, 1):
            try:
                dumps = source.dump([run])
                report.new += storage.load(dumps, places)[0]
                report.runs += 1
            except StoreError as wrong:
                report.unreadable = [*report.unreadable, f"run {run}: {wrong}"]
            if progress:
                progress(number, len(ids))
        try:
            storage.load_around(source.dump_around(list(places)), places)
            gone = "select id from runs where deleted_at is not null"
            storage.delete("run", [str(row[0]) for row in source.sql(gone)])
            storage.purge("run", [str(row[0]) for row in source.sql("select id from purged")])
        except StoreError as wrong:
            report.unreadable = [*report.unreadable, f"{file}: {wrong}"]
        source.close()
        return report

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
        from runbase.store.store import Store

        file = Path(path).expanduser()
        check_store_file(file)
        with Store(open_storage(f"sqlite:///{file.absolute()}", create=False), None) as source:
            return source.copy_to(self, where, experiment=experiment, progress=progress)

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
            for (run, key), series in self._storage.points(list(names), None).items()
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
        from runbase.store.store import Store

        with Store(open_storage(f"sqlite:///{path.absolute()}"), None) as target:
            copied = self.copy_to(
                target, where, experiment=experiment, by_name=False, progress=progress
            )
        return copied.runs
