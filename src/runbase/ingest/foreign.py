"""The records that importers return: runs and experiments of other systems."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from runbase.events import Scalar
from runbase.model import Objective, Run
from runbase.status import Status
from runbase.typing import JsonObject

_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?|[+-]?\.\d+|nan|[+-]?inf")


class ImportRequest(Struct, frozen=True, kw_only=True):
    """What an importer is asked to read."""

    source: str
    problems: list[str] = []
    """A list to which the importer adds what it cannot read, with reasons."""
    known: "Callable[[Sequence[str]], dict[str, Run]]" = lambda ids: {}
    """Returns those of some runs, by id, that are in the database; unchanged runs need not be read again."""
    columns: dict[str, str] = {}
    """For tables: column, or pattern of columns, → its meaning."""
    experiment: str | None = None
    """For tables that do not name one: the experiment of the runs."""
    left_out: dict[str, int] = {}
    """Data that cannot be imported: kind → number."""

    def leave_out(self, what: str, number: int = 1) -> None:
        """Count data that cannot be imported."""
        if number:
            self.left_out[what] = self.left_out.get(what, 0) + number


class Artifact(Struct, frozen=True, kw_only=True):
    """A file of a run: its path within the run, its location, and its size in bytes."""

    path: str
    uri: str
    size: int
    kind: str = "file"
    sha256: str | None = None


class ImportedRecord(Struct, frozen=True, kw_only=True):
    """A value that is not a number, at a step; its kind is one of `RecordLogged`. It is inline or in the artifact `path`."""

    time: float
    step: Scalar
    key: str
    kind: str
    value: object = None
    path: str | None = None


class ImportedRun(Struct, kw_only=True):
    """A run of another system. Times are seconds since the epoch."""

    id: str
    """32 hexadecimal characters: the id in the other system if it has this form."""
    name: str
    experiment: str
    experiment_id: str | None = None
    """The experiment's id, if several experiments may have its name; see `ImportedExperiment.id`."""
    status: Status
    source_status: str
    created: float | None = None
    """When the run was created, if the source records this separately from its start."""
    started: float
    has_started: bool = False
    """For a run with a waiting status: whether it has been started before."""
    ended: float | None = None
    user: str | None = None
    parent: str | None = None
    notes: str = ""
    params: JsonObject = {}
    tags: dict[str, str | None] = {}
    git: JsonObject = {}
    args: JsonObject = {}
    system: JsonObject = {}
    env: dict[str, str] = {}
    links: list[tuple[str, str]] = []
    """Links to other runs: (kind of link, id of a run)."""
    exit_code: int | None = None
    error: JsonObject | None = None
    """Of a failed run: type and message of the error."""
    history: list[tuple[float, Status]] = []
    """(time, status) of earlier states, if recorded."""
    due: float | None = None
    """For a trial in the queue: when it is due."""
    metrics: dict[str, list[tuple[float, int | float, float]]] = {}
    """Metric → (time, step, value) of each point."""
    progress: dict[str, list[float | None]] = {}
    """Metric → share of the run's work that was done at each of its points, if recorded."""
    by_step: bool = False
    """The points come from several sources: a point is new if its step is new."""
    upserts: bool = False
    """Values may change after they were recorded; a changed value is stored as a later point of its step."""
    types: dict[str, str] = {}
    """Metric → bool or time, if its values are not plain numbers."""
    texts: list[tuple[float, int | float, str, Any]] = []
    """(time, step, key, value) of values that are not numbers."""
    records: list[ImportedRecord] = []
    """The same with a kind: images, tables, histograms."""
    artifacts: list[Artifact] = []
    attributes: dict[str, JsonObject] = {}
    """Data that tools store with the run: scope → key → value."""
    samples: list[tuple[float, str, Any]] = []
    """Telemetry: (time, key, value)."""
    deleted: bool = False


class ImportedExperiment(Struct, kw_only=True):
    """An experiment of another system."""

    name: str
    id: str | None = None
    """Its id in the database, if several experiments may have one name; None: it is identified by its name."""
    created: float | None = None
    """When it was created, in seconds since the epoch."""
    updated: float | None = None
    """When it was last changed, in seconds since the epoch."""
    description: str = ""
    objectives: dict[str, str] | list[Objective] = {}
    fields: JsonObject = {}
    """Other fields, set if the experiment is created."""
    links: list[tuple[str, str]] = []
    """Links to other experiments: (kind of link, name or `id` of an experiment)."""
    parent: str | None = None
    """The name or `id` of its parent experiment, which was listed earlier."""
    attributes: dict[str, JsonObject] = {}


def typed(text: str) -> Any:
    """Convert a parameter that was stored as text: to a number, a bool or None if it is one, else return the text."""
    if text in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[text]
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
