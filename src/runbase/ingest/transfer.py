"""Copy runs from one database to another, and salvage runs from a damaged database."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from runbase.errors import NotFound, StoreError
from runbase.storage.open import open_storage
from runbase.storage.protocol import Storage
from runbase.storage.types import Query

BATCH = 20
"""Runs in one transaction of a copy."""


class Copied(Struct, kw_only=True):
    """What a copy did: `runs` were requested, `new` did not exist in the target, `fuller` had points that the target lacked."""

    experiments: int = 0
    runs: int = 0
    new: int = 0
    fuller: int = 0
    points: int = 0


class Salvaged(Struct, kw_only=True):
    """What was salvaged from a damaged database: the number of runs that were read, and those that could not be."""

    runs: int = 0
    new: int = 0
    """Number of runs that no folder contains."""
    unreadable: list[str] = []

    def with_(self, other: "Salvaged") -> "Salvaged":
        """Return the sum of both."""
        return Salvaged(
            runs=self.runs + other.runs,
            new=self.new + other.new,
            unreadable=[*self.unreadable, *other.unreadable],
        )


def copy(
    source: Storage,
    target: Storage,
    where: str | None = None,
    *,
    experiment: str | None = None,
    by_name: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Copied:
    """Copy runs into another database, with their experiments, points and all other data.

    Args:
        source: the database to copy from.
        target: the database to copy to; a run that exists there is completed.
        where: a filter; None: all runs.
        experiment: the id of the experiment whose runs are copied; None: all.
        by_name: whether runs join the target's experiment of the same name.
        progress: called with (runs done, all runs).

    Returns:
        How many runs were copied.
    """
    query = Query(
        where=where,
        experiment=experiment,
        order_by="created_at asc",
    )
    runs = source.runs(query)
    wanted = {run.experiment_id for run in runs}
    everything = where is None and experiment is None
    known = source.experiments(Query())
    records = [e for e in known if everything or e.id in wanted]
    report = Copied(experiments=len(records), runs=len(runs))
    places = target.load_experiments(records, by_name=by_name)
    target.load_related(source.dump_related([e.id for e in records]), places)
    ids = [run.id for run in runs]
    for start in range(0, len(ids), BATCH):
        dumps = source.dump(ids[start : start + BATCH])
        new, fuller = target.load(dumps, places)
        report.new += new
        report.fuller += fuller
        report.points += sum(row["count"] for dump in dumps for row in dump.series)
        if progress is not None:
            progress(min(start + BATCH, len(ids)), len(ids))
    return report


def salvage(
    target: Storage,
    file: Path,
    progress: Callable[[int, int], None] | None = None,
) -> Salvaged:
    """Copy what can be read of a damaged SQLite database, run by run.

    Raises:
        NotFound: the file does not exist.
    """
    if not file.is_file():
        raise NotFound(f"{file} does not exist")
    report = Salvaged()
    try:
        source = open_storage(f"sqlite:///{file.absolute()}", create=False)
        experiments = [*source.experiments(Query()), *source.experiments(Query(deleted=True))]
        places = target.load_experiments(experiments, by_name=True)
        ids = [str(row[0]) for row in source.sql("select id from runs order by id")]
    except StoreError as wrong:
        return Salvaged(unreadable=[f"{file}: {wrong}"])
    for number, run in enumerate(ids, 1):
        try:
            dumps = source.dump([run])
            report.new += target.load(dumps, places)[0]
            report.runs += 1
        except StoreError as wrong:
            report.unreadable = [*report.unreadable, f"run {run}: {wrong}"]
        if progress:
            progress(number, len(ids))
    try:
        target.load_related(source.dump_related(list(places)), places)
        gone = "select id from runs where deleted_at is not null"
        target.delete("run", [str(row[0]) for row in source.sql(gone)])
        target.purge("run", [str(row[0]) for row in source.sql("select id from purged")])
    except StoreError as wrong:
        report.unreadable = [*report.unreadable, f"{file}: {wrong}"]
    source.close()
    return report
