"""Runs: found, changed by whoever may, best ones, side by side."""

from collections.abc import Mapping, Sequence
from types import EllipsisType
from typing import Any

from runbase.analysis.compare import Comparison, compare
from runbase.analysis.directions import lower_is_better
from runbase.analysis.listings import Runs
from runbase.errors import NotFound, UsageError
from runbase.model import Artifact, Experiment, Run
from runbase.status import Status
from runbase.storage.types import Query
from runbase.store.base import ExperimentLike, RunLike, StoreBase, given, labels
from runbase.store.experiments import ExperimentMethods
from runbase.values import Moment, to_seconds

Unset = EllipsisType


class RunMethods(ExperimentMethods):
    """The runs of a store."""

    def runs(
        self,
        where: str | None = None,
        *,
        order_by: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        experiment: ExperimentLike | None = None,
        after: str | None = None,
        deleted: bool = False,
    ) -> Runs:
        """Runs that satisfy a filter, newest first unless ordered.

        `where` and `order_by` are SQL expressions over `params.k`, `metrics.k` (its last value;
        `metrics.k.min`, `.max`, `.mean`, `.first`, `.count`), `tags.k`, `artifacts.k`, and columns such
        as `status`, `name`, `started_at`, `seconds`, `experiment`, and those that you added. Quote keys
        with slashes: `metrics."val/acc"`. `after` is the `cursor` of the page before: pages stay the same
        while runs are added. `deleted` lists the bin instead.

        Raises FilterError, which points at the place, and NotFound for an unknown experiment.
        """
        query = Query(
            where=where,
            order_by=order_by,
            limit=limit,
            offset=offset,
            after=after,
            experiment=None if experiment is None else self._experiment_id(experiment),
            deleted=deleted,
        )
        page = self.storage.runs(query)
        return Runs(page, page.cursor)

    def count(self, where: str | None = None, *, experiment: ExperimentLike | None = None) -> int:
        """How many runs satisfy a filter."""
        found = None if experiment is None else self._experiment_id(experiment)
        return self.storage.count_runs(Query(where=where, experiment=found))

    def run(self, run: RunLike, experiment: ExperimentLike | None = None) -> Run:
        """One run by id, unique id prefix or name, with its artifacts, links and status history.

        Of several runs of a name, the newest. Raises NotFound, Ambiguous.
        """
        name = experiment.name if isinstance(experiment, Experiment) else experiment
        found = self._run_id(run, name)
        record = self.storage.whole_run(found)
        if record is None:
            raise NotFound(f"there is no run {found!r}")
        return record

    def create_run(
        self,
        experiment: ExperimentLike,
        *,
        name: str | None = None,
        params: Mapping[str, Any] | None = None,
        tags: Any = None,
        notes: str = "",
        parent: RunLike | None = None,
        run_id: str | None = None,
        **fields: Any,
    ) -> Run:
        """A run that waits (PENDING) to be started, by `start_run(run_id=run.id)` or by a process whose
        environment has `RUNBASE_RUN_ID`; its experiment is made where there is none of the name.
        """
        if isinstance(experiment, str):
            found = self.storage.get_or_create_experiment(experiment, {})
        else:
            found = self._experiment_id(experiment)
        rest: dict[str, Any] = {**fields, "notes": notes}
        if params:
            rest["params"] = dict(params)
        if tags:
            rest["tags"] = labels(tags)
        if parent is not None:
            rest["parent_id"] = self._run_id(parent)
        made = self.storage.create_run(found, name, rest, run_id)
        return self.run(made)

    def update_run(
        self,
        run: RunLike,
        *,
        name: str | Unset = ...,
        status: Status | str | Unset = ...,
        notes: str | Unset | None = ...,
        params: Mapping[str, Any] | Unset | None = ...,
        tags: Any = ...,
        started_at: Moment | Unset | None = ...,
        ended_at: Moment | Unset | None = ...,
        checkpoint: str | Unset | None = ...,
        error: Mapping[str, Any] | Unset | None = ...,
        parent: RunLike | None = ...,
        **fields: Any,
    ) -> Run:
        """Set fields of a run, while it runs or later, by whoever may write to the store.

        What is given replaces what was there (parameters, tags and documents as a whole); None or an
        empty value clears it. `fields` may be `created_at`, `updated_at`, `user`, `host`, `pid`, `folder`,
        `exit_code`, `source_status`, the documents `git`, `args`, `env`, `system`, and columns that you
        added. A status joins the run's history. Raises UsageError for a field there is not.
        """
        key = self._run_id(run)
        changes = given(
            name=name,
            status=status,
            notes=notes,
            params=params,
            started_at=started_at,
            ended_at=ended_at,
            checkpoint=checkpoint,
            error=error,
            **fields,
        )
        if tags is not ...:
            changes["tags"] = labels(tags)
        if parent is not ...:
            changes["parent_id"] = None if parent is None else self._run_id(parent)
        self.storage.update("run", key, changes)
        return self.run(key)

    def add_to_run(self, run: RunLike, **documents: Mapping[str, Any]) -> Run:
        """Merge keys into `params`, `tags`, `args`, `env`, `git` or `system`."""
        key = self._run_id(run)
        if "tags" in documents:
            documents["tags"] = labels(documents["tags"])
        self.storage.add("run", key, documents)
        return self.run(key)

    def remove_from_run(self, run: RunLike, **keys: Sequence[str]) -> Run:
        """Take keys out of `params`, `tags`, `args`, `env`, `git` or `system`."""
        key = self._run_id(run)
        names = {field: [k] if isinstance(k, str) else list(k) for field, k in keys.items()}
        self.storage.remove("run", key, names)
        return self.run(key)

    def set_status(
        self,
        run: RunLike,
        status: Status | str,
        reason: str | None = None,
        at: Moment | None = None,
    ) -> Run:
        """Report a run's state, with a reason and a moment (now); it joins the run's history."""
        key = self._run_id(run)
        self.storage.set_status(key, status, reason, None if at is None else to_seconds(at))
        return self.run(key)

    def best(
        self,
        experiment: ExperimentLike | None = None,
        metric: str | None = None,
        direction: str | None = None,
        *,
        where: str | None = None,
    ) -> Run:
        """The run with the best last value of a metric.

        `metric` and `direction` ("min" or "max") default to the experiment's first objective; a
        direction that is not known is told by the metric's name (loss and error are to be small).
        """
        record = None if experiment is None else self.experiment(experiment)
        objectives = [] if record is None else record.objectives
        if metric is None:
            if not objectives:
                raise UsageError("best of what? name a metric, or give the experiment an objective")
            metric = objectives[0].metric
        if direction not in (None, "min", "max"):
            raise UsageError(f"direction is {direction!r}; use 'min' or 'max'")
        less = direction == "min" if direction else lower_is_better(metric, objectives)
        name = f'metrics."{metric.replace(chr(34), chr(34) * 2)}"'
        condition = f"{name} is not null" + (f" and ({where})" if where else "")
        order = f"{name} {'asc' if less else 'desc'}"
        found = self.runs(condition, order_by=order, limit=1, experiment=record)
        if not found:
            raise NotFound(f"no run has a metric {metric!r}")
        return self.run(found[0].id)

    def best_checkpoint(
        self,
        experiment: ExperimentLike | None = None,
        metric: str | None = None,
        direction: str | None = None,
        *,
        where: str | None = None,
    ) -> Artifact:
        """The checkpoint of the best run: its own `checkpoint`, else its best or last one.

        Sets the experiment's `checkpoint` by `update_experiment` to keep it.
        """
        run = self.best(experiment, metric, direction, where=where)
        held = [a for a in run.artifacts if a.removed_at is None]
        if run.checkpoint is not None:
            for artifact in held:
                if artifact.path == run.checkpoint:
                    return artifact
        kept = [a for a in held if a.kind == "checkpoint"] or [a for a in held if a.kind == "model"]
        if not kept:
            raise NotFound(f"the best run, {run.name}, has no checkpoint")
        best = [a for a in kept if a.metadata.get("best")]
        return (
            best or sorted(kept, key=lambda a: (a.step is not None, a.step or 0, a.created_at))
        )[-1]

    def compare(self, *targets: Any) -> Comparison:
        """Any mix of runs and experiments side by side: what differs, and which is best.

        Unknown ones are named in the comparison's `missing`, not an error.
        """
        found: list[tuple[str, str]] = []
        missing: list[str] = []
        for target in targets:
            try:
                found.append(self._target(target))
            except NotFound:
                missing.append(str(target))
        records: dict[str, Any] = {}
        run_ids = [key for kind, key in found if kind == "run"]
        experiment_ids = [key for kind, key in found if kind == "experiment"]
        records |= {run.id: run for run in self.storage.get_runs(run_ids)}
        if experiment_ids:
            records |= {e.id: e for e in self.storage.get_experiments(experiment_ids)}
        figures = self.storage.figures_of_experiments(experiment_ids) if experiment_ids else {}
        items = [records[key] for _, key in found if key in records]
        missing += [key for _, key in found if key not in records]
        return compare(items, figures, missing)


