"""Records of runs, experiments and what belongs to them."""

from datetime import datetime
from typing import Any, SupportsFloat

from msgspec import Struct, field

from runbase.errors import counted
from runbase.model.points import Scalar
from runbase.model.shown import Shown
from runbase.space import Parameter
from runbase.status import Phase, Status


class Objective(Struct, frozen=True, kw_only=True):
    """A metric to minimize or maximize.

    Attributes:
        metric: the name of the metric.
        direction: ``"min"`` or ``"max"``.
        weight: its weight in the sum of several objectives.
    """

    metric: str
    direction: str = "min"
    weight: float = 1.0


class Link(Struct, frozen=True, kw_only=True):
    """A link from one run or experiment to another.

    Attributes:
        from_id: the id of the object that the link starts from.
        kind: the name of the relation.
        to_id: the id of the object that it points to.
    """

    from_id: str
    kind: str
    to_id: str


class Ancestor(Struct, frozen=True, kw_only=True):
    """An ancestor or a descendant of an experiment; `distance` 1 is a parent or a child."""

    distance: int
    id: str
    name: str


class Use(Struct, frozen=True, kw_only=True):
    """A run (`run_id`) used an artifact (`path`) of another run (`owner_id`)."""

    run_id: str
    owner_id: str
    path: str
    time: datetime


class Experiment(Shown, Struct, frozen=True, kw_only=True):
    """A named group of runs.

    Attributes:
        id: 32 hexadecimal characters.
        name: the display name.
        description: what it is about.
        base_model: the model that it starts from.
        method: how it trains or searches.
        status: a text of your choice.
        parent_id: the experiment that it was forked from.
        config: settings that its runs share.
        created_at: when it was created, in UTC.
        updated_at: when it, or one of its runs, was last changed.
        runs: the number of its runs.
        notes: free text.
        tags: tag → value, None for a plain tag.
        metrics: summary metrics of the experiment itself.
        objectives: what its trials minimize or maximize.
        limits: metric → (low, high), the range in which a trial is feasible.
        space: parameter → its possible values.
        checkpoint: the path or URL of its best checkpoint.
        deleted_at: since when it is in the trash.
        columns: the columns that you added to the table of experiments.
    """

    id: str
    name: str
    description: str
    base_model: str | None
    method: str | None
    status: str
    parent_id: str | None
    config: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    runs: int
    notes: str = ""
    tags: dict[str, str | None] = {}
    metrics: dict[str, Any] = {}
    objectives: list[Objective] = []
    limits: dict[str, tuple[float | None, float | None]] = {}
    space: dict[str, Parameter] = {}
    checkpoint: str | None = None
    deleted_at: datetime | None = None
    columns: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Experiment {self.name}: {counted(self.runs, 'run')}, id {self.id}>"


class Metric(Struct, frozen=True, kw_only=True):
    """A summary of one metric of one run, which is stored with the run.

    NaN counts in `count` and `nans` only. The first, last, lowest and highest value are None if all
    values are NaN.

    In arithmetic, comparisons with numbers, `round` and format strings, a metric is its last value:
    ``f"{run.metrics['loss']:.3f}"``, ``1 - run.metrics["acc"]``.

    Attributes:
        key: the name of the metric.
        type: int, float, bool or time.
        count: the number of points.
        nans: the number of NaN values.
        first: the value at the lowest step.
        first_step: that step.
        last: the value at the greatest step; of several values there, the latest.
        last_step: that step.
        last_time: when it was logged.
        min: the lowest value.
        min_step: its step.
        max: the highest value.
        max_step: its step.
        mean: the mean of all values.
    """

    key: str
    type: str
    count: int
    nans: int
    first: float | None
    first_step: Scalar | None
    last: float | None
    last_step: Scalar | None
    last_time: datetime | None
    min: float | None
    min_step: Scalar | None
    max: float | None
    max_step: Scalar | None
    mean: float | None

    def __float__(self) -> float:
        if self.last is None:
            raise TypeError(f"the metric {self.key!r} has no value")
        return float(self.last)

    def __int__(self) -> int:
        return int(float(self))

    def __round__(self, digits: int | None = None) -> float:
        return round(float(self), digits) if digits is not None else round(float(self))

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else repr(self)

    def __repr__(self) -> str:
        figures = f"last {self.last} at step {self.last_step}, min {self.min}, max {self.max}"
        return f"<Metric {self.key}: {figures}, {counted(self.count, 'point')}>"

    def __neg__(self) -> float:
        return -float(self)

    def __abs__(self) -> float:
        return abs(float(self))

    def __add__(self, other: SupportsFloat) -> float:
        return float(self) + float(other)

    def __radd__(self, other: SupportsFloat) -> float:
        return float(other) + float(self)

    def __sub__(self, other: SupportsFloat) -> float:
        return float(self) - float(other)

    def __rsub__(self, other: SupportsFloat) -> float:
        return float(other) - float(self)

    def __mul__(self, other: SupportsFloat) -> float:
        return float(self) * float(other)

    def __rmul__(self, other: SupportsFloat) -> float:
        return float(other) * float(self)

    def __truediv__(self, other: SupportsFloat) -> float:
        return float(self) / float(other)

    def __rtruediv__(self, other: SupportsFloat) -> float:
        return float(other) / float(self)

    def __pow__(self, other: SupportsFloat) -> float:
        return float(self) ** float(other)

    def __lt__(self, other: SupportsFloat) -> bool:
        return float(self) < float(other)

    def __le__(self, other: SupportsFloat) -> bool:
        return float(self) <= float(other)

    def __gt__(self, other: SupportsFloat) -> bool:
        return float(self) > float(other)

    def __ge__(self, other: SupportsFloat) -> bool:
        return float(self) >= float(other)


