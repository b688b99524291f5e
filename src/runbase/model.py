"""The records that a store hands out: frozen, plain, without a way back to the database."""

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, SupportsFloat

from msgspec import Struct, field

from runbase.errors import counted
from runbase.space import Parameter
from runbase.status import Phase, Status

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Scalar = int | float


class Shown:
    """An object with a view in notebooks, which `runbase.analysis.views` makes."""

    __slots__ = ()
    views: ClassVar[dict[str, Callable[[Any], str]]] = {}
    """Name of the class → a function that returns HTML."""

    def _repr_html_(self) -> str | None:
        for kind in type(self).__mro__:
            if kind.__name__ in Shown.views:
                return Shown.views[kind.__name__](self)
        return None


class Objective(Struct, frozen=True, kw_only=True):
    """A metric to make small or great: `direction` is min or max, `weight` its share of several."""

    metric: str
    direction: str = "min"
    weight: float = 1.0


class Link(Struct, frozen=True, kw_only=True):
    """A link from one run or experiment to another; `kind` names the relation."""

    from_id: str
    kind: str
    to_id: str


class Ancestor(Struct, frozen=True, kw_only=True):
    """One step of a line of descent; `distance` 1 is a parent or a child."""

    distance: int
    id: str
    name: str


class Use(Struct, frozen=True, kw_only=True):
    """A run read an artifact of another run (`owner_id`)."""

    run_id: str
    owner_id: str
    path: str
    time: datetime


class Experiment(Shown, Struct, frozen=True, kw_only=True):
    """A named group of runs. `columns` are those that you added to its table."""

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
    """How many runs it has."""
    notes: str = ""
    tags: dict[str, str | None] = {}
    metrics: dict[str, Any] = {}
    """Its own headline figures."""
    objectives: list[Objective] = []
    limits: dict[str, tuple[float | None, float | None]] = {}
    """Metric → what it must be, from and to, for a trial to be feasible."""
    space: dict[str, Parameter] = {}
    """What its parameters may be."""
    checkpoint: str | None = None
    deleted_at: datetime | None = None
    columns: dict[str, Any] = {}

    def __repr__(self) -> str:
        return f"<Experiment {self.name}: {counted(self.runs, 'run')}, id {self.id}>"


class Metric(Struct, frozen=True, kw_only=True):
    """What is known of one metric of one run without looking at its points.

    NaN counts in `count` and `nans` and in nothing else. `last` belongs to the greatest step and,
    of several points there, to the latest. `mean` is over the points that are numbers.

    In arithmetic, comparisons with numbers, `round` and format strings, a metric is its last value:
    ``f"{run.metrics['loss']:.3f}"``, ``1 - run.metrics["acc"]``.
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
    """A file that belongs to a run. `size` is in bytes."""

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
    """When its bytes were removed."""


class Change(Struct, frozen=True, kw_only=True):
    """One step of a run's status history."""

    status: Status
    time: datetime
    reason: str | None
    attempt: int = 0
    """Of a trial: which attempt at it."""


class Run(Shown, Struct, frozen=True, kw_only=True):
    """One execution, as it stood when it was read. Times are aware, in UTC."""

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
    """Whether it was active when it was read, with a heartbeat within the three minutes before."""
    dead_seconds: float = 0.0
    """Of a resumed run: for how long no process of it was there."""
    checkpoint: str | None = None
    source_status: str | None = None
    """The state's word in the system that it was imported from."""
    deleted_at: datetime | None = None
    missing_at: datetime | None = None
    """Since when its folder was not found by a scan."""
    queued_at: datetime | None = None
    """Since when it is a trial: it waits, or waited, in its experiment's queue."""
    due_at: datetime | None = None
    priority: int = 0
    attempt: int = 0
    """Which attempt at a trial this is, from 1."""
    retries: int = 0
    runner: str | None = None
    """Who claimed it, or is to."""
    lease_until: datetime | None = None
    columns: dict[str, Any] = {}
    """Columns that you added to the table of runs."""
    attributes: dict[str, dict[str, Any]] = {}
    """What tools and importers keep about it: scope → key → value. Read with a single run only."""
    links: list[Link] = []
    uses: list[Use] = []
    artifacts: list[Artifact] = field(default_factory=list[Artifact])
    history: list[Change] = field(default_factory=list[Change])

    @property
    def seconds(self) -> float | None:
        """For how long it ran, or has run so far, in seconds; without the time before it was resumed."""
        return None if self.elapsed is None else max(self.elapsed - self.dead_seconds, 0.0)

    @property
    def elapsed(self) -> float | None:
        """Seconds from its beginning to its end, or until now."""
        if self.started_at is None:
            return None
        end = self.ended_at or self.seen_at or self.updated_at
        return max((end - self.started_at).total_seconds(), 0.0)

    @property
    def ended(self) -> bool:
        """Whether it is over."""
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


class Series(Shown):
    """The points of one metric of one run, as three NumPy arrays of equal length.

    `steps` is int64, or float64 where a step is fractional; `times` is float64, seconds since the
    epoch (UTC); `values` is float64.
    """

    __slots__ = ("key", "steps", "times", "values")

    def __init__(
        self,
        key: str,
        steps: "NDArray[np.int64] | NDArray[np.float64]",
        times: "NDArray[np.float64]",
        values: "NDArray[np.float64]",
    ) -> None:
        self.key, self.steps, self.times, self.values = key, steps, times, values

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"<Series {self.key}: {len(self)} points>"


class Envelope(Shown):
    """A metric summarised for drawing: per bucket the least, greatest and mean value.

    Arrays of equal length: `first_steps`, `last_steps`, `min`, `max`, `mean` (float64) and `counts`
    (int64). Every point lies in exactly one bucket, so no outlier is ever hidden; buckets without
    points do not appear. NaN does not count; a bucket of nothing but NaN has NaN in all three.
    """

    __slots__ = ("counts", "first_steps", "key", "last_steps", "max", "mean", "min")

    def __init__(
        self,
        key: str,
        first_steps: "NDArray[np.float64]",
        last_steps: "NDArray[np.float64]",
        minimum: "NDArray[np.float64]",
        maximum: "NDArray[np.float64]",
        mean: "NDArray[np.float64]",
        counts: "NDArray[np.int64]",
    ) -> None:
        self.key = key
        self.first_steps, self.last_steps = first_steps, last_steps
        self.min, self.max, self.mean, self.counts = minimum, maximum, mean, counts

    def __len__(self) -> int:
        return len(self.counts)

    def __repr__(self) -> str:
        return f"<Envelope {self.key}: {int(self.counts.sum())} points in {len(self)} buckets>"
