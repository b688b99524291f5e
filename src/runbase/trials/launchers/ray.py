"""Workers as tasks of Ray. On a cluster, a detached actor starts them, so that they outlive the command; a local Ray ends
with the process that started it.

Ray shows the environment and the names of tasks to everybody who sees its dashboard, and no arguments: the URL of the store
is an argument.
"""

# pyright: basic, reportMissingImports=false

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from runbase import extras
from runbase.errors import NotFound, RunbaseError, UsageError
from runbase.storage.open import open_storage
from runbase.storage.protocol import Storage
from runbase.trials.launchers import record as records
from runbase.trials.launchers.base import Plan, Workers, output_files
from runbase.trials.launchers.hosts import check_reachable, is_this_machine
from runbase.trials.launchers.record import LaunchRecord
from runbase.typing import JsonObject

NAMESPACE = "runbase"
"""The namespace of the actors."""
GRACE = 30.0
"""Seconds between SIGTERM and SIGKILL of a worker."""
LOOK = 0.2
"""Seconds between two checks of a worker."""
_STOPPED = (0, 128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGTERM)
"""The exit codes of workers that ended by themselves or were asked to."""
_CONNECTED = 60.0
"""Seconds in which the actor must answer."""


class Order(Struct, frozen=True, kw_only=True):
    """What the actor starts: arguments of `runbase`, their environment, folders, and what Ray must grant."""

    id: str
    arguments: list[str]
    environment: dict[str, str]
    workers: int
    at_once: int
    folder: str
    cwd: str
    options: dict[str, Any]
    detached: bool

    def __repr__(self) -> str:
        return f"<Order of {self.workers} workers for launch {self.id}>"


