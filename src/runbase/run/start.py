"""`start_run` and `track`: create or find the run folder, open the journal, capture, and return a `Run`."""

import functools
import getpass
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from runbase.capture import facts, output, seeds, slurm
from runbase.capture.system_metrics import SystemMetrics
from runbase.errors import warn
from runbase.events import Captured, Noted, Started, Tags
from runbase.filesystems import on_network
from runbase.ingest.liveness import has_begun
from runbase.journal import JournalWriter
from runbase.run import background, exit_hooks, ranks, slurm_requeue
from runbase.run.background import RunMonitor, beat
from runbase.run.context import OpenStore, enclosing_run
from runbase.run.lease import Held, Lease
from runbase.run.options import RunOptions, RunSetup
from runbase.run.orphans import Orphan
from runbase.run.resolve import ATTEMPT, RUNNER, next_step, nowhere, open_run
from runbase.run.run import Run
from runbase.settings import Settings, load
from runbase.status import Status
from runbase.storage.address import is_server, server_of, without_password
from runbase.typing import JsonObject, RunLike
from runbase.values import as_params, as_tags

if TYPE_CHECKING:
    import inspect


P = ParamSpec("P")
R = TypeVar("R")

REPRODUCES = "RUNBASE_REPRODUCES"
"""The id of the run that this process reproduces, the parent of its runs: `runbase reproduce` sets it."""
LAUNCH = "RUNBASE_LAUNCH"
"""The id of the launch that started this process, a tag of its runs: `runbase launch` sets it."""
_announced: set[str] = set()


def start_run(
    experiment: str | None = None,
    *,
    name: str | None = None,
    params: Mapping[str, object] | None = None,
    tags: str | Iterable[str] | Mapping[str, object] | None = None,
    notes: str | None = None,
    store: "OpenStore | str | None" = None,
    home: str | os.PathLike[str] | None = None,
    resume: str | None = None,
    parent: RunLike | bool | None = None,
    capture: bool | Iterable[str] | None = None,
    ends: Mapping[str, Status | str | None] | None = None,
    run_id: str | None = None,
) -> Run:
    """Start a run and make it the current one. Use it as a context manager, or call `finish`.

    Args:
        experiment: the experiment, created if it does not exist. Default: the setting `experiment`,
            else the name of the script.
        name: the display name. Default: a generated one such as `brisk-heron-42`.
        params: parameters. Nested mappings are flattened with ``/``.
        tags: plain tags, or a mapping of tag to value.
        notes: free text.
        store: a database URL, an open store, or ``"none"`` to write files only. Default: the
            database of the home.
        home: the folder for runs. Default: the nearest `.runbase` in this or a parent folder, else
            a new one here.
        resume: the id, a unique prefix of the id, or the name of a run to continue, also after it
            was killed.
        parent: the run that it belongs to; False for none. Default: the run of the enclosing `with`
            block.
        capture: True (all), False, or the parts to capture: git, command, packages,
            host, slurm, env, output, seeds, system.
        ends: other statuses for the endings normal (default COMPLETED), exception (FAILED),
            interrupt (CANCELLED), terminate (CANCELLED, or as reported by Slurm).
        run_id: an id created elsewhere. If a run has it, that run is resumed.

    Returns:
        The run.

    Raises:
        HomeError: the home cannot be written.
        NotFound: the run to resume does not exist.
        UsageError: an argument is not valid.
    """
    options = RunOptions(
        experiment=experiment,
        name=name,
        params=params,
        tags=tags,
        notes=notes,
        store=store,
        home=home,
        resume=resume,
        parent=parent,
        capture=capture,
        ends=ends,
        run_id=run_id,
    )
    return begin(options)


