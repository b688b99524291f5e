"""The interface of the async experiment store on a runbase store.

    from runbase.integrations.experiment_store import ExperimentStore

Methods and records are the same; `update_run`, `get_run`, `list_runs` and `close` are added. Metrics are
written to the run folder, not to the database, which takes microseconds and locks nothing. Ids are 32
hexadecimal characters, times are aware, empty values clear a field, and a tag matches exactly.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

import runbase
from runbase import aio, model
from runbase.errors import NotFound, UsageError


class Experiment(Struct, kw_only=True):
    """An experiment, with the fields of the async experiment store."""

    id: str
    name: str
    base_model: str
    method: str
    created_at: datetime
    updated_at: datetime
    status: str = "created"
    description: str = ""
    tags: list[str] = []
    config: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    best_checkpoint: str | None = None
    parent_experiment_id: str | None = None


class ExperimentRun(Struct, kw_only=True):
    """A run, with the fields of the async experiment store; `metrics` are the last values."""

    id: str
    experiment_id: str
    started_at: datetime | None
    ended_at: datetime | None
    status: str
    config: dict[str, Any]
    metrics: dict[str, Any]
    artifacts: list[str]
    error_message: str | None


class ExperimentStore:
    """A runbase store with the interface of the async experiment store.

    Args:
        db_path: a file or a database URL; each is a store of its own. Default: the store of
            runbase's settings.
    """

    def __init__(self, db_path: Path | str | None = None) -> None:
        self.db_path = db_path
        self._store: aio.AsyncStore | None = None
        self._opening = asyncio.Lock()
        self._writers: dict[str, runbase.Run] = {}

    async def create_experiment(
        self,
        name: str,
        base_model: str,
        method: str,
        description: str = "",
        tags: Sequence[str] | None = None,
        config: Mapping[str, Any] | None = None,
        parent_experiment_id: str | None = None,
    ) -> Experiment:
        """Create an experiment. Names need not be unique."""
        store = await self._opened()
        created = await store.create_experiment(
            name,
            base_model=base_model,
            method=method,
            description=description,
            tags=list(tags or []),
            config=config,
            parent=parent_experiment_id,
        )
        return _experiment(created)

    async def get_experiment(self, experiment_id: str) -> Experiment | None:
        """Return the experiment with an id, or None."""
        store = await self._opened()
        matches = [
            e for e in await _or_none(store.experiment(experiment_id)) if e.id == experiment_id
        ]
        return _experiment(matches[0]) if matches else None

    async def get_experiment_by_name(self, name: str) -> Experiment | None:
        """Return the newest experiment with a name, or None."""
        store = await self._opened()
        matches = await store.experiments(f"name = {_quoted(name)}", limit=1)
        return _experiment(matches[0]) if matches else None

    async def list_experiments(
        self, limit: int = 50, offset: int = 0, status: str | None = None, tag: str | None = None
    ) -> list[Experiment]:
        """Return experiments, newest first, with a status and a tag if passed."""
        store = await self._opened()
        conditions = [f"status = {_quoted(status)}"] if status is not None else []
        conditions += [f"{_quoted(tag)} in tags"] if tag is not None else []
        where = " and ".join(conditions) or None
        return [_experiment(e) for e in await store.experiments(where, limit=limit, offset=offset)]

    async def update_experiment(
        self,
        experiment_id: str,
        status: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        best_checkpoint: str | None = None,
        tags: Sequence[str] | None = None,
    ) -> Experiment | None:
        """Set fields; an empty value clears a field, None keeps it. Return None if it does not exist."""
        store = await self._opened()
        changes: dict[str, Any] = {
            "status": status,
            "metrics": None if metrics is None else dict(metrics),
            "checkpoint": best_checkpoint,
            "tags": None if tags is None else list(tags),
        }
        passed = {name: value for name, value in changes.items() if value is not None}
        changed = await _or_none(store.update_experiment(experiment_id, **passed))
        return _experiment(changed[0]) if changed else None

    async def delete_experiment(self, experiment_id: str) -> bool:
        """Delete an experiment permanently, with its runs and metrics; return whether it existed."""
        store = await self._opened()
        matches = await _or_none(store.experiment(experiment_id))
        if matches:
            await store.purge(matches[0])
        return bool(matches)

    async def create_run(self, experiment_id: str, config: Any) -> ExperimentRun:
        """Create a PENDING run from a training configuration (with `to_dict()`) or a mapping."""
        store = await self._opened()
        values = config.to_dict() if hasattr(config, "to_dict") else dict(config or {})
        try:
            experiment = await store.experiment(experiment_id)
        except NotFound as error:
            raise UsageError(str(error)) from error
        return _run(await store.create_run(experiment, params=values))

    async def get_run(self, run_id: str) -> ExperimentRun | None:
        """Return the run with an id, or None."""
        store = await self._opened()
        await self._flush(run_id)
        matches = await _or_none(store.run(run_id))
        return _run(matches[0]) if matches else None

    async def list_runs(self, experiment_id: str, limit: int = 50) -> list[ExperimentRun]:
        """Return the runs of an experiment, newest first."""
        store = await self._opened()
        experiment = await store.experiment(experiment_id)
        return [_run(run) for run in await store.runs(experiment=experiment, limit=limit)]

    async def update_run(
        self,
        run_id: str,
        status: str | None = None,
        error_message: str | None = None,
        artifacts: Sequence[str] | None = None,
    ) -> ExperimentRun | None:
        """Set the status of a run (a final status ends it) and its error, and log artifacts by path."""
        store = await self._opened()
        matches = await _or_none(store.run(run_id))
        if not matches:
            return None
        if artifacts:
            writer = await self._writer(matches[0])
            for path in artifacts:
                await store.in_thread(partial(writer.log_artifact, path))
        parsed = None if status is None else runbase.Status.parse(status)
        ends = parsed is not None and parsed.phase == "ended"
        if ends and run_id in self._writers:
            writer = self._writers.pop(run_id)
            await store.in_thread(partial(writer.finish, parsed, error_message))
        else:
            if parsed is not None:
                await store.set_status(run_id, parsed)
            if error_message is not None:
                error = {"type": "error", "message": error_message, "traceback": ""}
                await store.update_run(run_id, error=error)
        return await self.get_run(run_id)

    async def log_metrics(self, run_id: str, step: int, metrics: Mapping[str, Any]) -> None:
        """Log named values at a step. The first call starts the run."""
        writer = self._writers.get(run_id)
        if writer is None or writer.finished:
            store = await self._opened()
            writer = await self._writer(await store.run(run_id))
        writer.log(metrics, step=step)

    async def get_run_metrics(
        self, run_id: str, start_step: int = 0, end_step: int | None = None
    ) -> list[dict[str, Any]]:
        """Return rows by step, both bounds included: step, timestamp (ISO 8601, UTC), and the values."""
        store = await self._opened()
        await self._flush(run_id)
        rows: dict[Any, dict[str, Any]] = {}
        times: dict[Any, float] = {}
        for key in await store.keys(run_id):
            series = await store.metrics(run_id, key, start_step, end_step)
            for step, time, value in zip(
                series.steps.tolist(), series.times.tolist(), series.values.tolist(), strict=True
            ):
                rows.setdefault(step, {"step": step, "timestamp": ""})[key] = value
                times[step] = max(time, times.get(step, 0.0))
        for step, row in rows.items():
            row["timestamp"] = datetime.fromtimestamp(times[step]).astimezone().isoformat()
        return [rows[step] for step in sorted(rows)]

    async def compare_experiments(self, experiment_ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return id → name, model, method, status, metrics, config; raise NotFound for unknown ids."""
        store = await self._opened()
        comparison = await store.compare(*experiment_ids)
        if comparison.missing:
            raise NotFound(f"experiment not found: {', '.join(comparison.missing)}")
        return {
            item.id: {
                "name": item.name,
                "model": item.record.base_model,
                "method": item.record.method,
                "status": item.status,
                "metrics": {**item.metrics, **item.record.metrics},
                "config": item.record.config,
            }
            for item in comparison.items
        }

    async def fork_experiment(
        self,
        experiment_id: str,
        new_name: str | None = None,
        config_overrides: Mapping[str, Any] | None = None,
    ) -> Experiment:
        """Create an experiment with the parent's model, method and tags, and its changed configuration.

        Raises:
            UsageError: the parent does not exist; also a ValueError.
        """
        store = await self._opened()
        try:
            parent = await store.experiment(experiment_id)
        except NotFound as error:
            raise UsageError(str(error)) from error
        return _experiment(await store.fork(parent, new_name, config_overrides))

    async def close(self) -> None:
        """End the runs of this process, and close the database."""
        if self._store is None:
            return
        for writer in self._writers.values():
            await self._store.in_thread(writer.finish)
        self._writers.clear()
        await self._store.close()
        self._store = None

    async def __aenter__(self) -> "ExperimentStore":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def _opened(self) -> aio.AsyncStore:
        async with self._opening:
            if self._store is None:
                path = None if self.db_path is None else str(self.db_path)
                if path is not None and "://" not in path:
                    Path(path).expanduser().parent.mkdir(parents=True, exist_ok=True)
                self._store = await aio.open(path, home=_home(path), sync=False)
            return self._store

    async def _writer(self, run: model.Run) -> runbase.Run:
        """Return a run for writing; start it if necessary."""
        writer = self._writers.get(run.id)
        if writer is None or writer.finished:
            store = await self._opened()
            begin: Callable[[], runbase.Run] = partial(
                runbase.start_run,
                run.experiment,
                run_id=run.id,
                store=store.sync_store,
                capture=False,
            )
            writer = self._writers[run.id] = await store.in_thread(begin)
        return writer

    async def _flush(self, run_id: str) -> None:
        writer = self._writers.get(run_id)
        if writer is not None and not writer.finished:
            await (await self._opened()).in_thread(writer.flush)