class Supervisor:
    """The actor: it starts tasks, at most `at_once` at the same time, and counts how they end."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._ray: Any = extras.load("ray", "ray", "a launch on Ray")
        self._tasks: dict[Any, int] = {}
        self._begun: set[int] = set()
        self._waiting = list(range(order.workers))
        self._counts = {"ended": 0, "failed": 0}
        self._cancelled = False
        self._note: str | None = None
        self._me: Any = None
        self._guard = threading.Lock()

    def run(self) -> None:
        """Start all tasks, and return when they have ended; of a cluster, leave the counts in the record."""
        try:
            self._run_all()
        except Exception as error:  # nobody waits for this call: `counts` tells it
            with self._guard:
                self._counts["failed"] += len(self._waiting) + len(self._tasks)
                self._waiting.clear()
                self._tasks.clear()
                self._note = f"Ray: {error}"
        if self._order.detached:
            self._leave()

    def _run_all(self) -> None:
        self._me = self._ray.get_runtime_context().current_actor
        while self._start():
            ready, _ = self._ray.wait(list(self._tasks), num_returns=1, timeout=LOOK)
            for reference in ready:
                kind = self._ended(reference)
                with self._guard:
                    self._tasks.pop(reference)
                    self._counts[kind] += 1

    def counts(self) -> dict[str, Any]:
        """Return the number of tasks by state. A task waits until Ray grants what it needs."""
        with self._guard:
            running = sum(number in self._begun for number in self._tasks.values())
            waiting = len(self._waiting) + len(self._tasks) - running
            return {**self._counts, "running": running, "pending": waiting, "note": self._note}

    def begin(self, number: int) -> None:
        """Record that a task runs."""
        with self._guard:
            self._begun.add(number)

    def cancel(self) -> None:
        """Start no other task, and cancel those that run: each stops its worker."""
        with self._guard:
            self._counts["ended"] += len(self._waiting)
            self._waiting.clear()
            self._cancelled = True
            for reference in self._tasks:
                self._ray.cancel(reference)

    def _start(self) -> bool:
        """Submit tasks up to the limit; return False if all have ended."""
        task = self._ray.remote(run_worker)
        with self._guard:
            while self._waiting and len(self._tasks) < self._order.at_once:
                number = self._waiting.pop(0)
                named = task.options(name=f"{self._order.id}-{number}", **self._order.options)
                reference = named.remote(self._order, number, self._me)
                self._tasks[reference] = number
            return bool(self._tasks)

    def _ended(self, reference: Any) -> str:
        try:
            return "ended" if self._ray.get(reference) in _STOPPED else "failed"
        except self._ray.exceptions.TaskCancelledError:
            return "ended"
        except Exception:  # its process or its node was killed
            return "ended" if self._cancelled else "failed"

    def _leave(self) -> None:
        """Store the counts, and end the actor."""
        with suppress(RunbaseError):
            environment = self._order.environment
            os.environ.update(environment)
            storage = open_storage(environment["RUNBASE_STORE"], create=False)
            record = _record_of(storage, self._order.id)
            job = {**record.job, "counts": {**self._counts, "note": self._note}}
            records.save(storage, structs.replace(record, job=job))
            storage.close()
        self._ray.actor.exit_actor()


def _record_of(storage: Storage, launch: str) -> LaunchRecord:
    """Return the record of a launch, which the process that launches stores after it has started the actor."""
    deadline = time.monotonic() + _CONNECTED
    while True:
        try:
            return records.find(storage, launch)
        except NotFound:
            if time.monotonic() > deadline:
                raise
            time.sleep(LOOK)


def run_worker(order: Order, number: int, supervisor: Any) -> int:
    """Run a worker as a process of the node; return its exit code. If Ray cancels the task, stop the worker with SIGTERM."""
    supervisor.begin.remote(number)
    cwd = order.cwd if Path(order.cwd).is_dir() else None
    output = _output(order, number)
    process = subprocess.Popen(
        [sys.executable, "-m", "runbase", *order.arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        env={**os.environ, **order.environment},
        start_new_session=True,
    )
    try:
        while True:
            with suppress(subprocess.TimeoutExpired):
                return process.wait(LOOK)
    finally:  # KeyboardInterrupt, if the task is cancelled
        _stop(process)


def _output(order: Order, number: int) -> Any:
    """Return the file for the output of a worker; None if the folder is not on this node: Ray's own log of the task."""
    try:
        folder = Path(order.folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        return (folder / f"{number}.log").open("ab")
    except OSError:
        return None


def _stop(process: "subprocess.Popen[bytes]") -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


class Ray:
    """Starts the actor on the cluster at RAY_ADDRESS or `--option address=…`, on one that runs here, or on a local Ray."""

    def check(self, plan: Plan) -> None:
        """Raise UsageError for options that are not `NAME=VALUE`."""
        _options(plan.options)
        if plan.image:
            raise UsageError("--image is for --on kubernetes")

    def preview(self, plan: Plan) -> str:
        """Return the command of a worker, and what Ray must grant."""
        shown = plan.shown()
        granted = ", ".join(f"{k}={v}" for k, v in _granted(plan).items())
        address = _address(plan.options) or "the cluster of this machine, else a local Ray"
        command = shlex.join(["runbase", *shown.worker(stop_after=plan.resources.seconds)])
        return f"# {plan.workers} tasks, {plan.at_once} at once, on {address}: {granted}\n{command}"

    def submit(self, plan: Plan) -> JsonObject:
        """Start the actor."""
        address = _address(plan.options)
        ray, local = _connect(address)
        nodes = {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
        others = {node for node in nodes if not is_this_machine(node)}
        check_reachable(plan.address, "the nodes of Ray are", others)
        environment = plan.variables()
        environment |= {k: v for k, v in os.environ.items() if k == "RUNBASE_TOKEN"}
        order = Order(
            id=plan.id,
            arguments=plan.worker(stop_after=plan.resources.seconds),
            environment=environment,
            workers=plan.workers,
            at_once=plan.at_once,
            folder=str(plan.folder),
            cwd=str(plan.cwd),
            options=_granted(plan),
            detached=not local,
        )
        actor = ray.remote(Supervisor)
        supervisor = actor.options(
            name=plan.id,
            namespace=NAMESPACE,
            lifetime="non_detached" if local else "detached",
            num_cpus=0,
            max_concurrency=4,
            runtime_env=_runtime(plan.options),
        ).remote(order)
        _get(ray, supervisor.counts.remote())
        _running.append((supervisor, supervisor.run.remote()))
        where = (
            ray.get_runtime_context().gcs_address if address in (None, "auto", "local") else address
        )
        return {"actor": plan.id, "address": where, "local": local}

    def status(self, record: LaunchRecord) -> Workers:
        """Return what the actor counts, or what it left in the record at its end."""
        counts = record.job.get("counts")
        try:
            ray, supervisor = _supervisor(record)
            counts = _get(ray, supervisor.counts.remote())
        except (RunbaseError, ValueError) as error:
            if counts is None:
                return Workers(unknown=record.workers, note=str(error))
        return Workers(**counts)

    def cancel(self, record: LaunchRecord) -> None:
        """Let the actor cancel its tasks: each stops its worker, which gives its trial back."""
        with suppress(ValueError):
            ray, supervisor = _supervisor(record)
            _get(ray, supervisor.cancel.remote())

    def logs(self, record: LaunchRecord) -> dict[str, str]:
        """Return the output of workers on this machine, or on nodes that share its files."""
        return output_files(record)


_running: list[Any] = []
"""Actors that this process started, with their results: a local Ray ends an actor that nobody refers to."""


def _options(options: Any) -> dict[str, str]:
    """Return options as names with values: `address`, and the parts of Ray's runtime environment."""
    pairs: dict[str, str] = {}
    for option in options:
        name, sign, value = option.partition("=")
        if not sign or name.startswith("-"):
            raise UsageError(
                f"{option!r} is not an option for Ray; use NAME=VALUE, as in address=auto"
            )
        pairs[name] = value
    return pairs


def _address(options: Any) -> str | None:
    return _options(options).get("address") or os.environ.get("RAY_ADDRESS")


def _runtime(options: Any) -> dict[str, Any] | None:
    """Return the runtime environment of the workers, such as `working_dir`."""
    parts = {name: value for name, value in _options(options).items() if name != "address"}
    return parts or None


def _granted(plan: Plan) -> dict[str, Any]:
    """Return the options of a task."""
    wanted = plan.resources
    granted: dict[str, Any] = {"num_cpus": 1 if wanted.cpus is None else wanted.cpus}
    if wanted.gpus is not None:
        granted["num_gpus"] = wanted.gpus
    if wanted.memory is not None:
        granted["memory"] = wanted.memory
    return granted


def _connect(address: str | None) -> tuple[Any, bool]:
    """Connect to a cluster; return Ray, and whether it is a local one that ends with this process.

    Args:
        address: the cluster; "local" for a new local Ray. None: one that runs on this machine, else a new local Ray.
    """
    ray = extras.load("ray", "ray", "a launch on Ray")
    if ray.is_initialized():
        return ray, bool(_started)
    quiet: dict[str, Any] = {
        "namespace": NAMESPACE,
        "log_to_driver": False,
        "logging_level": "ERROR",
    }
    try:
        if address != "local":
            ray.init(address=address or "auto", **quiet)
            return ray, False
    except ConnectionError as error:
        if address is not None:
            raise RunbaseError(
                f"no cluster of Ray answers at {address}, or it asks for a token (RAY_AUTH_MODE): {error}"
            ) from None
    ray.init(address="local", include_dashboard=False, **quiet)
    _started.append(os.getpid())
    return ray, True


_started: list[int] = []
"""The process that started a local Ray."""


def _supervisor(record: LaunchRecord) -> tuple[Any, Any]:
    """Return Ray and the actor of a launch; raise ValueError if it has ended."""
    local = bool(record.job.get("local"))
    if local and not _started:
        raise ValueError("its local Ray ended with the process that started it")
    ray, _ = _connect("local" if local else str(record.job["address"]))
    try:
        return ray, ray.get_actor(str(record.job["actor"]), namespace=NAMESPACE)
    except ValueError:
        raise ValueError("the actor has ended, and has left no counts") from None


def _get(ray: Any, reference: Any) -> Any:
    """Return the answer of an actor."""
    try:
        return ray.get(reference, timeout=_CONNECTED)
    except ray.exceptions.RayActorError:
        raise ValueError("the actor has ended") from None
    except ray.exceptions.GetTimeoutError:
        raise RunbaseError(f"Ray did not answer within {_CONNECTED:g} s") from None
