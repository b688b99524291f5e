"""Experiment methods of a store: create, list, change, fork."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import msgspec
from msgspec import UNSET, UnsetType

from runbase.analysis.listings import Experiments
from runbase.errors import UsageError
from runbase.model import Ancestor, Link, Objective
from runbase.space import Parameter, check
from runbase.storage.types import Query
from runbase.store.base import StoreBase, given
from runbase.trials.experiment import Experiment, attach
from runbase.typing import ExperimentLike, JsonObject, TagsLike
from runbase.values import as_direction, as_tags

Objectives = Mapping[str, str] | Iterable[Objective]
Limits = Mapping[str, tuple[float | None, float | None]]


class ExperimentMethods(StoreBase):
    """The experiments of a store."""

    def create_experiment(
        self,
        name: str,
        *,
        description: str = "",
        base_model: str | None = None,
        method: str | None = None,
        tags: TagsLike = None,
        config: Mapping[str, object] | None = None,
        metrics: Mapping[str, object] | None = None,
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
        """Create an experiment.

        `start_run` creates an experiment automatically if none has the name.

        Args:
            name: the display name. A name finds the newest experiment that has it.
            description: what the experiment is about.
            base_model: the model it starts from.
            method: how it trains or searches.
            tags: plain tags, or a mapping of tag to value.
            config: settings that its runs share, as a nested document.
            metrics: summary metrics of the experiment itself.
            objectives: metric → ``"min"`` or ``"max"``, or `Objective` records.
            limits: metric → (low, high), the range in which a trial is feasible; None is unbounded.
            space: parameter → `Int`, `Float` or `Categorical` of `runbase.space`, its possible values.
            notes: free text.
            status: a name of your choice.
            parent: the experiment it descends from. `fork` copies its fields as well.
            exist_ok: return the newest experiment of this name if there is one.
            experiment_id: an id created elsewhere.
            columns: values of columns that you added to the table.

        Returns:
            The experiment.

        Raises:
            UsageError: the name is empty, or an objective, a limit or a parameter is not valid.
            NotFound: the parent does not exist.
        """
        if not name.strip():
            raise UsageError("the name of an experiment is empty; pass a name")
        fields: JsonObject = {
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
            "tags": as_tags(tags),
            **columns,
        }
        if parent is not None:
            fields["parent_id"] = self._experiment_id(parent)
        if exist_ok and experiment_id is None:
            created = self.storage.get_or_create_experiment(name, fields)
        else:
            created = self.storage.create_experiment(name, fields, experiment_id)
        return self._experiment_of(created)

    def experiment(self, experiment: ExperimentLike) -> Experiment:
        """Return the experiment with an id, or the newest one with a name.

        Raises:
            NotFound: no experiment has this id or name.
            Ambiguous: several ids begin with the prefix.
        """
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
        """Return the experiments that match a filter, newest first by default.

        Args:
            where: a filter as for `runs`, over `name`, `status`, `method`, `base_model`, `tags.k`,
                `config.k`, `metrics.k`, `runs` (the number of runs), `created_at`, `updated_at`.
            order_by: expressions to sort by, as for `runs`.
            limit: the maximum number of experiments.
            offset: the number of experiments to skip.
            after: the `cursor` of the previous page.
            deleted: list the trash instead.

        Returns:
            A list of experiments with the `cursor` of the next page.

        Raises:
            FilterError: a filter or a sort key is not valid; the message shows the position.
        """
        query = Query(
            where=where, order_by=order_by, limit=limit, offset=offset, after=after, deleted=deleted
        )
        page = self.reader.experiments(query)
        return Experiments([attach(self, record) for record in page], page.cursor)

    def update_experiment(
        self,
        experiment: ExperimentLike,
        *,
        name: str | UnsetType = UNSET,
        description: str | UnsetType | None = UNSET,
        base_model: str | UnsetType | None = UNSET,
        method: str | UnsetType | None = UNSET,
        status: str | UnsetType | None = UNSET,
        notes: str | UnsetType | None = UNSET,
        tags: TagsLike | UnsetType = UNSET,
        config: Mapping[str, object] | UnsetType | None = UNSET,
        metrics: Mapping[str, object] | UnsetType | None = UNSET,
        objectives: Objectives | UnsetType | None = UNSET,
        limits: Limits | UnsetType | None = UNSET,
        space: Mapping[str, Parameter] | UnsetType | None = UNSET,
        checkpoint: str | UnsetType | None = UNSET,
        parent: ExperimentLike | UnsetType | None = UNSET,
        **columns: Any,
    ) -> Experiment:
        """Set fields of an experiment.

        A value replaces the stored one, tags and documents as a whole. None or an empty value
        clears the field. Fields that are not passed stay unchanged. The arguments are those of
        `create_experiment`, and:

        Args:
            experiment: the experiment.
            checkpoint: the checkpoint to use for it.
            columns: values of columns that you added to the table, `created_at`, `updated_at`.

        Returns:
            The changed experiment.

        Raises:
            UsageError: a field does not exist, or a value is not valid.
            NotFound: the experiment or its parent does not exist.
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
        if tags is not UNSET:
            changes["tags"] = as_tags(tags)
        if not isinstance(objectives, UnsetType):
            changes["objectives"] = _objectives(objectives or {})
        if not isinstance(limits, UnsetType):
            changes["limits"] = _limits(limits or {})
        if not isinstance(space, UnsetType):
            changes["space"] = check(space or {})
        if parent is not UNSET:
            changes["parent_id"] = None if parent is None else self._experiment_id(parent)
        self.storage.update("experiment", key, changes)
        return self._experiment_of(key)

    def add_to_experiment(
        self, experiment: ExperimentLike, **documents: Mapping[str, object]
    ) -> Experiment:
        """Merge keys into `config`, `metrics` or `tags`, for example `metrics={"acc": 1}`.

        Returns:
            The changed experiment.
        """
        key = self._experiment_id(experiment)
        if "tags" in documents:
            documents["tags"] = as_tags(documents["tags"])
        self.storage.add("experiment", key, documents)
        return self._experiment_of(key)

    def remove_from_experiment(
        self, experiment: ExperimentLike, **keys: Sequence[str]
    ) -> Experiment:
        """Remove keys from `config`, `metrics` or `tags`. Keys that do not exist are ignored.

        Returns:
            The changed experiment.
        """
        key = self._experiment_id(experiment)
        self.storage.remove("experiment", key, {name: _names(v) for name, v in keys.items()})
        return self._experiment_of(key)

    def fork(
        self,
        experiment: ExperimentLike,
        name: str | None = None,
        overrides: Mapping[str, object] | None = None,
        *,
        runs: bool | str = False,
        description: str | None = None,
    ) -> Experiment:
        """Create an experiment that descends from another one.

        It gets the model, method, tags, objectives, limits, space and your own columns of its parent.

        Args:
            experiment: the parent.
            name: the name of the fork. Default: ``<name>-fork``.
            overrides: changes to the parent's `config`; nested documents are merged.
            runs: True to copy all runs, or a filter for those to copy. Copies get ids of their own,
                and each has a link of the kind ``fork`` to its original.
            description: Default: ``Forked from <name>``.

        Returns:
            The new experiment.
        """
        parent = self.experiment(experiment)
        fork = self.create_experiment(
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
        self.storage.link("experiment", fork.id, "fork", parent.id)
        if runs:
            query = Query(where=runs if isinstance(runs, str) else None, experiment=parent.id)
            self.storage.fork_runs([run.id for run in self.storage.runs(query)], fork.id)
        return self._experiment_of(fork.id)

    def _experiment_of(self, key: str) -> Experiment:
        return attach(self, self.storage.get_experiments([key])[0])

    def ancestors(self, experiment: ExperimentLike) -> list[Ancestor]:
        """Return the experiments that it descends from, nearest first, deleted and purged ones included."""
        return self.reader.lineage(self._experiment_id(experiment))[0]

    def descendants(self, experiment: ExperimentLike) -> list[Ancestor]:
        """Return the experiments that were forked from it, directly or not, nearest first."""
        return self.reader.lineage(self._experiment_id(experiment))[1]

    def experiment_links(self, experiment: ExperimentLike) -> list[Link]:
        """Return the links from and to an experiment."""
        return self.reader.links("experiment", self._experiment_id(experiment))


def _objectives(objectives: Objectives) -> list[Objective]:
    checked: list[Objective] = []
    if isinstance(objectives, Mapping):
        named = cast("Mapping[str, str]", objectives)
        checked = [Objective(metric=key, direction=value) for key, value in named.items()]
    else:
        checked = list(objectives)
    return [
        msgspec.structs.replace(o, direction=as_direction(o.direction, o.metric)) for o in checked
    ]


def _limits(limits: Limits) -> dict[str, tuple[float | None, float | None]]:
    for metric, (low, high) in limits.items():
        if (low is None and high is None) or (low is not None and high is not None and low > high):
            raise UsageError(
                f"the limits of {metric!r} are {low} and {high}; pass (low, high) with low ≤ high"
            )
    return dict(limits)


def _overlaid(config: Mapping[str, object], overrides: Mapping[str, object]) -> JsonObject:
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