class LabelMethods(StoreBase):
    """What people add to runs and experiments alike: tags, notes, names, links."""

    def tag(self, target: Any, *tags: str | Mapping[str, Any], **more: Any) -> None:
        """Add tags to a run or an experiment: plain ones, or with values (`tag(x, stage="test")`)."""
        kind, key = self._target(target)
        found: dict[str, Any] = {**labels(list(tags) if tags else None), **more}
        self.storage.add(kind, key, {"tags": found})

    def untag(self, target: Any, *keys: str) -> None:
        """Take tags away."""
        kind, key = self._target(target)
        self.storage.remove(kind, key, {"tags": list(keys)})

    def note(self, target: Any, text: str) -> None:
        """Set the notes of a run or an experiment; empty text clears them."""
        kind, key = self._target(target)
        self.storage.update(kind, key, {"notes": text})

    def rename(self, target: Any, name: str) -> None:
        """Give a run or an experiment another name; its id stays."""
        kind, key = self._target(target)
        self.storage.update(kind, key, {"name": name})

    def link(self, source: Any, kind: str, target: Any) -> None:
        """Point from one run to another, or from one experiment to another; `kind` says how."""
        what, from_id = self._target(source)
        other, to_id = self._target(target)
        if what != other:
            raise UsageError("links are between two runs or between two experiments")
        self.storage.link(what, from_id, kind, to_id)

    def unlink(self, source: Any, target: Any, kind: str | None = None) -> int:
        """Take such links away (of every kind, where none is named); how many there were."""
        what, from_id = self._target(source)
        return self.storage.unlink(what, from_id, kind, self._target(target)[1])
