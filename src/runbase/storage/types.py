"""The records that pass through a storage: questions, pages, deliveries, trials, folders."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from msgspec import Struct

from runbase.events import JournalEvent, Points, Problem, Process
from runbase.status import Status

Kind = Literal["run", "experiment"]
T = TypeVar("T")


class Query(Struct, frozen=True, kw_only=True):
    """What to look for: a filter and sort keys in the filter language, and a page of the result."""

    where: str | None = None
    order_by: str | None = None
    limit: int | None = None
    offset: int = 0
    after: str | None = None
    """The cursor of the page before."""
    experiment: str | None = None
    """Only runs of the experiment of this id."""
    deleted: bool = False
    """Only what lies in the bin, instead of what does not."""


class Page(list[T]):
    """A page of a listing; `cursor` gives the next one, and is None on the last."""

    def __init__(self, items: Iterable[T] = (), cursor: str | None = None) -> None:
        super().__init__(items)
        self.cursor = cursor


class Script(Struct, frozen=True):
    """SQL of a user's, under the name by which it is remembered."""

    name: str
    code: str


class Step(Struct, frozen=True):
    """What became of a script: applied, applied before, for the other dialect only."""

    name: str
    state: str


class Delivery(Struct, frozen=True, kw_only=True):
    """Events of one run on their way into a store.

    `journal` is the id of the journal they are in; `start` and `offset` are the bytes of it
    before and after them. `folder` is where the run's files are, `file` the journal's name there.
    `experiment` is the id of the experiment that a new run belongs to; None: the newest of the
    name that the first event has.
    `problems` are the damaged lines among them. `locate` finds the line of an event that the store
    refuses, or of a part of it; it is called for such events only.
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
    """What became of a delivery."""

    taken: bool
    """Whether it was this call that took it in."""
    problems: Sequence[Problem] = ()
    """Events of it that could not be stored. All others were, where it was taken."""


class Scanned(Struct, frozen=True, kw_only=True):
    """A folder, as a scan read it."""

    path: str
    format: str
    run: str
    stamp: str
    """Sizes and times of its files; empty: it is to be read again in any case."""
    place: str = ""
    """How the run's folder is called in the store."""


class LiveRun(Struct, frozen=True, kw_only=True):
    """A run that is not over as far as the store knows, and the processes that write its journals."""

    id: str
    folder: str | None
    lost: bool
    seen: float
    """Its last sign of life in the store, seconds since the epoch."""
    silent: float | None = None
    """Seconds since it, by the database's own clock; None where it never gave one to the database itself."""
    endless: bool = False
    """Whether nothing in its source says how it ends, as with TensorBoard's files."""
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


class NewTrial(Struct, frozen=True, kw_only=True):
    """A trial to be queued. `due` is in seconds since the epoch; `runner` reserves it for one."""

    id: str
    name: str
    params: Mapping[str, Any]
    tags: Mapping[str, str | None] = {}
    due: float | None = None
    priority: int = 0
    retries: int = 2
    runner: str | None = None
    suggested: Mapping[str, str] = {}
    """Parameter → from what an optimizer chose it, as it says that, in JSON."""
    running: bool = False
    """It runs already: whoever makes it does."""
    started: float | None = None
    """When it began, where that is known; else a running one begins now."""
    attributes: Mapping[str, Mapping[str, Any]] = {}
    """What tools keep about it: scope → key → value; `config` is what else its runner is to know."""


class TrialUpdate(Struct, frozen=True, kw_only=True):
    """A trial with all that a tool keeps about it: scope → key → value."""

    id: str
    number: int
    status: Status
    started_at: datetime | None
    ended_at: datetime | None
    params: dict[str, Any]
    suggested: dict[str, str]
    attributes: dict[str, dict[str, Any]]


class TrialRow(Struct, frozen=True, kw_only=True):
    """A trial as its experiment's list has it: without its parameters, metrics and tags."""

    id: str
    number: int
    status: Status
    source_status: str | None
    """The tool's own word for the state."""
    began: datetime
    """When it began; before that, when it is due or was queued."""
    ended: datetime | None
    claimed_until: datetime | None
    config: int | None
    """The number of its configuration; see `Storage.configs`."""


class Observation(Struct, frozen=True):
    """What an optimizer learns from: a trial that has ended, its parameters, and its last metrics."""

    run: str
    experiment: str
    number: int
    status: Status
    params: dict[str, Any]
    metrics: dict[str, float | None]


class Claimed(Struct, frozen=True):
    """A trial that one runner may work on: the run, and which attempt at it this is."""

    run: str
    attempt: int
