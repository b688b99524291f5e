"""Begins runs: makes or finds the folder, opens the journal, captures, and hands out a `Run`."""

import functools
import getpass
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from runbase.capture import facts, output, slurm
from runbase.coerce import as_params, as_tags
from runbase.errors import UsageError
from runbase.events import Captured, Noted, Started, Tags
from runbase.filesystems import on_network
from runbase.journal import JournalWriter
from runbase.run import background, exit_hooks, slurm_requeue
from runbase.run.background import Care, beat
from runbase.run.context import OpenStore, enclosing_run
from runbase.run.lease import Held, Lease
from runbase.run.resolve import ATTEMPT, next_step, nowhere, open_run
from runbase.run.run import Run
from runbase.settings import Settings, load
from runbase.status import Status
from runbase.storage.address import without_password

if TYPE_CHECKING:
    import inspect


P = ParamSpec("P")
R = TypeVar("R")

_announced: set[str] = set()


def start_run(
    experiment: str | None = None,
    *,
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: str | Iterable[str] | Mapping[str, Any] | None = None,
    notes: str | None = None,
    store: "OpenStore | str | None" = None,
    home: str | os.PathLike[str] | None = None,
    resume: str | None = None,
    parent: "Run | str | bool | None" = None,
    capture: bool | Iterable[str] | None = None,
    ends: Mapping[str, Status | str | None] | None = None,
    run_id: str | None = None,
) -> Run:
    """Begin a run and make it the current one; use it as a context manager or call `finish`.

    Args:
        experiment: the group of runs it belongs to, made when new; default: the setting
            `experiment`, else the script's name.
        name: a readable name; default: one such as `brisk-heron-42`.
        params: parameters; nested mappings flatten with ``/``.
        tags: plain tags, or a mapping of tag to value.
        notes: prose about it.
        store: a database URL, a store that is open, or ``"none"`` to write files only; default: the home's own database.
        home: the folder for runs; default: the nearest `.runbase` upwards, else one made here.
        resume: id, unique id prefix or name of a run to go on with, also after it was killed.
        parent: the run it belongs under; default: the run whose `with` block this is in; False: none.
        capture: True (all but sampling), False, or the parts wanted: git, command, packages, host,
            slurm, env, output, sampling.
        ends: statuses other than the usual ones for the endings normal (COMPLETED), exception
            (FAILED), interrupt (CANCELLED), terminate (CANCELLED, or as Slurm says).
        run_id: an id made elsewhere; a run that has it goes on.

    Raises HomeError where the home cannot be written, NotFound where there is nothing to resume.
    """
    return begin(
        None,
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


def begin(
    held: Held | None,
    *,
    experiment: str | None = None,
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: str | Iterable[str] | Mapping[str, Any] | None = None,
    notes: str | None = None,
    store: "OpenStore | str | None" = None,
    home: str | os.PathLike[str] | None = None,
    resume: str | None = None,
    parent: "Run | str | bool | None" = None,
    capture: bool | Iterable[str] | None = None,
    ends: Mapping[str, Status | str | None] | None = None,
    run_id: str | None = None,
) -> Run:
    """`start_run`, also of a trial that was claimed."""
    if store is not None and not isinstance(store, str):
        home = home or store.home
        store = store.address
    settings = load(
        home=home,
        store=store,
        experiment=experiment,
        run_name=name,
        run_id=run_id,
        capture=_as_setting(capture),
        notes=notes,
    )
    outcomes = exit_hooks.outcomes(ends)
    given = {} if params is None else as_params(params)
    labels = as_tags(tags)
    wanted = facts.parts(_capture(settings))
    disabled = settings.text("mode") == "disabled"
    place = nowhere() if disabled else settings.home
    url = None if disabled else store_url(settings)
    opening = open_run(settings, place, url, resume=resume, run_id=run_id, held=held)
    journal = JournalWriter(opening.folder, opening.first_line)
    sampler = _sampler(wanted)
    care = Care(opening.run_id, journal, url, opening.folder.relative_to(place).as_posix(), sampler)
    if held is not None:
        care.lease = Lease(held)
    beat(opening.folder)
    slurm_requeue.note(opening.job, opening.run_id)
    # A worker keeps the output of the command that it runs, which is us.
    kept = opening.attached and ATTEMPT in os.environ
    captured = (
        output.start(opening.folder / "output.log") if "output" in wanted and not kept else None
    )
    run = Run(
        run_id=opening.run_id,
        name=opening.name,
        experiment=opening.experiment,
        folder=opening.folder,
        store=None if url is None else without_password(url),
        journal=journal,
        care=care,
        next_step=next_step(opening.folder, url, opening.run_id) if opening.resumed else 0,
        outcomes=outcomes,
        captured=captured,
        finish_timeout=float(settings.text("finish_timeout") or 10),
        parent=None if parent is False else _parent_id(parent),
        attached=opening.attached,
        discard=place if disabled else None,
        artifact_root=None if disabled else _artifact_root(settings),
    )
    if opening.known is not None:
        run.params.hold(opening.known.params)
    if not opening.attached:
        user = _user()
        journal.append(
            Started(
                time=opening.starts_at(),
                resumed=opening.resumed,
                parent=run.parent_id,
                user=user,
            )
        )
    _say_the_first(run, journal, settings, wanted, given, labels)
    exit_hooks.register(run)
    _capture_slowly(run, journal, wanted)
    background.add(care)
    if not disabled:
        _announce(settings, run, " goes on" if opening.resumed else "")
    return run


@overload
def track(experiment: Callable[P, R]) -> Callable[P, R]: ...
@overload
def track(
    experiment: str | None = None, **options: Any
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def track(experiment: Any = None, **options: Any) -> Any:
    """Make every call of a function a run: `@track`, `@track("mnist", tags=["baseline"])`.

    The function's arguments become parameters; a parameter of its called `run` is given the Run; a
    mapping of numbers that it returns is logged as final metrics.
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
            given: dict[str, Any] = {
                **options,
                "params": {**values, **(options.get("params") or {})},
            }
            with start_run(title, **given) as run:
                if _wants_run(signature, bound.arguments):
                    kwargs["run"] = run
                result = function(*args, **kwargs)
                _log_result(run, result)
                return result

        return call

    return decorate(experiment) if callable(experiment) else decorate


def store_url(settings: Settings) -> str | None:
    """Where a run's points go, or None: files only. Never a SQLite file on a network file system."""
    if settings.store.lower() == "none" or settings.text("mode") == "offline":
        return None
    if settings.values["store"].source == "default" and on_network(settings.home):
        return None
    return settings.store


def _artifact_root(settings: Settings) -> str | None:
    root = settings.text("artifacts")
    return root if root is None or "://" in root else str(Path(root).expanduser().absolute())


def _say_the_first(
    run: Run,
    journal: JournalWriter,
    settings: Settings,
    wanted: tuple[str, ...],
    params: Mapping[str, Any],
    tags: Mapping[str, str | None],
) -> None:
    run.log_params(params)
    everyone = [tag for tag in (settings.text("tags") or "").split(",") if tag]
    found = as_tags(everyone) | dict(tags)
    if "slurm" in wanted and (sweep := slurm.sweep_tag()):
        found[sweep] = None
    if found:
        journal.append(Tags(time=time.time(), set=found))
    if notes := settings.text("notes"):
        journal.append(Noted(time=time.time(), text=notes))
    if quick := facts.quick(wanted):
        journal.append(Captured(time=time.time(), **quick))


def _capture_slowly(run: Run, journal: JournalWriter, wanted: tuple[str, ...]) -> None:
    """Repository, packages and hardware, by a thread: a tenth of a second that no one waits for."""
    slow = [part for part in wanted if part in ("git", "packages", "host")]
    if not slow:
        return
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    place = Path(script).parent if script else Path.cwd()

    def work() -> None:
        found = facts.capture(slow, place, run.folder)
        if found and not run.finished:
            journal.append(Captured(time=time.time(), **found))

    def quietly() -> None:
        try:
            work()
        except Exception:  # no fact about the machine is worth a run
            return

    run.capturing = threading.Thread(target=quietly, name="runbase-capture", daemon=True)
    run.capturing.start()


def _sampler(wanted: tuple[str, ...]) -> Any:
    if "sampling" not in wanted:
        return None
    try:
        from runbase.capture.sampling import Sampler

        return Sampler()
    except ImportError as error:
        raise UsageError(
            "capture of sampling needs psutil: pip install 'runbase[system]'"
        ) from error


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


def _parent_id(parent: "Run | str | bool | None") -> str | None:
    if isinstance(parent, str):
        return parent
    if isinstance(parent, Run):
        return parent.id
    enclosing = enclosing_run()
    return enclosing.id if enclosing is not None else None


def _announce(settings: Settings, run: Run, how: str) -> None:
    where = str(settings.home) if run.store is None else run.store.removeprefix("sqlite:///")
    if settings.flag("quiet") or where in _announced:
        return
    _announced.add(where)
    print(f"runbase: run {run.name} of {run.experiment}{how} → {where}", file=sys.stderr)


def _user() -> str | None:
    try:
        return getpass.getuser()
    except (
        Exception
    ):  # no such user in this container: KeyError or OSError, as Python's version has it
        return None


def _log_result(run: Run, result: Any) -> None:
    if isinstance(result, Mapping) and result:
        numbers = cast("Mapping[str, Any]", result)
        if all(isinstance(value, int | float) for value in numbers.values()):
            run.log(numbers)


def _wants_run(signature: "inspect.Signature", given: Mapping[str, Any]) -> bool:
    return "run" in signature.parameters and given.get("run") is None
