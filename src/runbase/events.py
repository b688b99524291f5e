"""The vocabulary of what can be observed about a run: the only shape in which data enters a store.

Journals, scanners, importers and servers all speak these; `storage` takes them in through one
`apply`. Times are seconds since the epoch, UTC. No event is ever changed after it was written, so
a field may be added (with a default) and none may be taken away or given another meaning.
"""

from typing import Any, Literal

from msgspec import Struct

from runbase.status import Status

Scalar = int | float
Level = Literal["info", "warning", "error"]
"""How urgent an alert is."""
LEVELS: tuple[Level, ...] = ("info", "warning", "error")
"""The levels of alerts, the least urgent first."""


class Process(Struct, frozen=True, omit_defaults=True):
    """Enough about a process to know, later and elsewhere on its host, whether it is still alive."""

    host: str
    pid: int
    started: str | None = None
    """The kernel's mark of when the process began; None where the system has no such thing."""
    boot: str | None = None
    """Which boot, and which container, the pid counts in."""


class Problem(Struct, frozen=True):
    """A line that is not an event, or an event that cannot be stored: where it is, and why."""

    file: str
    offset: int | None
    """Where it begins, in bytes from the start of the file; None where that is not known."""
    reason: str
    line: str = ""
    """Its beginning, as text."""

    def __str__(self) -> str:
        place = self.file if self.offset is None else f"{self.file}, byte {self.offset}"
        shown = f" in {self.line!r}" if self.line else ""
        return f"{place}: {self.reason}{shown}"


class Event(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="e"):
    """Something that happened to a run."""

    time: float = 0.0


class Opened(Event, tag="open", frozen=True, kw_only=True):
    """A process began to write a journal. The first line of every journal."""

    version: int
    journal: str
    run: str
    experiment: str
    name: str
    process: Process
    attempt: int = 0
    """Of a trial: which attempt this process makes. An earlier one's end does not end a later one."""


class Started(Event, tag="start", frozen=True, kw_only=True):
    """The run began, or went on after an earlier process of it had ended."""

    resumed: bool = False
    parent: str | None = None
    user: str | None = None


class Captured(Event, tag="capture", frozen=True, kw_only=True):
    """Facts about where the run comes from and what it runs on; later facts add to earlier ones."""

    git: dict[str, Any] | None = None
    args: dict[str, Any] | None = None
    env: dict[str, str] | None = None
    system: dict[str, Any] | None = None


class Params(Event, tag="params", frozen=True, kw_only=True):
    """Parameters, set or changed."""

    values: dict[str, Any]


class Tags(Event, tag="tags", frozen=True, kw_only=True):
    """Tags, set (key → value, None for a plain tag) and removed."""

    set: dict[str, str | None] = {}
    remove: tuple[str, ...] = ()


class Noted(Event, tag="note", frozen=True, kw_only=True):
    """The run's notes, replaced as a whole or added to."""

    text: str
    append: bool = False
    """Whether the text is a further line after the notes so far."""


class Alerted(Event, tag="alert", frozen=True, kw_only=True):
    """The code of the run raised an alert. `id` makes it one alert, however often it is read."""

    id: str
    title: str
    text: str = ""
    level: Level = "info"


class StatusChanged(Event, tag="status", frozen=True, kw_only=True):
    """The run moved to another state without ending."""

    status: Status
    reason: str | None = None


class Types(Event, tag="types", frozen=True, kw_only=True):
    """Metrics whose values are not plain floating-point numbers: int, bool or time."""

    types: dict[str, str]


class Points(Event, tag="points", frozen=True, kw_only=True):
    """Consecutive log calls with the same keys, as columns. `columns[i][j]` is key i, call j."""

    keys: tuple[str, ...]
    steps: list[Scalar]
    times: list[float]
    columns: list[list[Scalar]]
    kind: str = "metric"
    progress: list[float | None] | None = None


class ArtifactLogged(Event, tag="artifact", frozen=True, kw_only=True):
    """A file of the run. `path` is its name within the run; `uri` where the bytes are."""

    path: str
    kind: str
    uri: str
    size: int
    sha256: str | None = None
    mime: str | None = None
    step: Scalar | None = None
    metadata: dict[str, Any] = {}
    name: str | None = None
    """The series of versions it belongs to."""


class ArtifactUsed(Event, tag="use", frozen=True, kw_only=True):
    """The run read an artifact of another run."""

    owner: str
    path: str


class ArtifactRemoved(Event, tag="unartifact", frozen=True, kw_only=True):
    """The bytes of an artifact were removed, such as those of an older checkpoint."""

    path: str


class RecordLogged(Event, tag="record", frozen=True, kw_only=True):
    """A value that is not a number: text, a table, a histogram, an image; inline or in a file.

    Beside a file, `value` may say more about it, such as ``{"caption": "…"}``.
    """

    key: str
    kind: str
    step: Scalar
    value: Any = None
    path: str | None = None


class Ended(Event, tag="end", frozen=True, kw_only=True):
    """The run is over."""

    status: Status
    error: dict[str, Any] | None = None
    exit_code: int | None = None


class Closed(Event, tag="close", frozen=True, kw_only=True):
    """One process is done with its journal; the run itself goes on or was ended elsewhere."""


JournalEvent = (
    Opened
    | Started
    | Captured
    | Params
    | Tags
    | Noted
    | Alerted
    | StatusChanged
    | Types
    | ArtifactLogged
    | ArtifactUsed
    | ArtifactRemoved
    | RecordLogged
    | Ended
    | Closed
)
"""The events that a journal contains as JSON objects; points are short arrays instead."""
