"""The shelves of what is kept: scanned folders, the bin, backups, and whole runs on their way out and in."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from runbase.errors import StoreError
from runbase.ids import new_id
from runbase.model import Experiment
from runbase.storage.sql import scanned_folders, transfer, trash
from runbase.storage.sql.driver import Driver
from runbase.storage.sql.session import Session
from runbase.storage.sql.transfer import RunDump
from runbase.storage.types import Kind, Scanned


class KeepStore:
    """What is kept of a store."""

    _driver: Driver

    def _own_columns(self, session: Session, table: str, alias: str) -> dict[str, Any]:
        raise NotImplementedError

    # Scanned folders

    def scans(self, root: str) -> dict[str, Scanned]:
        """What is known of folders at or below a root, by path."""
        with self._driver.read() as session:
            return scanned_folders.below(session, root)

    def put_scans(self, found: Sequence[Scanned]) -> int:
        """Folders as they were read; how many of their runs had been missing."""
        return self._driver.transact(lambda session: scanned_folders.put(session, found))

    def folders_gone(self, missing: Sequence[Scanned]) -> int:
        """Folders that are not there any more; how many runs have none left, and are marked."""
        return self._driver.transact(lambda session: scanned_folders.gone(session, missing))

    # The bin

    def delete(self, kind: Kind, ids: Sequence[str], *, back: bool = False) -> int:
        """Into the bin, or `back` out of it; how many there were."""
        return self._driver.transact(lambda session: trash.put(session, kind, ids, back=back))

    def purge(self, kind: Kind, ids: Sequence[str]) -> list[str]:
        """For good, with all below; the folders that held the runs' files."""
        purge = trash.purge_runs if kind == "run" else trash.purge_experiments
        return self._driver.transact(lambda session: purge(session, ids))

    def purged(self, ids: Sequence[str]) -> set[str]:
        """Which of these runs were deleted for good."""
        with self._driver.read() as session:
            return {row["id"] for row in session.rows("purged_of", ids=session.each(ids))}

    def backup(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """The whole database in a file."""
        half = path.with_name(f".{path.name}.{os.getpid()}.backup")
        try:
            self._driver.backup(half, progress)
            with half.open("rb") as whole:
                os.fsync(whole.fileno())
            half.replace(path)
        except OSError as error:
            raise StoreError(f"cannot write the backup {path}: {error.strerror}") from error
        finally:
            half.unlink(missing_ok=True)

    def in_the_bin(self, before: float) -> tuple[list[str], list[str]]:
        """Ids of runs, and of experiments, that were deleted before a moment."""
        with self._driver.read() as session:
            return trash.old(session, before)

    def folders(self, ids: Sequence[str]) -> list[str]:
        """The folders that only these runs have files in."""
        with self._driver.read() as session:
            rows = session.rows("folders_of_runs", ids=session.each(ids))
        return [row["folder"] for row in rows]

    def uploads(self, ids: Sequence[str]) -> list[str]:
        """What these runs uploaded and nobody else refers to: URLs."""
        with self._driver.read() as session:
            return [row["uri"] for row in session.rows("uploads_of_runs", ids=session.each(ids))]

    def below(self, experiments_: Sequence[str]) -> list[str]:
        """The ids of the runs of experiments, the deleted ones too."""
        with self._driver.read() as session:
            rows = session.rows("runs_of_experiments", ids=session.each(experiments_))
        return [row["id"] for row in rows]

    # Whole runs, out and in

    def dump(self, ids: Sequence[str]) -> list[RunDump]:
        """Runs as plain data, points and all."""
        with self._driver.read() as session:
            own = list(self._own_columns(session, "runs", "r"))
            return transfer.dump_runs(session, ids, own)

    def load_experiments(self, records: Sequence[Experiment], *, by_name: bool) -> dict[str, str]:
        """Experiments from elsewhere; by the id that each had, the one that it has here."""

        def work(session: Session) -> dict[str, str]:
            own = list(self._own_columns(session, "experiments", "e"))
            placed = [
                (record, *transfer.load_experiment(session, record, own, by_name=by_name))
                for record in sorted(records, key=lambda record: record.created_at)
            ]
            for record, here, new in placed:
                if new and record.parent_id is not None:
                    transfer.load_descent(session, here, record.parent_id)
            return {record.id: here for record, here, _ in placed}

        return self._driver.transact(work)

    def dump_around(self, experiments_: Sequence[str]) -> transfer.Around:
        """What belongs to experiments beside their records, as plain data."""
        with self._driver.read() as session:
            return transfer.dump_around(session, experiments_)

    def load_around(self, around: transfer.Around, places: Mapping[str, str]) -> None:
        """It put in; what is here already stays."""
        self._driver.transact(lambda session: transfer.load_around(session, around, places))

    def load(self, dumps: Sequence[RunDump], places: Mapping[str, str]) -> tuple[int, int]:
        """Runs from elsewhere, into the experiments of `places`; how many are new, and how many had
        points that were not here.
        """

        def work(session: Session) -> tuple[int, int]:
            session.rows("lock_runs", runs=session.each(sorted(dump.id for dump in dumps)))
            own = list(self._own_columns(session, "runs", "r"))
            done = [transfer.load_run(session, d, places[d.experiment_id], own) for d in dumps]
            transfer.load_links(session, dumps)
            return sum(new for new, _ in done), sum(fuller for _, fuller in done)

        return self._driver.transact(work, bulk=True)

    def fork_runs(self, ids: Sequence[str], experiment: str) -> list[str]:
        """Copies of runs in another experiment, with ids of their own, linked to what they copy."""
        made: list[str] = []
        for run in ids:
            dump = self.dump([run])[0]
            dump.id = new_id()
            dump.links, dump.journals, dump.uses = [(dump.id, "fork", run)], [], []
            self.load([dump], {dump.experiment_id: experiment})
            made.append(dump.id)
        return made