def begin(options: RunOptions, held: Held | None = None) -> Run:
    """Start a run as `start_run` does; with `held`, the run of a claimed trial."""
    store, home = options.store, options.home
    if store is not None and not isinstance(store, str):
        home = home or store.home
        store = store.address
    settings = load(
        home=home,
        store=store,
        experiment=options.experiment,
        run_name=options.name,
        run_id=options.run_id,
        capture=_as_setting(options.capture),
        notes=options.notes,
    )
    outcomes = exit_hooks.outcomes(options.ends)
    plain_params = {} if options.params is None else as_params(options.params)
    labels = as_tags(options.tags)
    wanted = facts.parts(_capture(settings))
    disabled = settings.text("mode") == "disabled"
    place = nowhere() if disabled else settings.home
    url = None if disabled else store_url(settings)
    opening = open_run(
        settings, place, url, resume=options.resume, run_id=options.run_id, held=held
    )
    journal = JournalWriter(opening.folder, opening.first_line)
    job = opening.job
    monitor = RunMonitor(
        opening.run_id,
        journal,
        url,
        opening.folder.relative_to(place).as_posix(),
        _system_metrics(settings, wanted, job),
    )
    if held is not None:
        monitor.lease = Lease(held)
    beat(opening.folder)
    if job is None or not job.rank:
        slurm_requeue.note(opening.marker, opening.run_id)
    # `runbase worker` already records the output of this process if it started it.
    recorded = opening.attached and ATTEMPT in os.environ
    captured = (
        output.start(opening.folder / "output.log") if "output" in wanted and not recorded else None
    )
    setup = RunSetup(
        run_id=opening.run_id,
        name=opening.name,
        experiment=opening.experiment,
        folder=opening.folder,
        store=None if url is None else without_password(url),
        journal=journal,
        monitor=monitor,
        next_step=next_step(opening.folder, url, opening.run_id) if opening.resumed else 0,
        outcomes=outcomes,
        captured=captured,
        finish_timeout=float(settings.text("finish_timeout") or 10),
        parent=None if options.parent is False else _parent_id(options.parent),
        attached=opening.attached,
        discard=place if disabled else None,
        quiet=disabled or settings.flag("quiet") or (job is not None and job.rank > 0),
        number=None if opening.known is None else opening.known.number,
        attempt=opening.attempt,
        runner=held.runner if held is not None else _runner(opening.attempt),
        suffix="" if job is None else job.suffix,
        artifact_root=None if disabled else _artifact_root(settings, url),
    )
    run = Run(setup)
    if opening.known is not None:
        run.params.hold(opening.known.params)
    user = _user()
    if opening.attached and not has_begun(opening.folder):
        monitor.orphan = Orphan(journal, monitor.record, user)
    elif not opening.attached:
        journal.append(
            Started(
                time=opening.starts_at(),
                resumed=opening.resumed,
                parent=run.parent_id,
                user=user,
            )
        )
    _log_start(run, journal, settings, wanted, plain_params, labels)
    exit_hooks.register(run)
    _restore_seeds()
    _capture_slowly(run, journal, wanted)
    background.add(monitor)
    if not disabled and (job is None or not job.rank):
        _announce(settings, run, " resumed" if opening.resumed else "", job)
    return run


