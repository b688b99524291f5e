"""What every storage backend promises.

**Records and points.** `apply` is the only way in for observations. It takes deliveries: events of
one run, in the order they were written, mostly a stretch of one journal. A delivery that names a
journal is taken in only if the journal's offset in the database is the one that the delivery
begins at; otherwise nothing of it is, and `apply` says so. All deliveries of a call, and their new
offsets, are in the database together or not at all. Applying the same journal in pieces of any
size, by any number of processes, ends with the same rows.

**State.** A run's status is the latest that the run itself reported, except that a run in an
active state can be *taken for lost* (NODE_FAIL) and found again; what the run reports always wins.

**Threads and processes.** A backend may be used from any thread. It is not handed across a fork: a
child that uses it gets connections of its own. Readers never wait for writers. Writers wait for
each other, at most `timeout` seconds, and then raise StoreBusy.

**Reading.** What is returned is plain data that later writes do not change. Whatever is unknown
raises NotFound; a damaged or unreachable database raises a StoreError; no driver's own exception
gets out.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct

from runbase.events import JournalEvent, Points, Process
from runbase.model import Artifact, Change, Envelope, Experiment, Run, Scalar, Series


class Delivery(Struct, frozen=True, kw_only=True):
    """Events of one run on their way into a store.

    `journal` is the id of the journal they stand in; `start` and `offset` are the bytes of it
    before and after them. `folder` is where the run's files are, `file` the journal's name there.
    """

    run: str
    events: Sequence[JournalEvent | Points]
    journal: str
    start: int
    offset: int
    file: str = ""
    folder: str | None = None
    lines: int = 0
    problems: int = 0


class LiveRun(Struct, frozen=True, kw_only=True):
    """A run that is not over as far as the store knows, and the processes that write its journals."""

    id: str
    folder: str | None
    lost: bool
    seen: float
    """Its last sign of life in the store, seconds since the epoch."""
    processes: list[Process]


class Rows(list[tuple[Any, ...]]):
    """Rows of a query: tuples, and the names of their columns in `columns`."""

    def __init__(self, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        super().__init__(rows)
        self.columns = tuple(columns)

    def to_pandas(self) -> Any:
        """A pandas DataFrame with the query's columns."""
        import pandas as pd

        frame: Any = pd.DataFrame
        return frame.from_records(list(self), columns=list(self.columns))

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary per row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self]


class Storage(Protocol):
    """A database of runs; see the module's text for what it promises."""

    url: str

    # Observations
    def apply(self, deliveries: Sequence[Delivery]) -> list[bool]:
        """Take in events; says of each delivery whether it was this call that took it in."""
        ...

    def offsets(self, journals: Sequence[str]) -> dict[str, int]:
        """How many bytes of each journal are in here; unknown journals are left out."""
        ...

    # Liveness
    def live_runs(self) -> list[LiveRun]:
        """Runs in an active state, and those taken for lost."""
        ...

    def mark_lost(self, run: str, seen: float, reason: str) -> None:
        """No sign of life since `seen`: NODE_FAIL, if it is still in an active state."""
        ...

    def mark_alive(self, run: str, seen: float) -> None:
        """It lives after all: back to what it reported last."""
        ...

    # Experiments and runs
    def experiments(self) -> list[Experiment]:
        """All experiments, newest first."""
        ...

    def find_run(self, run: str, experiment: str | None = None) -> str:
        """The id of the run with this id, unique prefix, or name (the newest of that name)."""
        ...

    def runs(
        self,
        where: str | None = None,
        order_by: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        experiment: str | None = None,
        ids: Sequence[str] | None = None,
    ) -> list[Run]:
        """Runs that satisfy a filter, newest first unless ordered."""
        ...

    def artifacts(self, run: str) -> list[Artifact]:
        """A run's files, by path."""
        ...

    def history(self, run: str) -> list[Change]:
        """A run's states, oldest first."""
        ...

    def records(self, run: str, key: str | None = None) -> list[dict[str, Any]]:
        """A run's records (text, tables, images …) by key and step."""
        ...

    # Points
    def series(
        self,
        run: str,
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        *,
        every: bool = False,
        kind: str = "metric",
    ) -> Series:
        """The points of a metric, by step."""
        ...

    def envelope(
        self,
        run: str,
        key: str,
        start: Scalar | None = None,
        end: Scalar | None = None,
        resolution: int = 1000,
        kind: str = "metric",
    ) -> Envelope:
        """A metric in at most about `resolution` buckets."""
        ...

    # SQL
    def sql(
        self,
        query: str,
        params: Mapping[str, Any] | Sequence[Any] = (),
        *,
        write: bool = False,
        timeout: float | None = None,
    ) -> Rows:
        """The rows of any query; refuses to write unless told to."""
        ...

    def schema(self) -> str:
        """The schema as it stands, as SQL text with its comments."""
        ...

    def totals(self) -> dict[str, int]:
        """How many experiments, runs, points, journals, lines and damaged lines are in here."""
        ...

    def check(self) -> list[str]:
        """What is wrong with the database; empty when it is sound."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...