_stores: dict[str, ExperimentStore] = {}


def get_experiment_store(db_path: Path | str | None = None) -> ExperimentStore:
    """Return the store at a path, one object per path and process."""
    key = "" if db_path is None else str(db_path)
    if key not in _stores:
        _stores[key] = ExperimentStore(db_path)
    return _stores[key]


def _home(path: str | None) -> Path | None:
    """Return the home: the folder of a database file; None for a server, to use the default home."""
    if path is None or "://" in path:
        return None
    return Path(path).expanduser().absolute().parent


async def _or_none(call: Any) -> list[Any]:
    try:
        return [await call]
    except NotFound:
        return []


def _experiment(record: model.Experiment) -> Experiment:
    return Experiment(
        id=record.id,
        name=record.name,
        base_model=record.base_model or "",
        method=record.method or "",
        created_at=record.created_at,
        updated_at=record.updated_at,
        status=record.status,
        description=record.description,
        tags=list(record.tags),
        config=record.config,
        metrics=record.metrics,
        best_checkpoint=record.checkpoint,
        parent_experiment_id=record.parent_id,
    )


def _run(record: model.Run) -> ExperimentRun:
    error = record.error
    return ExperimentRun(
        id=record.id,
        experiment_id=record.experiment_id,
        started_at=record.started_at,
        ended_at=record.ended_at,
        status=record.status.value,
        config=record.params,
        metrics={key: metric.last for key, metric in record.metrics.items()},
        artifacts=[artifact.path for artifact in record.artifacts],
        error_message=None if not error else error.get("message"),
    )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
