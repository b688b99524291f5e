"""`start` launches workers and returns a `Launch`, which asks the scheduler and the store about them."""

import getpass
import secrets
import shlex
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from runbase.capture.secrets import mask_argv
from runbase.errors import RunbaseError, UsageError, suggestion, warn
from runbase.ids import name_for, new_id
from runbase.run.context import OpenStore
from runbase.settings import load
from runbase.storage.address import without_password
from runbase.storage.types import NewTrial
from runbase.trials.commands import warning_of_unknown
from runbase.trials.launchers import record as records
from runbase.trials.launchers.base import Launcher, Plan, Workers
from runbase.trials.launchers.kubernetes import Kubernetes
from runbase.trials.launchers.local import Local
from runbase.trials.launchers.ray import Ray
from runbase.trials.launchers.record import LaunchRecord
from runbase.trials.launchers.resources import duration, resources
from runbase.trials.launchers.slurm import Slurm

LAUNCHERS: dict[str, Launcher] = {
    "local": Local(),
    "slurm": Slurm(),
    "ray": Ray(),
    "kubernetes": Kubernetes(),
}
"""The launchers, by the name that `--on` takes."""
MOST = 100_000
"""The greatest number of workers of a launch."""
NEVER = 4102444800.0
"""When the trial of a launch without a queue is due: in 2100, so that only its own worker claims it, by its id."""
_SCRIPTS = (".py", ".sh", ".bash", ".R", ".jl", ".pl", ".lua", ".js")
_QUEUE = """
select status, count(*) from runs
where experiment_id = :experiment and queued_at is not null and deleted_at is null
group by status
"""
_NEXT_PARAMS = """
select p.key
from (
  select id from runs
  where experiment_id = :experiment and status = 'PENDING' and queued_at is not null and deleted_at is null
  order by priority desc, number limit 1
) t left join params p on p.run_id = t.id
"""
_RUNS = """
select r.status, count(*) from runs r join run_tags t on t.run_id = r.id
where t.key = 'launch' and t.value = :launch and r.deleted_at is null
group by r.status
"""


class Named(Protocol):
    """An experiment: its record, or one that is yet to be created."""

    @property
    def id(self) -> str:
        """The id."""
        ...

    @property
    def name(self) -> str:
        """The name."""
        ...


class LaunchStatus(Struct, frozen=True, kw_only=True):
    """The state of a launch.

    Attributes:
        launch: its id.
        experiment: the name of the experiment.
        workers: how many workers are in which state, as the scheduler tells it.
        queue: the trials of the experiment by status, also those that others run.
        runs: the runs of this launch by status.
    """

    launch: str
    experiment: str
    workers: Workers
    queue: dict[str, int]
    runs: dict[str, int]


class Launch:
    """Workers that were launched together.

    Attributes:
        id: the id, which is the value of the tag `launch` of its runs.
        record: what was launched: launcher, command, resources, host, user, time.
    """

    def __init__(self, store: OpenStore, record: LaunchRecord) -> None:
        self._store, self.record = store, record
        self.id = record.id

    @property
    def ends_with_this_process(self) -> bool:
        """Whether the workers end if this process does: they run in a local Ray that it started."""
        return bool(self.record.job.get("local"))

    def status(self) -> LaunchStatus:
        """Ask the scheduler for the workers, and the store for the queue and the runs.

        Raises:
            RunbaseError: the scheduler cannot be asked.
        """
        storage = self._store.storage
        self.record = records.find(storage, self.id)
        queue = storage.sql(_QUEUE, {"experiment": self.record.experiment_id})
        runs = storage.sql(_RUNS, {"launch": self.id})
        return LaunchStatus(
            launch=self.id,
            experiment=self.record.experiment,
            workers=self._launcher.status(self.record),
            queue={str(row[0]): int(row[1]) for row in queue},
            runs={str(row[0]): int(row[1]) for row in runs},
        )

    def cancel(self) -> None:
        """Stop all workers. Each gives its trial back to the queue; the trial of a launch without a queue is cancelled.

        Raises:
            RunbaseError: the scheduler cannot be asked.
        """
        self._launcher.cancel(self.record)
        if self.record.trial is not None:
            self._store.storage.cancel_trial(self.record.trial, f"launch {self.id} was cancelled")

    def logs(self) -> dict[str, str]:
        """Return what each worker printed, by its number or the name of its pod: its own lines and its commands' output.

        Raises:
            RunbaseError: the scheduler cannot be asked.
        """
        return self._launcher.logs(self.record)

    @property
    def _launcher(self) -> Launcher:
        return _launcher(self.record.launcher)

    def __repr__(self) -> str:
        return f"<Launch {self.id} of {self.record.workers} workers on {self.record.launcher}>"


