"""What importers give: runs as other systems have them, and what is said of experiments."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from runbase.events import Scalar
from runbase.model import Objective, Run
from runbase.status import Status

_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?|[+-]?\.\d+|nan|[+-]?inf")


class ImportRequest(Struct, frozen=True, kw_only=True):
    """What an importer is asked for."""

    source: str
    problems: list[str] = []
    """Where it names what it cannot read, and why."""
    known: "Callable[[Sequence[str]], dict[str, Run]]" = lambda ids: {}
    """Of some runs, by id, those that are here: what has not changed need not be asked for again."""
    columns: dict[str, str] = {}
    """Of a table: column, or pattern of columns, → what it is."""
    experiment: str | None = None
    """Of a table that does not say: the experiment of its runs."""
    left_out: dict[str, int] = {}
    """What cannot be brought along: what it is → how many."""

    def leave_out(self, what: str, number: int = 1) -> None:
        """Count what cannot be brought along."""
        if number:
            self.left_out[what] = self.left_out.get(what, 0) + number


class Artifact(Struct, frozen=True, kw_only=True):
    """A file of a run: its name within the run, where it is, and bytes."""

    path: str
    uri: str
    size: int
    kind: str = "file"
    sha256: str | None = None


class ImportedRecord(Struct, frozen=True, kw_only=True):
    """What is no number, at a step: of a kind that `RecordLogged` knows, inline or as the artifact `path`."""

    time: float
    step: Scalar
    key: str
    kind: str
    value: Any = None
    path: str | None = None


class ImportedRun(Struct, kw_only=True):
    """A run as another system has it. Times are seconds since the epoch."""

    id: str
    """32 hexadecimal characters: its own id where that is such a one."""
    name: str
    experiment: str
    experiment_id: str | None = None
    """The experiment's id, where several may have its name; see `Told.id`."""
    status: Status
    source_status: str
    created: float | None = None
    """When it was created, where that is told apart from its start."""
    started: float
    has_started: bool = False
    """Of one whose status says that it waits: whether it has been started all the same."""
    ended: float | None = None
    user: str | None = None
    parent: str | None = None
    notes: str = ""
    params: dict[str, Any] = {}
    tags: dict[str, str | None] = {}
    git: dict[str, Any] = {}
    args: dict[str, Any] = {}
    system: dict[str, Any] = {}
    env: dict[str, str] = {}
    links: list[tuple[str, str]] = []
    """What it points to: (kind of link, id of a run)."""
    exit_code: int | None = None
    error: dict[str, Any] | None = None
    """Of a failed run: type and message."""
    history: list[tuple[float, Status]] = []
    """(time, status) that it had before, where that is recorded."""
    due: float | None = None
    """Of a trial that waits in the queue: when it is due."""
    metrics: dict[str, list[tuple[float, int | float, float]]] = {}
    """Metric → (time, step, value) of each point."""
    progress: dict[str, list[float | None]] = {}
    """Metric → the share of the run's work that was done, for each of its points, where that was said."""
    by_step: bool = False
    """Its points come from several sources: points are new if their step is new."""
    upserts: bool = False
    """Its values may change after they were recorded: one that did comes in as a later point of its step."""
    types: dict[str, str] = {}
    """Metric → bool or time, where its values are no plain numbers."""
    texts: list[tuple[float, int | float, str, Any]] = []
    """(time, step, key, value) of what is no number."""
    records: list[ImportedRecord] = []
    """The same with its kind: images, tables, histograms."""
    artifacts: list[Artifact] = []
    attributes: dict[str, dict[str, Any]] = {}
    """What its tools kept about it: scope → key → value."""
    samples: list[tuple[float, str, Any]] = []
    """Telemetry: (time, key, value)."""
    deleted: bool = False


class ImportedExperiment(Struct, kw_only=True):
    """What another system says of an experiment."""

    name: str
    id: str | None = None
    """Its id in our store, where several experiments may have one name; None: it is found by its name."""
    created: float | None = None
    """When it was created, in seconds since the epoch."""
    updated: float | None = None
    """When it was last changed."""
    description: str = ""
    objectives: dict[str, str] | list[Objective] = {}
    fields: dict[str, Any] = {}
    """Other fields of our experiments, for one that is not here yet."""
    links: list[tuple[str, str]] = []
    """What it points to: (kind of link, name or `id` of an experiment)."""
    parent: str | None = None
    """The name or `id` of the one that it descends from, which came before it."""
    attributes: dict[str, dict[str, Any]] = {}


def typed(text: str) -> Any:
    """A parameter that was stored as text, as what it was: a number, true or false, None; else the text."""
    if text in ("True", "False", "None"):
        return {"True": True, "False": False, "None": None}[text]
    if not _NUMBER.fullmatch(text):
        return text
    return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
