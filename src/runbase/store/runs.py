"""Run methods of a store (list, read, change, rank, compare), and tags, notes and links of runs and experiments."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from runbase.analysis.compare import Comparison, compare
from runbase.analysis.directions import lower_is_better
from runbase.analysis.grouping import grouped, ordered
from runbase.analysis.listings import Runs, Table
from runbase.errors import NotFound, UsageError
from runbase.model import Artifact, Experiment, Run
from runbase.status import Status
from runbase.storage.types import Changes, Query
from runbase.store.base import given
from runbase.store.experiments import ExperimentMethods
from runbase.typing import ExperimentLike, JsonObject, RunLike, Subject, TagsLike
from runbase.values import Moment, as_direction, as_tags, to_seconds

GLANCE = 1.0
"""Seconds after which a change that was not announced is looked for."""


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
        """Return the runs that match a filter, newest first by default.

        Args:
            where: a SQL expression over `params.k`, `metrics.k` (the last value; `metrics.k.min`,
                `.max`, `.mean`, `.first`, `.count`), `tags.k`, `artifacts.k`, columns such as
                `status`, `name`, `started_at`, `seconds`, `experiment`, and columns that you added.
                Quote keys with slashes: `metrics."val/acc"`.
            order_by: expressions of the same kind to sort by.
            limit: the maximum number of runs.
            offset: the number of runs to skip.
            experiment: only runs of this experiment.
            after: the `cursor` of the previous page. Pages stay the same while runs are added.
            deleted: list the trash instead.

        Returns:
            A list of run records with the `cursor` of the next page.

        Raises:
            FilterError: a filter or a sort key is not valid; the message shows the position.
            NotFound: the experiment does not exist.
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
        page = self.reader.runs(query)
        return Runs(page, page.cursor)

    def table(
        self,
        where: str | None = None,
        *,
        columns: Sequence[str] | None = None,
        order_by: str | None = None,
        limit: int | None = None,
        after: str | None = None,
        experiment: ExperimentLike | None = None,
        group_by: Sequence[str] | str | None = None,
        deleted: bool = False,
    ) -> Table:
        """Return columns of the runs that match a filter, which is much faster than their records.

        Args:
            where: a filter, as for `runs`.
            columns: names as in filters: ``name``, ``params.lr``, ``metrics.loss`` (the last value),
                ``metrics.loss.min``, ``tags.stage``, ``git.commit``, ``slurm.job_id``, columns that
                you added. A name alone may be that of a parameter or a metric. Default: fields of
                runs, and all their parameters, metrics and tags.
            order_by: sort keys, as for `runs`. With `group_by`, columns of the result.
            limit: the maximum number of rows.
            after: the `cursor` of the previous page.
            experiment: only runs of this experiment.
            group_by: columns whose values the runs of a group share. A row is a group: these
                columns, the number of runs as ``count``, and for each other column with numbers
                ``mean(NAME)``, ``sd(NAME)`` and ``count(NAME)``.
            deleted: list the trash instead.

        Returns:
            A table, which converts to pandas, Polars and Arrow.

        Raises:
            FilterError: a filter, a sort key or a column is not valid.
            NotFound: the experiment does not exist.
        """
        experiment_id = None if experiment is None else self._experiment_id(experiment)
        if not group_by:
            query = Query(
                where=where,
                order_by=order_by,
                limit=limit,
                after=after,
                experiment=experiment_id,
                deleted=deleted,
            )
            page = self.reader.table(query, columns)
            return Table(page.columns, page.ids, page.cursor)
        query = Query(where=where, experiment=experiment_id, deleted=deleted)
        keys = [group_by] if isinstance(group_by, str) else [*group_by]
        wanted = None if columns is None else [*dict.fromkeys([*keys, *columns])]
        page = self.reader.table(query, wanted)
        if wanted is None and (more := [key for key in keys if key not in page.columns]):
            rest = self.reader.table(query, more)
            places = {run: place for place, run in enumerate(rest.ids)}
            for name, values in rest.columns.items():  # runs may have come or gone in between
                page.columns[name] = [
                    values[places[run]] if run in places else None for run in page.ids
                ]
        groups = grouped(page.columns, keys)
        places = ordered(groups, order_by)
        first = int(after) if after and after.isdigit() else 0
        last = len(places) if limit is None else first + limit
        shown = places[first:last]
        return Table(
            {name: [values[place] for place in shown] for name, values in groups.items()},
            [],
            str(last) if last < len(places) else None,
        )

    def changes(self, since: str | None = None, *, wait: float = 0.0) -> Changes:
        """Return which runs and experiments changed, at a cost that depends on what changed only.

            seen = store.changes()  # where the list ends now
            while seen := store.changes(seen.cursor, wait=10):
                refresh(seen.runs)

        A run changes with each delivery of its points and with each edit; also changes by SQL are
        listed. A change may be listed twice.

        Args:
            since: the `cursor` of the previous call. Without it, nothing is listed and `reset` is
                true.
            wait: how many seconds to wait if nothing changed.

        Returns:
            The ids, and the cursor for the next call. It is false if nothing changed.

        Raises:
            UsageError: `since` is not a cursor.
        """
        deadline = time.monotonic() + wait
        while True:
            seen = self.reader.changes(since)
            left = deadline - time.monotonic()
            if seen or left <= 0:
                return seen
            self.reader.await_change(min(left, GLANCE))

    def count(self, where: str | None = None, *, experiment: ExperimentLike | None = None) -> int:
        """Return the number of runs that match a filter; see `runs`."""
        experiment_id = None if experiment is None else self._experiment_id(experiment)
        return self.reader.count_runs(Query(where=where, experiment=experiment_id))

    def run(self, run: RunLike, experiment: ExperimentLike | None = None) -> Run:
        """Return one run with its artifacts, links and status history.

        Args:
            run: an id, a unique prefix of an id, or a name. A name finds the newest run that has it.
            experiment: look for a name in this experiment only.

        Raises:
            NotFound: no run has this id or name.
            Ambiguous: several ids begin with the prefix.
        """
        name = experiment.name if isinstance(experiment, Experiment) else experiment
        run_id = self._run_id(run, name)
        record = self.storage.whole_run(run_id)
        if record is None:
            raise NotFound(f"run {run_id!r} not found")
        return record

    def create_run(
        self,
        experiment: ExperimentLike,
        *,
        name: str | None = None,
        params: Mapping[str, object] | None = None,
        tags: TagsLike = None,
        notes: str = "",
        parent: RunLike | None = None,
        run_id: str | None = None,
        **fields: Any,
    ) -> Run:
        """Create a run with status PENDING.

        Start it with `start_run(run_id=run.id)`, or with a process whose environment has
        `RUNBASE_RUN_ID`.

        Args:
            experiment: its experiment; created if none has this name.
            name: Default: a generated name.
            params: parameters.
            tags: plain tags, or a mapping of tag to value.
            notes: free text.
            parent: the run that it belongs to.
            run_id: an id created elsewhere.
            fields: other fields, as for `update_run`.

        Returns:
            The run.
        """
        if isinstance(experiment, str):
            experiment_id = self.storage.get_or_create_experiment(experiment, {})
        else:
            experiment_id = self._experiment_id(experiment)
        rest: JsonObject = {**fields, "notes": notes}
        if params:
            rest["params"] = dict(params)
        if tags:
            rest["tags"] = as_tags(tags)
        if parent is not None:
            rest["parent_id"] = self._run_id(parent)
        created = self.storage.create_run(experiment_id, name, rest, run_id)
        return self.run(created)

    def update_run(
        self,
        run: RunLike,
        *,
        name: str | UnsetType = UNSET,
        status: Status | str | UnsetType = UNSET,
        notes: str | UnsetType | None = UNSET,
        params: Mapping[str, object] | UnsetType | None = UNSET,
        tags: TagsLike | UnsetType = UNSET,
        started_at: Moment | UnsetType | None = UNSET,
        ended_at: Moment | UnsetType | None = UNSET,
        checkpoint: str | UnsetType | None = UNSET,
        error: Mapping[str, object] | UnsetType | None = UNSET,
        parent: RunLike | UnsetType | None = UNSET,
        **fields: Any,
    ) -> Run:
        """Set fields of a run, while it is active or later.

        A value replaces the stored one, parameters, tags and documents as a whole. None or an empty
        value clears the field. Fields that are not passed stay unchanged.

        Args:
            run: the run.
            name: the display name.
            status: a status; it is added to the status history.
            notes: free text.
            params: all parameters.
            tags: all tags.
            started_at: when it started.
            ended_at: when it ended.
            checkpoint: the path of the artifact that is its checkpoint.
            error: the document that describes why it failed.
            parent: the run that it belongs to.
            fields: `created_at`, `updated_at`, `user`, `host`, `pid`, `folder`, `exit_code`,
                `source_status`, the documents `git`, `args`, `env`, `system`, and columns that you
                added to the table.

        Returns:
            The changed run.

        Raises:
            UsageError: a field does not exist.
            NotFound: the run or its parent does not exist.
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
        if tags is not UNSET:
            changes["tags"] = as_tags(tags)
        if parent is not UNSET:
            changes["parent_id"] = None if parent is None else self._run_id(parent)
        self.storage.update("run", key, changes)
        return self.run(key)

    def add_to_run(self, run: RunLike, **documents: Mapping[str, object]) -> Run:
        """Merge keys into `params`, `tags`, `args`, `env`, `git` or `system`; return the changed run."""
        key = self._run_id(run)
        if "tags" in documents:
            documents["tags"] = as_tags(documents["tags"])
        self.storage.add("run", key, documents)
        return self.run(key)

    def remove_from_run(self, run: RunLike, **keys: Sequence[str]) -> Run:
        """Remove keys from `params`, `tags`, `args`, `env`, `git` or `system`; return the changed run."""
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
        """Set the status of a run and add it to the status history.

        Args:
            run: the run.
            status: the new status.
            reason: why, for people.
            at: when the status changed. Default: now.

        Returns:
            The changed run.
        """
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
        """Return the run with the best last value of a metric.

        Args:
            experiment: only runs of this experiment.
            metric: Default: the first objective of the experiment.
            direction: ``"min"`` or ``"max"``. Default: that of the objective of this metric, else
                derived from the metric's name (lower is better for names such as loss and error).
            where: only runs that match this filter.

        Raises:
            UsageError: no metric is passed and the experiment has no objective, or the direction is
                not valid.
            NotFound: no run has the metric.
        """
        record = None if experiment is None else self.experiment(experiment)
        objectives = [] if record is None else record.objectives
        if metric is None:
            if not objectives:
                raise UsageError("no metric; pass one, or set an objective of the experiment")
            metric = objectives[0].metric
        if direction is None:
            less = lower_is_better(metric, objectives)
        else:
            less = as_direction(direction, metric) == "min"
        name = f'metrics."{metric.replace(chr(34), chr(34) * 2)}"'
        condition = f"{name} is not null" + (f" and ({where})" if where else "")
        order = f"{name} {'asc' if less else 'desc'}"
        ranked = self.runs(condition, order_by=order, limit=1, experiment=record)
        if not ranked:
            raise NotFound(f"no run has a metric {metric!r}")
        return self.run(ranked[0].id)

    def best_checkpoint(
        self,
        experiment: ExperimentLike | None = None,
        metric: str | None = None,
        direction: str | None = None,
        *,
        where: str | None = None,
    ) -> Artifact:
        """Return the checkpoint of the best run: its `checkpoint` field, else its best or last one.

        To record it for the experiment, pass it to `update_experiment(checkpoint=…)`. The arguments
        are those of `best`.

        Raises:
            NotFound: no run has the metric, or the best run has no checkpoint.
        """
        run = self.best(experiment, metric, direction, where=where)
        present = [a for a in run.artifacts if a.removed_at is None]
        if run.checkpoint is not None:
            for artifact in present:
                if artifact.path == run.checkpoint:
                    return artifact
        checkpoints = [a for a in present if a.kind == "checkpoint"]
        candidates = checkpoints or [a for a in present if a.kind == "model"]
        if not candidates:
            raise NotFound(f"the best run, {run.name}, has no checkpoint")
        best = [a for a in candidates if a.metadata.get("best")]
        return (
            best
            or sorted(candidates, key=lambda a: (a.step is not None, a.step or 0, a.created_at))
        )[-1]

    def compare(self, *targets: Subject) -> Comparison:
        """Compare runs and experiments: what differs, and which is best.

        Args:
            targets: runs and experiments, in any mix.

        Returns:
            The comparison. Targets that do not exist are listed in its `missing`.

        Raises:
            NotFound: none of the targets exists.
        """
        subjects: list[tuple[str, str]] = []
        missing: list[str] = []
        for target in targets:
            try:
                subjects.append(self._target(target))
            except NotFound as error:
                missing.append(str(target))
                if len(missing) == len(targets):
                    raise NotFound(f"nothing to compare: {error}") from error
        records: JsonObject = {}
        run_ids = [key for kind, key in subjects if kind == "run"]
        experiment_ids = [key for kind, key in subjects if kind == "experiment"]
        records |= {run.id: run for run in self.storage.get_runs(run_ids)}
        if experiment_ids:
            records |= {e.id: e for e in self.storage.get_experiments(experiment_ids)}
        figures = self.reader.figures_of_experiments(experiment_ids) if experiment_ids else {}
        items = [records[key] for _, key in subjects if key in records]
        missing += [key for _, key in subjects if key not in records]
        parents = list({item.experiment_id: 0 for item in items if isinstance(item, Run)})
        experiments = self.storage.get_experiments(parents) if parents else []
        objectives = [objective for each in experiments for objective in each.objectives]
        return compare(items, figures, missing, objectives)