def plan(
    store: OpenStore,
    experiment: Named,
    command: Sequence[str],
    *,
    on: str = "local",
    n: int = 1,
    time: str | None = None,
    cpus: float | None = None,
    gpus: int | None = None,
    mem: str | None = None,
    max_parallel: int | None = None,
    wait: str = "0",
    lease: float | None = None,
    options: Sequence[str] = (),
    image: str | None = None,
    once: bool = False,
    dry_run: bool = False,
) -> Plan:
    """Return what a launch starts, and start nothing. The arguments are those of `Experiment.launch`.

    With `dry_run`, a scheduler that cannot be asked is a warning: a plan can be written where there is none.

    Raises:
        UsageError: an argument is not valid, or the launcher cannot start the plan here.
        RunbaseError: the scheduler cannot be asked whether it can.
    """
    if isinstance(command, str):
        raise UsageError(f"the command is a text; pass a list: {shlex.split(command)!r}")
    if not command:
        raise UsageError("no command to run; pass a list, or on the command line what follows --")
    if lease is not None and lease < 1:
        raise UsageError(f"a lease of {lease:g} s is too short; use at least 1 s")
    if not 1 <= n <= MOST:
        raise UsageError(f"the number of workers is {n}; it must be from 1 to {MOST:,}")
    if max_parallel is not None and max_parallel < 1:
        raise UsageError(f"max_parallel is {max_parallel}; it must be at least 1")
    if once and n != 1:
        raise UsageError(
            f"a command that runs once has one worker, not {n}; name an experiment with a queue of trials"
        )
    made = Plan(
        id=secrets.token_hex(5),
        experiment=experiment.name,
        experiment_id=experiment.id,
        command=list(command),
        address=store.address,
        home=(store.home or load().home).absolute(),
        cwd=Path.cwd(),
        workers=n,
        max_parallel=max_parallel,
        resources=resources(time, cpus, gpus, mem),
        wait=duration(wait),
        lease=lease,
        options=list(options),
        image=image,
        trial=new_id() if once else None,
    )
    _check(_launcher(on), made, dry_run=dry_run)
    if not once and (params := _next_params(store, experiment)) is not None:
        warning = warning_of_unknown(command, params)
        if warning is not None:
            warn(warning)
    return made


def _check(launcher: Launcher, planned: Plan, *, dry_run: bool) -> None:
    try:
        launcher.check(planned)
    except UsageError:
        raise
    except RunbaseError as error:
        if not dry_run:
            raise
        warn(f"not checked whether the workers can use the store: {error}")


def _next_params(store: OpenStore, experiment: Named) -> list[str] | None:
    """Return the names of the parameters of the trial that is claimed next; None if no trial waits."""
    try:
        rows = store.storage.sql(_NEXT_PARAMS, {"experiment": experiment.id})
    except RunbaseError:  # a user of a server who may launch, and not use SQL
        return None
    return [str(key) for (key,) in rows if key is not None] if rows else None


def preview(planned: Plan, on: str) -> str:
    """Return what a launch would start, without secrets."""
    return _launcher(on).preview(planned)


def submit(store: OpenStore, planned: Plan, on: str) -> Launch:
    """Start the workers of a plan, and store the record of the launch.

    Raises:
        RunbaseError: the scheduler refused.
    """
    storage = store.storage
    if planned.trial is not None:
        trial = NewTrial(id=planned.trial, name=name_for(planned.trial), params={}, due=NEVER)
        storage.add_trials(planned.experiment_id, [trial])
    try:
        job = _launcher(on).submit(planned)
    except BaseException:
        if planned.trial is not None:
            storage.cancel_trial(planned.trial, "the launch failed")
        raise
    record = LaunchRecord(
        id=planned.id,
        launcher=on,
        job=job,
        workers=len(job["processes"]) if on == "local" else planned.workers,
        max_parallel=planned.max_parallel,
        command=mask_argv(planned.command),
        resources=planned.resources,
        options=mask_argv(planned.options),
        host=socket.gethostname(),
        user=_user(),
        launched_at=datetime.now(UTC).isoformat(timespec="seconds"),
        store=without_password(planned.address),
        folder=str(planned.folder),
        trial=planned.trial,
        experiment=planned.experiment,
        experiment_id=planned.experiment_id,
    )
    launch = Launch(store, record)
    try:
        records.save(storage, record)
    except BaseException:  # nobody could find these workers again
        launch.cancel()
        raise
    return launch


def find(store: OpenStore, launch: str) -> Launch:
    """Return a launch by its id, or a unique prefix of it.

    Raises:
        NotFound: there is no such launch.
    """
    return Launch(store, records.find(store.storage, launch))


def launches(store: OpenStore, experiment: Named | None = None) -> list[Launch]:
    """Return the launches of an experiment, or of all, the oldest first."""
    found = records.list_all(store.storage, None if experiment is None else experiment.id)
    return [Launch(store, record) for record in found]


def name_of_script(command: Sequence[str]) -> str:
    """Return the experiment of a command that runs once: the stem of its script, else of its program.

    Raises:
        UsageError: there is no command.
    """
    if not command:
        raise UsageError("no command to run; pass it after --")
    scripts = [word for word in command if word.endswith(_SCRIPTS)]
    return Path((scripts or command)[0]).stem or "default"


def _launcher(name: str) -> Launcher:
    if name not in LAUNCHERS:
        raise UsageError(f"no launcher {name!r}{suggestion(name, LAUNCHERS)}")
    return LAUNCHERS[name]


def _user() -> str | None:
    try:
        return getpass.getuser()
    except Exception:  # no such user in this container
        return None


__all__ = ["Launch", "LaunchStatus", "find", "launches", "plan", "preview", "submit"]
