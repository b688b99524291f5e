"""The store for asyncio: the same names and arguments as `runbase.Store`, awaited.

    store = await runbase.aio.open("postgresql://…")
    best = await store.runs("metrics.loss < 0.1")

Each call runs in a thread of the store, so that the event loop never waits for the database. Results are plain
data and need no awaiting. If the task of a call is cancelled, the call continues to its end in its thread: a change
is made completely or not at all. `log` of a run never blocks and has no awaitable form.
"""

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, cast

from runbase import model
from runbase.analysis.listings import Experiments, Runs
from runbase.model import Run
from runbase.store import store
from runbase.store.store import Store
from runbase.trials.claim import LEASE, Claim
from runbase.trials.experiment import Experiment
from runbase.trials.launchers.launch import Launch

P = ParamSpec("P")
R = TypeVar("R")

THREADS = 4
"""Calls of one store that run at once; writers of one SQLite file take turns anyway."""


def _awaited(
    method: Callable[Concatenate[Store, P], R],
) -> "Callable[Concatenate[AsyncStore, P], Awaitable[R]]":
    @functools.wraps(method)
    async def call(self: "AsyncStore", /, *args: P.args, **kwargs: P.kwargs) -> R:
        def work() -> R:
            return _for_asyncio(self, method(self.sync_store, *args, **kwargs))

        return await self.in_thread(work)

    call.__doc__ = f"{method.__doc__}\n\n        Awaitable; see `runbase.Store.{method.__name__}`."
    return call


def _of(
    method: Callable[Concatenate[Any, P], Any],
) -> Callable[Concatenate[Any, P], Awaitable[Any]]:
    """A method of an object that a store returned, awaited in that store's threads."""

    @functools.wraps(method)
    async def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        store: Any = self.__dict__["_store"]
        sync: Any = self.__dict__["_sync"]

        def work() -> Any:
            return _for_asyncio(store, method(sync, *args, **kwargs))

        return await store.in_thread(work)

    call.__doc__ = f"{method.__doc__}\n\n        Awaitable."
    return call


class AsyncExperiment(model.Experiment, frozen=True, kw_only=True, dict=True):
    """`runbase.trials.experiment.Experiment`, awaitable: its record, and the queue of its trials."""

    best_trials = _of(Experiment.best_trials)
    cancel = _of(Experiment.cancel)
    claim_trial = _of(Experiment.claim_trial)
    groups = _of(Experiment.groups)
    launch = _of(Experiment.launch)
    launches = _of(Experiment.launches)
    load = _of(Experiment.load)
    merge = _of(Experiment.merge)
    merged = _of(Experiment.merged)
    new_trial = _of(Experiment.new_trial)
    new_trials = _of(Experiment.new_trials)
    pareto_front = _of(Experiment.pareto_front)
    pending_trials = _of(Experiment.pending_trials)
    progress = _of(Experiment.progress)
    prune = _of(Experiment.prune)
    requeue = _of(Experiment.requeue)
    suggest = _of(Experiment.suggest)
    trial = _of(Experiment.trial)
    trials = _of(Experiment.trials)

    @asynccontextmanager
    async def claim(
        self, runner: str | None = None, *, lease: float = LEASE, **options: Any
    ) -> AsyncGenerator[Any]:
        """Claim a trial and run it: ``async with experiment.claim() as trial:`` gives a `Run`, or None when
        nothing waits.
        """
        store, sync = vars(self)["_store"], vars(self)["_sync"]
        claim: Claim | None = await store.in_thread(
            functools.partial(sync.claim_trial, runner, lease=lease)
        )
        if claim is None:
            yield None
            return
        with claim.start(**options) as run:  # here, so that it is this task's current run
            yield run


class AsyncClaim:
    """`runbase.trials.experiment.Claim`, awaitable."""

    def __init__(self, store: "AsyncStore", claim: Claim) -> None:
        self._store, self._sync = store, claim
        self.id, self.attempt, self.runner, self.lease = (
            claim.id,
            claim.attempt,
            claim.runner,
            claim.lease,
        )
        self.run = claim.run
        self.params, self.number, self.config = claim.params, claim.number, claim.config

    finish = _of(Claim.finish)
    release = _of(Claim.release)
    renew = _of(Claim.renew)
    start = _of(Claim.start)


class AsyncLaunch:
    """`runbase.trials.launchers.launch.Launch`, awaitable."""

    def __init__(self, store: "AsyncStore", launch: Launch) -> None:
        self._store, self._sync = store, launch
        self.id, self.record = launch.id, launch.record
        self.ends_with_this_process = launch.ends_with_this_process

    cancel = _of(Launch.cancel)
    logs = _of(Launch.logs)
    status = _of(Launch.status)


def _for_asyncio(store: "AsyncStore", found: Any) -> Any:
    """Objects with methods become those whose methods are awaited. Called in a thread: it may read."""
    if isinstance(found, Experiment):
        fields = {name: getattr(found, name) for name in found.__struct_fields__}
        made = AsyncExperiment(**fields)
        vars(made).update(_store=store, _sync=found)
        return made
    if isinstance(found, Claim):
        return AsyncClaim(store, found)
    if isinstance(found, Launch):
        return AsyncLaunch(store, found)
    if isinstance(found, list):
        records = cast("list[Any]", found)
        if records and isinstance(records[0], Launch):
            return [AsyncLaunch(store, launch) for launch in records]
        if records and isinstance(records[0], Experiment):
            made_all: list[Any] = [_for_asyncio(store, each) for each in records]
            return (
                Experiments(made_all, found.cursor) if isinstance(found, Experiments) else made_all
            )
    return cast("Any", found)