@overload
def track(experiment: Callable[P, R]) -> Callable[P, R]: ...
@overload
def track(
    experiment: str | None = None, **options: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def track(experiment: Any = None, **options: Any) -> Any:
    """Record every call of a function as a run: `@track`, `@track("mnist", tags=["baseline"])`.

    The arguments of the function become parameters. If it has a parameter named `run`, the `Run` is
    passed to it. If it returns a mapping of numbers, they are logged as final metrics.

    Args:
        experiment: the experiment. Default: the name of the function.
        options: arguments of `start_run`.
    """
    import inspect

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        title = experiment if isinstance(experiment, str) else function.__name__

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            bound = signature.bind_partial(*args, **kwargs)
            bound.apply_defaults()
            values = {k: v for k, v in bound.arguments.items() if k != "run"}
            arguments: JsonObject = {
                **options,
                "params": {**values, **(options.get("params") or {})},
            }
            with start_run(title, **arguments) as run:
                if _wants_run(signature, bound.arguments):
                    kwargs["run"] = run
                result = function(*args, **kwargs)
                _log_result(run, result)
                return result

        return call

    return decorate(experiment) if callable(experiment) else decorate


def store_url(settings: Settings) -> str | None:
    """Return the URL of the database for a run; None to write files only.

    The default SQLite database is not used on a network file system, where locks are not reliable.
    """
    if settings.store.lower() == "none" or settings.text("mode") == "offline":
        return None
    if settings.values["store"].source == "default" and on_network(settings.home):
        return None
    return settings.store


def _runner(attempt: int) -> str | None:
    """Return the name of the worker that started this process for a trial."""
    return os.environ.get(RUNNER) if attempt else None


def _artifact_root(settings: Settings, url: str | None) -> str | None:
    """Return where artifacts are uploaded to: the setting `artifacts`, else the server, if the store is one."""
    root = settings.text("artifacts")
    if root is None and url is not None and is_server(url):
        return f"{server_of(url)}/api/files"
    return root if root is None or "://" in root else str(Path(root).expanduser().absolute())


def _log_start(
    run: Run,
    journal: JournalWriter,
    settings: Settings,
    wanted: tuple[str, ...],
    params: Mapping[str, object],
    tags: Mapping[str, str | None],
) -> None:
    run.log_params(params)
    if original := os.environ.get(REPRODUCES):
        tags = {**tags, "reproduces": original}
    if launch := os.environ.get(LAUNCH):
        tags = {**tags, "launch": launch}
    from_settings = [tag for tag in (settings.text("tags") or "").split(",") if tag]
    all_tags = as_tags(from_settings) | dict(tags)
    if "slurm" in wanted and (sweep := slurm.sweep_tag()):
        all_tags[sweep] = None
    if all_tags:
        journal.append(Tags(time=time.time(), set=all_tags))
    if notes := settings.text("notes"):
        journal.append(Noted(time=time.time(), text=notes))
    if quick := facts.quick(wanted):
        journal.append(Captured(time=time.time(), **quick))


def _restore_seeds() -> None:
    """Set the random number generators to the states of the run that this process reproduces, once."""
    path = os.environ.pop(seeds.STATE, None)
    if path is None:
        return
    try:
        seeds.restore(Path(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        warn(f"the states of the random number generators were not restored: {error}")


def _capture_slowly(run: Run, journal: JournalWriter, wanted: tuple[str, ...]) -> None:
    """Capture repository, packages, hardware and Slurm's job in a thread: it takes about a tenth of a second."""
    slow = [part for part in wanted if part in ("git", "packages", "host")]
    if "slurm" in wanted and "SLURM_JOB_ID" in os.environ and not ranks.rank():
        slow.append("slurm")
    states = seeds.states() if "seeds" in wanted else None
    if not slow and states is None:
        return
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    place = Path(script).parent if script else Path.cwd()

    def work() -> None:
        if states is not None:
            seeds.write(states, run.folder)
        captured = facts.capture(slow, place, run.folder)
        if captured and not run.finished:
            journal.append(Captured(time=time.time(), **captured))

    def quietly() -> None:
        try:
            work()
        except Exception:  # a failed capture must not stop the run
            return

    run.capturing = threading.Thread(target=quietly, name="runbase-capture", daemon=True)
    run.capturing.start()


def _system_metrics(
    settings: Settings, wanted: tuple[str, ...], job: ranks.Job | None
) -> SystemMetrics | None:
    """Return what samples the machine; of a distributed job, the first process on each node does."""
    if "system" not in wanted or not settings.flag("system_metrics") or (job and job.local_rank):
        return None
    return SystemMetrics("" if job is None else job.suffix)


def _capture(settings: Settings) -> bool | tuple[str, ...]:
    text = (settings.text("capture") or "true").lower()
    if text in ("true", "1", "yes", "on", "all"):
        return True
    if text in ("false", "0", "no", "off", "none"):
        return False
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _as_setting(capture: bool | Iterable[str] | None) -> str | None:
    if capture is None or isinstance(capture, bool | str):
        return None if capture is None else str(capture)
    return ",".join(capture) or "false"


def _parent_id(parent: RunLike | bool | None) -> str | None:
    if isinstance(parent, str):
        return parent
    if parent is not None and not isinstance(parent, bool):
        return parent.id
    enclosing = enclosing_run()
    return enclosing.id if enclosing is not None else os.environ.get(REPRODUCES)


def _announce(settings: Settings, run: Run, how: str, job: ranks.Job | None) -> None:
    where = str(settings.home) if run.store is None else run.store.removeprefix("sqlite:///")
    if settings.flag("quiet") or where in _announced:
        return
    _announced.add(where)
    shared = "" if job is None else f" ({job.size} processes log into this run)"
    # Notebooks show standard error on a red background, as if something had failed.
    in_notebook = type(sys.stdout).__module__.startswith("ipykernel")
    out = sys.stdout if in_notebook else sys.stderr
    print(f"runbase: run {run.name} of {run.experiment}{how} → {where}{shared}", file=out)


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (
        Exception
    ):  # no such user in this container: KeyError or OSError, depending on the Python version
        return None


def _log_result(run: Run, result: object) -> None:
    if isinstance(result, Mapping) and result:
        numbers = cast("Mapping[str, object]", result)
        if all(isinstance(value, int | float) for value in numbers.values()):
            run.log(numbers)


def _wants_run(signature: "inspect.Signature", arguments: Mapping[str, object]) -> bool:
    return "run" in signature.parameters and arguments.get("run") is None
