"""`define_metric`: which metric is the step of others, and what the summary keeps of each."""

import re
from collections.abc import Mapping
from fnmatch import fnmatchcase

from msgspec import Struct

from runbase.typing import JsonObject
from runbase.wandb.errors import Error

SUMMARIES = ("min", "max", "mean", "last", "first", "best", "copy", "none")
_STEP = re.compile(r"(?:^|[/_.\-])steps?$", re.IGNORECASE)


class Metric(Struct, kw_only=True):
    """The definition of a metric, or of all metrics that a pattern such as ``val/*`` matches.

    Attributes:
        name: the name or pattern.
        step_metric: the metric that it is shown against.
        step_sync: whether the last value of the step metric is added to rows that lack it.
        hidden: whether charts of it are hidden; recorded only.
        summary: what the summary keeps: min, max, mean, last, first, best, copy, none.
        goal: minimize or maximize, for `best`.
    """

    name: str
    step_metric: str | None = None
    step_sync: bool = True
    hidden: bool | None = None
    summary: tuple[str, ...] = ()
    goal: str | None = None


class Definitions:
    """The definitions of a run."""

    def __init__(self) -> None:
        self.exact: dict[str, Metric] = {}
        self.patterns: dict[str, Metric] = {}
        self.steps: set[str] = set()
        """The step metrics of others."""
        self._found: dict[str, Metric | None] = {}

    def __bool__(self) -> bool:
        return bool(self.exact or self.patterns)

    def define(
        self,
        name: str,
        *,
        step_metric: "str | Metric | None" = None,
        step_sync: bool | None = None,
        hidden: bool | None = None,
        summary: str | None = None,
        goal: str | None = None,
        overwrite: bool | None = None,
    ) -> Metric:
        """Add a definition, or change that of the same name."""
        target = self.patterns if "*" in name else self.exact
        before = None if overwrite else target.get(name)
        step = step_metric.name if isinstance(step_metric, Metric) else step_metric
        parts = None if summary is None else _parts(summary)
        old = before or Metric(name=name)
        metric = Metric(
            name=name,
            step_metric=old.step_metric if step is None else step,
            step_sync=old.step_sync if step_sync is None else step_sync,
            hidden=old.hidden if hidden is None else hidden,
            summary=old.summary if parts is None else parts,
            goal=old.goal if goal is None else goal,
        )
        target[name] = metric
        self.steps = {one.step_metric for one in self.all() if one.step_metric is not None}
        self._found.clear()
        return metric

    def of(self, key: str) -> Metric | None:
        """Return the definition of a metric: its own, else that of the first pattern that matches."""
        if key not in self._found:
            self._found[key] = self._find(key)
        return self._found[key]

    def step_of(self, key: str) -> Metric | None:
        """Return the definition of a metric if it has a step metric."""
        metric = self.of(key)
        return metric if metric is not None and metric.step_metric not in (None, key) else None

    def all(self) -> list[Metric]:
        """Return all definitions."""
        return [*self.exact.values(), *self.patterns.values()]

    def as_dict(self) -> JsonObject:
        """Return the definitions as a JSON document: name → what was defined."""
        return {metric.name: _document(metric) for metric in self.all()}

    def load(self, document: Mapping[str, JsonObject]) -> None:
        """Add the definitions of `as_dict`."""
        for name, values in document.items():
            self.define(name, **{k: v for k, v in values.items() if k != "summary"})
            self.define(name, summary=",".join(values.get("summary", ())) or None)

    def _find(self, key: str) -> Metric | None:
        if key.startswith("_"):
            return None
        if key in self.exact:
            return self.exact[key]
        matching = (m for pattern, m in self.patterns.items() if fnmatchcase(key, pattern))
        return next(matching, None)


def counts_steps(name: str) -> bool:
    """Return whether the name of a step metric says that it counts steps: ``trainer/global_step``, and not ``epoch``."""
    return _STEP.search(name) is not None


def _parts(summary: str) -> tuple[str, ...]:
    parts = tuple(part.strip().lower() for part in summary.split(",") if part.strip())
    for part in parts:
        if part not in SUMMARIES:
            raise Error(f"define_metric: summary is {part!r}; use {', '.join(SUMMARIES)}")
    return parts


def _document(metric: Metric) -> JsonObject:
    values: JsonObject = {
        "step_metric": metric.step_metric,
        "step_sync": None if metric.step_sync else False,
        "hidden": metric.hidden,
        "summary": list(metric.summary) or None,
        "goal": metric.goal,
    }
    return {key: value for key, value in values.items() if value is not None}