class AsyncStore:
    """`runbase.Store` with awaitable methods.

    Attributes:
        sync_store: the `runbase.Store`.
    """

    def __init__(self, store: Store) -> None:
        self.sync_store = store
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="runbase-aio")

    @property
    def url(self) -> str:
        """The URL of the database, without a password."""
        return self.sync_store.url

    @property
    def home(self) -> Path | None:
        """The folder with the runs, or None."""
        return self.sync_store.home

    add_telemetry = _awaited(Store.add_telemetry)
    add_to_experiment = _awaited(Store.add_to_experiment)
    add_to_run = _awaited(Store.add_to_run)
    alerts = _awaited(Store.alerts)
    ancestors = _awaited(Store.ancestors)
    artifact = _awaited(Store.artifact)
    artifact_versions = _awaited(Store.artifact_versions)
    artifacts = _awaited(Store.artifacts)
    best = _awaited(Store.best)
    best_checkpoint = _awaited(Store.best_checkpoint)
    check = _awaited(Store.check)
    compare = _awaited(Store.compare)
    connect = _awaited(Store.connect)
    copy_to = _awaited(Store.copy_to)
    changes = _awaited(Store.changes)
    count = _awaited(Store.count)
    create_experiment = _awaited(Store.create_experiment)
    create_run = _awaited(Store.create_run)
    create_view = _awaited(Store.create_view)
    curves = _awaited(Store.curves)
    delete = _awaited(Store.delete)
    descendants = _awaited(Store.descendants)
    download = _awaited(Store.download)
    drop_view = _awaited(Store.drop_view)
    experiment = _awaited(Store.experiment)
    experiment_links = _awaited(Store.experiment_links)
    experiments = _awaited(Store.experiments)
    export = _awaited(Store.export)
    export_records = _awaited(Store.export_records)
    fork = _awaited(Store.fork)
    gc = _awaited(Store.gc)
    backup = _awaited(Store.backup)
    import_file = _awaited(Store.import_file)
    import_from = _awaited(Store.import_from)
    salvage = _awaited(Store.salvage)
    keys = _awaited(Store.keys)
    known_keys = _awaited(Store.known_keys)
    link = _awaited(Store.link)
    locate = _awaited(Store.locate)
    metrics_frame = _awaited(Store.metrics_frame)
    note = _awaited(Store.note)
    plot = _awaited(Store.plot)
    purge = _awaited(Store.purge)
    read_record = _awaited(Store.read_record)
    records = _awaited(Store.records)
    remove_from_experiment = _awaited(Store.remove_from_experiment)
    remove_from_run = _awaited(Store.remove_from_run)
    rename = _awaited(Store.rename)
    replica_state = _awaited(Store.replica_state)
    restore = _awaited(Store.restore)
    bring_back = _awaited(Store.bring_back)
    archive = _awaited(Store.archive)
    move_archive = _awaited(Store.move_archive)
    unarchive = _awaited(Store.unarchive)
    run = _awaited(Store.run)
    runs = _awaited(Store.runs)
    table = _awaited(Store.table)
    signed_url = _awaited(Store.signed_url)
    sizes = _awaited(Store.sizes)
    scan = _awaited(Store.scan)
    schema = _awaited(Store.schema)
    set_status = _awaited(Store.set_status)
    setup = _awaited(Store.setup)
    setup_status = _awaited(Store.setup_status)
    sql = _awaited(Store.sql)
    sync = _awaited(Store.sync)
    tables = _awaited(Store.tables)
    tag = _awaited(Store.tag)
    telemetry = _awaited(Store.telemetry)
    telemetry_frame = _awaited(Store.telemetry_frame)
    totals = _awaited(Store.totals)
    problems = _awaited(Store.problems)
    unlink = _awaited(Store.unlink)
    untag = _awaited(Store.untag)
    update_experiment = _awaited(Store.update_experiment)
    update_run = _awaited(Store.update_run)
    uses = _awaited(Store.uses)
    views = _awaited(Store.views)

    async def metrics(self, run: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        """The points of a metric, or an Envelope with a `resolution`; see `runbase.Store.metrics`."""
        return await self.in_thread(
            functools.partial(self.sync_store.metrics, run, key, *args, **kwargs)
        )

    async def iter_runs(
        self, where: str | None = None, *, order_by: str | None = None, page: int = 500, **more: Any
    ) -> AsyncIterator[Run]:
        """Iterate over all runs that match a filter; they are read in pages.

        Args:
            where: a filter, as for `Store.runs`.
            order_by: sort keys.
            page: the number of runs in a page.
            more: other arguments of `Store.runs`.
        """
        cursor = None
        while True:
            found: Runs = await self.runs(
                where, order_by=order_by, limit=page, after=cursor, **more
            )
            for run in found:
                yield run
            if found.cursor is None:
                return
            cursor = found.cursor

    def folder(self, run: Run) -> Path | None:
        """Where a run's files are on this machine; None where they are not here."""
        return self.sync_store.folder(run)

    async def close(self) -> None:
        """Close the connections. The store cannot be used afterwards."""
        await self.in_thread(self.sync_store.close)
        self._threads.shutdown(wait=False)

    async def in_thread(self, call: Callable[[], R]) -> R:
        """Call a function in a thread of the store, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncStore {self.url}>"


async def open(
    url: Any = None,
    *,
    home: Any = None,
    sync: bool = True,
    create: bool = True,
    read_url: str | None = None,
) -> AsyncStore:
    """Open a store for asyncio; arguments and errors are those of `runbase.open`."""
    call = functools.partial(
        store.open, url, home=home, sync=sync, create=create, read_url=read_url
    )
    return AsyncStore(await asyncio.to_thread(call))


__all__ = ["AsyncStore", "open"]
