"""What a run is started with: the arguments of `start_run`, and what is made of them before a `Run` exists."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from runbase.events import Scalar
from runbase.status import Status
from runbase.typing import RunLike

if TYPE_CHECKING:
    from runbase.capture.output import OutputCapture
    from runbase.journal import JournalWriter
    from runbase.run.background import RunMonitor
    from runbase.run.context import OpenStore


class RunOptions(Struct, frozen=True, kw_only=True):
    """The arguments of `runbase.start_run`, which describes them."""

    experiment: str | None = None
    name: str | None = None
    params: Mapping[str, object] | None = None
    tags: "str | Iterable[str] | Mapping[str, object] | None" = None
    notes: str | None = None
    store: "OpenStore | str | None" = None
    home: "str | os.PathLike[str] | None" = None
    resume: str | None = None
    parent: RunLike | bool | None = None
    """A `Run`, an id, None (the enclosing run), or a bool."""
    capture: "bool | Iterable[str] | None" = None
    ends: Mapping[str, Status | str | None] | None = None
    run_id: str | None = None


class RunSetup(Struct, frozen=True, kw_only=True):
    """What a `Run` consists of when it begins.

    Attributes:
        run_id: 32 hexadecimal characters, or the id passed to `start_run`.
        store: the database's URL without a password; None: files only.
        next_step: the step of the next log call that names none.
        outcomes: the statuses of the endings normal, exception, interrupt and terminate.
        finish_timeout: seconds that `finish` waits for the database.
        attached: whether another process began the run and ends it.
        discard: a temporary home that is deleted at the end; None: the run is kept.
        quiet: whether nothing is printed about the run.
        artifact_root: where artifacts are uploaded to; None: they stay in the run's folder.
        number: the number of a trial in its experiment; None for other runs, which get theirs with the ingest.
        attempt: the number of the attempt at a trial, from 1; 0 for other runs.
        runner: the name of the runner that claimed the trial.
        suffix: what the names of metrics and telemetry end with, to tell the processes of a distributed job apart.
    """

    run_id: str
    name: str
    experiment: str
    folder: Path
    store: str | None
    journal: "JournalWriter"
    monitor: "RunMonitor"
    next_step: Scalar
    outcomes: Mapping[str, Status | None]
    captured: "OutputCapture | None"
    finish_timeout: float
    parent: str | None
    attached: bool
    discard: Path | None
    quiet: bool
    artifact_root: str | None
    number: int | None = None
    attempt: int = 0
    runner: str | None = None
    suffix: str = ""
