"""The records that storages accept and return: queries, pages, deliveries, trials, folders."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from msgspec import Struct

from runbase import extras
from runbase.events import JournalEvent, Points, Problem, Process
from runbase.model import Shown
from runbase.status import Status

Kind = Literal["run", "experiment"]
T = TypeVar("T")


class Query(Struct, frozen=True, kw_only=True):
    """What to search for: a filter and sort keys in the filter language, and a page of the result."""

    where: str | None = None
    order_by: str | None = None
    limit: int | None = None
    offset: int = 0
    after: str | None = None
    """The cursor of the previous page."""
    experiment: str | None = None
    """Only runs of the experiment with this id."""
    deleted: bool = False
    """Search the trash instead of everything else."""


class Page(list[T]):
    """A page of a result; `cursor` is the argument for the next page, and None on the last page."""

    def __init__(self, items: Iterable[T] = (), cursor: str | None = None) -> None:
        super().__init__(items)
        self.cursor = cursor


class TablePage(Struct, frozen=True):
    """Columns of a page of runs: name → one value a run, in the order of `ids`."""

    ids: list[str]
    columns: dict[str, list[Any]]
    cursor: str | None
    """The argument for the next page; None on the last page."""


class Changes(Struct, frozen=True):
    """What changed since a cursor: ids of runs and experiments, oldest change first.

    An id that is not found any more was purged. The record of a run shows what changed in it: the last step of each metric
    tells from where to read new points.
    """

    runs: list[str]
    experiments: list[str]
    cursor: str
    """The argument for the next call."""
    reset: bool = False
    """Whether the changes are unknown: there was no cursor, or it belongs to another database. Read everything again."""

    def __bool__(self) -> bool:
        """Return whether anything changed."""
        return bool(self.reset or self.runs or self.experiments)


class Size(Struct, frozen=True, kw_only=True):
    """The bytes of a run or of an experiment."""

    id: str
    name: str
    """For a run, with its experiment: `mnist/brisk-heron-42`."""
    runs: int
    points: int
    database: int
    """Bytes of its points in the database: its share of the points, at the average size of a point."""
    archive: int = 0
    """Bytes of its points in archives."""
    journals: int
    """Bytes of its journals that are in the database, before packing."""
    artifacts: int

    @property
    def total(self) -> int:
        """The sum of the four."""
        return self.database + self.archive + self.journals + self.artifacts


class Sizes(Struct, frozen=True):
    """Where the bytes of a store are."""

    tables: dict[str, int]
    """Bytes of each table with its indexes, largest first; empty if the database cannot tell."""
    experiments: list[Size]
    runs: list[Size]
    archived_runs: int = 0
    archived_points: int = 0
    archived_bytes: int = 0
    old_runs: int = 0
    """Runs that ended more than 30 days ago and are not archived."""
    old_bytes: int = 0
    """Bytes of their points in the database."""


class Script(Struct, frozen=True):
    """SQL of a user, and the name under which it is recorded."""

    name: str
    code: str


class Step(Struct, frozen=True):
    """The result of a script: applied, applied before, or for the other dialect only."""

    name: str
    state: str


class Delivery(Struct, frozen=True, kw_only=True):
    """Events of one run to be stored.

    `journal` is the id of the journal that contains them; `start` and `offset` are its byte offsets before and after them.
    `folder` is where the run's files are, `file` the journal's name there. `experiment` is the id of the experiment of a new
    run; None: the newest experiment with the name in the first event. `problems` are the damaged lines of the delivery.
    `locate` finds the line of an event, or of a part of it, that the database refuses; it is called for such events only.
    """

    run: str
    events: Sequence[JournalEvent | Points]
    journal: str
    start: int
    offset: int
    file: str = ""
    folder: str | None = None
    experiment: str | None = None
    lines: int = 0
    problems: Sequence[Problem] = ()
    locate: Callable[[JournalEvent | Points], Problem] | None = None


class Applied(Struct, frozen=True):
    """The result of a delivery."""

    taken: bool
    """Whether this call stored it."""
    problems: Sequence[Problem] = ()
    """Its events that could not be stored. If `taken`, all others were stored."""


class Scanned(Struct, frozen=True, kw_only=True):
    """A folder, as a scan read it."""

    path: str
    format: str
    run: str
    stamp: str
    """Sizes and times of its files; empty: read it again in any case."""
    place: str = ""
    """The path of the run's folder as the database records it."""


class LiveRun(Struct, frozen=True, kw_only=True):
    """A run that has not ended in the database, and the processes that write its journals."""

    id: str
    folder: str | None
    lost: bool
    seen: float
    """The last heartbeat in the database, in seconds since the epoch."""
    silent: float | None = None
    """Seconds since the last heartbeat, by the database's clock; None if none was recorded by that clock."""
    endless: bool = False
    """Whether the source never reports an end, as with TensorBoard's files."""
    processes: list[Process]


class Rows(Shown, list[tuple[Any, ...]]):
    """Rows of a query: tuples, with the names of their columns in `columns`."""

    def __init__(self, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> None:
        super().__init__(rows)
        self.columns = tuple(columns)

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with the query's columns."""
        pd: Any = extras.load("pandas", "analysis", "a data frame")

        frame: Any = pd.DataFrame
        return frame.from_records(list(self), columns=list(self.columns))

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return one dictionary per row."""
        return [dict(zip(self.columns, row, strict=True)) for row in self]


class NewTrial(Struct, frozen=True, kw_only=True):
    """A trial to be queued. `due` is in seconds since the epoch; `runner` reserves it for one runner."""

    id: str
    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str | None] = {}
    due: float | None = None
    priority: int = 0
    retries: int = 2
    runner: str | None = None
    suggested: Mapping[str, str] = {}
    """Parameter → the distribution that an optimizer chose it from, in the optimizer's own JSON."""
    running: bool = False
    """The trial is already running, in the process that creates it."""
    started: float | None = None
    """When it started, if known; otherwise a running trial starts now."""
    attributes: Mapping[str, Mapping[str, Any]] = {}
    """Attributes that tools store with the trial: scope → key → value. `config` has further settings for its runner."""


class TrialUpdate(Struct, frozen=True, kw_only=True):
    """A trial with all attributes of a tool: scope → key → value."""

    id: str
    number: int
    status: Status
    started_at: datetime | None
    ended_at: datetime | None
    params: dict[str, Any]
    suggested: dict[str, str]
    attributes: dict[str, dict[str, Any]]


class TrialRow(Struct, frozen=True, kw_only=True):
    """A trial in its experiment's list: without its parameters, metrics and tags."""

    id: str
    number: int
    status: Status
    source_status: str | None
    """The tool's own name for the status."""
    began: datetime
    """When it started; before that, when it is due or was queued."""
    ended: datetime | None
    claimed_until: datetime | None
    config: int | None
    """The id of its configuration; see `Storage.configs`."""


class Observation(Struct, frozen=True):
    """An observation for an optimizer: a trial that has ended, its parameters, and its last metrics."""

    run: str
    experiment: str
    number: int
    status: Status
    params: dict[str, Any]
    metrics: dict[str, float | None]


class Claimed(Struct, frozen=True):
    """A trial claimed by one runner: the run, and the number of the attempt."""

    run: str
    attempt: int


class ReplicaState(Struct, frozen=True):
    """Whether reads come from a replica.

    Attributes:
        url: the URL of the replica, without the password.
        lag: seconds by which it is behind; 0 if it has replayed everything, None if that is not known.
        problem: why it is not used; None if it is.
    """

    url: str
    lag: float | None = None
    problem: str | None = None
