"""Experiments: made, found, changed, forked."""

from collections.abc import Iterable, Mapping, Sequence
from types import EllipsisType
from typing import Any, cast

from runbase.analysis.listings import Experiments
from runbase.errors import UsageError
from runbase.model import Ancestor, Link, Objective
from runbase.space import Parameter, check
from runbase.storage.types import Query
from runbase.store.base import ExperimentLike, StoreBase, given, labels
from runbase.trials.experiment import Experiment, attach

Objectives = Mapping[str, str] | Iterable[Objective]
Limits = Mapping[str, tuple[float | None, float | None]]
Unset = EllipsisType


class ExperimentMethods(StoreBase):
    """The experiments of a store."""

    def create_experiment(
        self,
        name: str,
        *,
        description: str = "",
        base_model: str | None = None,
        method: str | None = None,
        tags: Any = None,
        config: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        objectives: Objectives | None = None,
        limits: Limits | None = None,
        space: Mapping[str, Parameter] | None = None,
        notes: str = "",
        status: str = "created",
        parent: ExperimentLike | None = None,
        exist_ok: bool = False,
        experiment_id: str | None = None,
        **columns: Any,
    ) -> Experiment:
        """A new experiment. `start_run` makes one by itself where there is none of a name.

        Args:
            name: what people call it; the newest of a name is the one that is found by it.
            description: what it is about.
            base_model: the model it starts from.
            method: how it trains or searches.
            tags: plain tags, or a mapping of tag to value.
            config: what its runs have in common, a nested document.
            metrics: headline figures of its own.
            objectives: metric → ``"min"`` or ``"max"``, or Objective records.
            limits: metric → what it must be, from and to (None: unbounded), for a trial to be feasible.
            space: parameter → `Int`, `Float` or `Categorical` of `runbase.space`: what it may be.
            parent: the experiment it descends from; `fork` copies its fields as well.
            exist_ok: return the newest of this name instead, where there is one.
            experiment_id: an id made elsewhere.
            columns: values of columns that you added to the table.
        """
        if not name.strip():
            raise UsageError("an experiment's name cannot be empty")
        fields: dict[str, Any] = {
            "description": description,
            "base_model": base_model,
            "method": method,
            "notes": notes,
            "status": status,
            "config": dict(config or {}),
            "metrics": dict(metrics or {}),
            "objectives": _objectives(objectives or {}),
            "limits": _limits(limits or {}),
            "space": check(space or {}),
            "tags": labels(tags),
            **columns,
        }
        if parent is not None:
            fields["parent_id"] = self._experiment_id(parent)
        if exist_ok and experiment_id is None:
            found = self.storage.get_or_create_experiment(name, fields)
        else:
            found = self.storage.create_experiment(name, fields, experiment_id)
        return self._experiment_of(found)

    def experiment(self, experiment: ExperimentLike) -> Experiment:
        """The newest experiment of a name, or the one with an id; NotFound otherwise."""
        return self._experiment_of(self._experiment_id(experiment))

    def experiments(
        self,
        where: str | None = None,
        *,
        order_by: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        after: str | None = None,
        deleted: bool = False,
    ) -> Experiments:
        """Experiments that satisfy a filter, newest first unless ordered.

        `where` and `order_by` are as for `runs`, over `name`, `status`, `method`, `base_model`,
        `tags.k`, `config.k`, `metrics.k`, `runs` (how many), `created_at`, `updated_at`. `after` is the
        `cursor` of the page before; `deleted` lists the bin instead.
        """
        query = Query(
            where=where, order_by=order_by, limit=limit, offset=offset, after=after, deleted=deleted
        )
        page = self.storage.experiments(query)
        return Experiments([attach(self, record) for record in page], page.cursor)

    def update_experiment(
        self,
        experiment: ExperimentLike,
        *,
        name: str | Unset = ...,
        description: str | Unset | None = ...,
        base_model: str | Unset | None = ...,
        method: str | Unset | None = ...,
        status: str | Unset | None = ...,
        notes: str | Unset | None = ...,
        tags: Any = ...,
        config: Mapping[str, Any] | Unset | None = ...,
        metrics: Mapping[str, Any] | Unset | None = ...,
        objectives: Objectives | Unset | None = ...,
        limits: Limits | Unset | None = ...,
        space: Mapping[str, Parameter] | Unset | None = ...,
        checkpoint: str | Unset | None = ...,
        parent: ExperimentLike | None = ...,
        **columns: Any,
    ) -> Experiment:
        """Set fields; what is given replaces what was there, and None or an empty value clears it.

        `columns` are those that you added to the table, and `created_at`, `updated_at`. Raises
        UsageError for a field there is not.
        """
        key = self._experiment_id(experiment)
        changes = given(
            name=name,
            description=description,
            base_model=base_model,
            method=method,
            status=status,
            notes=notes,
            config=config,
            metrics=metrics,
            checkpoint=checkpoint,
            **columns,
        )
        if tags is not ...:
            changes["tags"] = labels(tags)
        if not isinstance(objectives, EllipsisType):
            changes["objectives"] = _objectives(objectives or {})
        if not isinstance(limits, EllipsisType):
            changes["limits"] = _limits(limits or {})
        if not isinstance(space, EllipsisType):
            changes["space"] = check(space or {})
        if parent is not ...:
            changes["parent_id"] = None if parent is None else self._experiment_id(parent)
        self.storage.update("experiment", key, changes)
        return self._experiment_of(key)

    def add_to_experiment(
        self, experiment: ExperimentLike, **documents: Mapping[str, Any]
    ) -> Experiment:
        """Merge keys into `config`, `metrics` or `tags`: `add_to_experiment("x", metrics={"acc": 1})`."""
        key = self._experiment_id(experiment)
        if "tags" in documents:
            documents["tags"] = labels(documents["tags"])
        self.storage.add("experiment", key, documents)
        return self._experiment_of(key)

    def remove_from_experiment(
        self, experiment: ExperimentLike, **keys: Sequence[str]
    ) -> Experiment:
        """Take keys out of `config`, `metrics` or `tags`; those that are not there do not matter."""
        key = self._experiment_id(experiment)
        self.storage.remove("experiment", key, {name: _names(v) for name, v in keys.items()})
        return self._experiment_of(key)

    def fork(
        self,
        experiment: ExperimentLike,
        name: str | None = None,
        overrides: Mapping[str, Any] | None = None,
        *,
        runs: bool | str = False,
        description: str | None = None,
    ) -> Experiment:
        """A new experiment that descends from another one.

        It has the other's model, method, tags, objectives and own columns, and its configuration
        overlaid with `overrides` (nested documents merge). `name` defaults to ``<name>-fork``. With
        `runs` true, or a filter, the runs come along as copies with ids of their own, each linked to
        the one it was copied from (kind ``fork``).
        """
        parent = self.experiment(experiment)
        made = self.create_experiment(
            name or f"{parent.name}-fork",
            description=f"Forked from {parent.name}" if description is None else description,
            base_model=parent.base_model,
            method=parent.method,
            tags=parent.tags,
            config=_overlaid(parent.config, overrides or {}),
            objectives=parent.objectives,
            limits=parent.limits,
            space=parent.space,
            parent=parent,
            **{k: v for k, v in parent.columns.items() if v is not None},
        )
        self.storage.link("experiment", made.id, "fork", parent.id)
        if runs:
            query = Query(where=runs if isinstance(runs, str) else None, experiment=parent.id)
            self.storage.fork_runs([run.id for run in self.storage.runs(query)], made.id)
        return self._experiment_of(made.id)

    def _experiment_of(self, key: str) -> Experiment:
        return attach(self, self.storage.get_experiments([key])[0])

    def ancestors(self, experiment: ExperimentLike) -> list[Ancestor]:
        """Its line of descent, nearest first; also what was deleted or purged since."""
        return self.storage.lineage(self._experiment_id(experiment))[0]

    def descendants(self, experiment: ExperimentLike) -> list[Ancestor]:
        """What was forked from it, and from that, nearest first."""
        return self.storage.lineage(self._experiment_id(experiment))[1]

    def experiment_links(self, experiment: ExperimentLike) -> list[Link]:
        """What an experiment points to, and what points to it."""
        return self.storage.links("experiment", self._experiment_id(experiment))


def _objectives(objectives: Objectives) -> list[Objective]:
    found: list[Objective] = []
    if isinstance(objectives, Mapping):
        named = cast("Mapping[str, str]", objectives)
        found = [Objective(metric=key, direction=value) for key, value in named.items()]
    else:
        found = list(objectives)
    for objective in found:
        if objective.direction not in ("min", "max"):
            raise UsageError(
                f"the direction of {objective.metric!r} is {objective.direction!r}; use 'min' or 'max'"
            )
    return found


def _limits(limits: Limits) -> dict[str, tuple[float | None, float | None]]:
    for metric, (low, high) in limits.items():
        if (low is None and high is None) or (low is not None and high is not None and low > high):
            raise UsageError(f"the limits of {metric!r} are {low} and {high}")
    return dict(limits)


def _overlaid(config: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(config)
    for key, value in overrides.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            merged[key] = _overlaid(old, value)  # pyright: ignore[reportUnknownArgumentType]
        else:
            merged[key] = value
    return merged


def _names(keys: Sequence[str]) -> list[str]:
    return [keys] if isinstance(keys, str) else list(keys)