class Artifact(Struct, frozen=True, kw_only=True):
    """A file or folder of a run.

    Attributes:
        path: its path in the run.
        kind: such as checkpoint, model, dataset, image.
        uri: where the bytes are: a path in the run's folder, or a URL.
        size: the size in bytes.
        sha256: the SHA-256 of the bytes.
        mime: the media type.
        step: the step that it belongs to.
        metadata: name → value, as passed when it was logged.
        created_at: when it was logged.
        run_id: the id of the run.
        name: the name that its versions share.
        version: the number of its version.
        removed_at: when its bytes were removed.
    """

    path: str
    kind: str
    uri: str
    size: int
    sha256: str | None
    mime: str | None
    step: Scalar | None
    metadata: dict[str, Any]
    created_at: datetime
    run_id: str = ""
    name: str | None = None
    version: int | None = None
    removed_at: datetime | None = None


class Change(Struct, frozen=True, kw_only=True):
    """An entry of the status history of a run.

    Attributes:
        status: the new status.
        time: when the status changed.
        reason: why, for people.
        attempt: the number of the attempt, for a trial.
    """

    status: Status
    time: datetime
    reason: str | None
    attempt: int = 0


class Run(Shown, Struct, frozen=True, kw_only=True):
    """One execution, as it was when it was read. Times are aware, in UTC.

    Attributes:
        id: 32 hexadecimal characters, or the id passed to `start_run`.
        experiment: the name of the experiment.
        experiment_id: its id.
        number: the number of the run in the experiment, from 1.
        name: the display name.
        status: the status.
        created_at: when it was created.
        started_at: when it started; for a resumed run, when it first started.
        ended_at: when it ended.
        updated_at: when it was last changed.
        seen_at: the last heartbeat.
        parent_id: the id of the run that it belongs to.
        user: who started it.
        host: the machine that it runs on.
        pid: the id of its process.
        folder: its folder, relative to the home, or absolute.
        notes: free text.
        params: parameter → value.
        tags: tag → value, None for a plain tag.
        metrics: key → summary of the metric.
        git: commit, branch, remote and whether there are uncommitted changes.
        args: the script, the command line and its options.
        env: environment variables on the allow-list.
        system: hardware, packages and the Slurm job.
        error: type, message and traceback of the exception that ended it.
        exit_code: the exit code of its process.
        alive: whether it was active when it was read, and its last heartbeat was at most three minutes old.
        dead_seconds: for a resumed run, how long it had no process.
        checkpoint: the path of the artifact that is its checkpoint.
        source_status: the name of the status in the tool that it was imported from.
        deleted_at: since when it is in the trash.
        missing_at: since when scans do not find its folder.
        queued_at: since when it is a trial; None for other runs.
        due_at: the earliest time at which the trial can be claimed.
        priority: the priority of the trial; the highest is claimed first.
        attempt: the number of the attempt at the trial, from 1.
        retries: the number of retries if the runner of the trial is lost.
        runner: the runner that claimed the trial, or the only one that can.
        lease_until: when the claim expires.
        columns: the columns that you added to the table of runs.
        attributes: scope → key → value, which tools and importers store. Only if a single run was read.
        links: links from and to other runs. Only if a single run was read.
        uses: artifacts of other runs that it used. Only if a single run was read.
        artifacts: its artifacts. Only if a single run was read.
        history: its status history. Only if a single run was read.
    """

    id: str
    experiment: str
    experiment_id: str
    number: int
    name: str
    status: Status
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime
    seen_at: datetime | None
    parent_id: str | None
    user: str | None
    host: str | None
    pid: int | None
    folder: str | None
    notes: str
    params: dict[str, Any]
    tags: dict[str, str | None]
    metrics: dict[str, Metric]
    git: dict[str, Any]
    args: dict[str, Any]
    env: dict[str, str]
    system: dict[str, Any]
    error: dict[str, Any] | None
    exit_code: int | None
    alive: bool = False
    dead_seconds: float = 0.0
    checkpoint: str | None = None
    source_status: str | None = None
    deleted_at: datetime | None = None
    missing_at: datetime | None = None
    queued_at: datetime | None = None
    due_at: datetime | None = None
    priority: int = 0
    attempt: int = 0
    retries: int = 0
    runner: str | None = None
    lease_until: datetime | None = None
    columns: dict[str, Any] = {}
    attributes: dict[str, dict[str, Any]] = {}
    links: list[Link] = []
    uses: list[Use] = []
    artifacts: list[Artifact] = field(default_factory=list[Artifact])
    history: list[Change] = field(default_factory=list[Change])

    @property
    def seconds(self) -> float | None:
        """How long it ran, or has run so far, in seconds, without the time in which it had no process."""
        return None if self.elapsed is None else max(self.elapsed - self.dead_seconds, 0.0)

    @property
    def elapsed(self) -> float | None:
        """Seconds from the start to the end, or until now."""
        if self.started_at is None:
            return None
        end = self.ended_at or self.seen_at or self.updated_at
        return max((end - self.started_at).total_seconds(), 0.0)

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.status.phase is Phase.ENDED

    def __repr__(self) -> str:
        counts = f"{counted(len(self.params), 'parameter')}, {counted(len(self.metrics), 'metric')}"
        return (
            f"<Run {self.name} of {self.experiment}: {self.status.value}, {counts}, id {self.id}>"
        )


RUN_FIELDS = (
    "id",
    "experiment",
    "number",
    "name",
    "status",
    "alive",
    "created_at",
    "started_at",
    "ended_at",
    "seconds",
    "user",
    "host",
    "parent_id",
    "notes",
    "exit_code",
)
"""Columns of frames and tables for which none were chosen, before those of users, parameters, metrics and tags."""
