"""Begins runs: makes or finds the folder, opens the journal, captures, and hands out a `Run`."""

import functools
import getpass
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from runbase import background, endings
from runbase.active import enclosing_run, is_active
from runbase.arguments import as_params, as_tags
from runbase.background import Care, beat
from runbase.capture import facts, output, slurm
from runbase.errors import HomeError, NotFound, UsageError, suggestion
from runbase.events import Captured, Noted, Opened, Scalar, Started, Tags
from runbase.ids import folder_name, name_for, new_id
from runbase.ingest.liveness import has_begun, is_led, this_process
from runbase.journal import VERSION, JournalWriter, files, opened, read
from runbase.leases import Held, Lease
from runbase.run import Run
from runbase.settings import Settings, load, on_network
from runbase.status import Status
from runbase.storage.address import without_password

if TYPE_CHECKING:
    import inspect

    from runbase.client import Store
    from runbase.model import Run as Record

P = ParamSpec("P")
R = TypeVar("R")

_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
ATTEMPT = "RUNBASE_ATTEMPT"
"""Of a trial whose id is in RUNBASE_RUN_ID: which attempt at it. `runbase worker` sets both."""
_RUN_ID = re.compile(r"[A-Za-z0-9][\w\-]{0,255}")
_announced: set[str] = set()


def start_run(
    experiment: str | None = None,
    *,
    name: str | None = None,
    params: Mapping[str, Any] | None = None,
    tags: str | Iterable[str] | Mapping[str, Any] | None = None,
    notes: str | None = None,
    store: "Store | str | None" = None,
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
    store: "Store | str | None" = None,
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
    outcomes = endings.outcomes(ends)
    given = {} if params is None else as_params(params)
    labels = as_tags(tags)
    wanted = facts.parts(_capture(settings))
    disabled = settings.text("mode") == "disabled"
    place = _nowhere() if disabled else settings.home
    url = None if disabled else store_url(settings)
    _prepare(place)
    wished = settings.text("run_id")
    if wished is not None and run_id is None and is_active(wished):
        wished = None  # the environment's id is for one run, and this is a second one beside it
    found = _find(place, resume, wished)
    attached = held is None and wished is not None and _attached(found)
    attempt = int(os.environ.get(ATTEMPT, "0")) if held is None else held.attempt
    resumed = found is not None and not attached and has_begun(found)
    told = found is not None and bool(files(found))  # by its own journals
    ask = attempt > 0 or not told
    known = None if wished is None or url is None or not ask else _created(url, wished)
    opening = _open_folder(place, settings, found, wished, known)
    opening.attempt = attempt if wished is not None else 0
    _check_experiment(settings, opening, by_argument=resume is not None)
    journal = JournalWriter(opening.folder, opening.first_line)
    sampler = _sampler(wanted)
    care = Care(journal, url, opening.folder.relative_to(place).as_posix(), sampler)
    if held is not None:
        care.lease = Lease(held)
    beat(opening.folder)
    # A worker keeps the output of the command that it runs, which is us.
    kept = attached and ATTEMPT in os.environ
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
        next_step=0 if not resumed else _next_step(opening.folder, url, opening.run_id),
        outcomes=outcomes,
        captured=captured,
        finish_timeout=float(settings.text("finish_timeout") or 10),
        parent=None if parent is False else _parent_id(parent),
        attached=attached,
        discard=place if disabled else None,
        artifact_root=None if disabled else _artifact_root(settings),
    )
    if known is not None:
        run.params.hold(known.params)
    if not attached:
        user = _user()
        journal.append(Started(time=time.time(), resumed=resumed, parent=run.parent_id, user=user))
    _say_the_first(run, journal, settings, wanted, given, labels)
    endings.register(run)
    _capture_slowly(run, journal, wanted)
    background.add(care)
    if not disabled:
        _announce(settings, run)
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


def _nowhere() -> Path:
    """A folder that goes with the run."""
    import tempfile

    return Path(tempfile.mkdtemp(prefix="runbase-"))


class _Opening:
    """Whose journal is about to be opened, and where."""

    def __init__(self, run_id: str, name: str, experiment: str, folder: Path) -> None:
        self.run_id, self.name, self.experiment, self.folder = run_id, name, experiment, folder
        self.attempt = 0

    def first_line(self) -> Opened:
        return Opened(
            time=time.time(),
            version=VERSION,
            journal=new_id(),
            run=self.run_id,
            experiment=self.experiment,
            name=self.name,
            process=this_process(),
            attempt=self.attempt,
        )


def _prepare(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        ignore = home / ".gitignore"
        if not ignore.exists():
            ignore.write_text("# Made by runbase: runs are not code.\n*\n")
    except OSError as error:
        raise HomeError(
            f"cannot keep runs in {home}: {error.strerror}; choose another folder with home=… or "
            "RUNBASE_HOME"
        ) from error


def _find(home: Path, resume: str | None, run_id: str | None) -> Path | None:
    """The folder of the run to go on with."""
    if resume is None:
        if run_id is None:
            return None
        if not _RUN_ID.fullmatch(run_id):
            raise UsageError(f"{run_id!r} is no run id: letters, digits, - and _ only")
        return next(iter(sorted(home.glob(f"runs/*/{run_id}"))), None)
    folders = sorted(home.glob("runs/*/*"), reverse=True)
    by_id = [folder for folder in folders if folder.name.startswith(resume)]
    if len(by_id) == 1:
        return by_id[0]
    names: dict[str, Path] = {}
    for folder in folders:
        for path in files(folder)[:1]:
            if (head := opened(path)) is not None:
                names.setdefault(head.name, folder)
    if resume in names:
        return names[resume]
    what = (
        "fits several runs; give more of the id"
        if by_id
        else f"is unknown{suggestion(resume, names)}"
    )
    raise NotFound(f"cannot resume: the run {resume!r} in {home} {what}")


def _attached(found: Path | None) -> bool:
    """Whether this is a further process of a run that goes on: a rank, or a worker beside a live one.

    Such a process adds to the run and does not begin or end it.
    """
    for name in _RANKS:
        if os.environ.get(name, "0").isdigit() and int(os.environ.get(name, "0")) > 0:
            return True
    return found is not None and is_led(found)


def _open_folder(
    home: Path,
    settings: Settings,
    found: Path | None,
    wished: str | None,
    known: "Record | None",
) -> _Opening:
    if found is not None:
        for path in files(found):
            if (head := opened(path)) is not None:
                return _Opening(head.run, head.name, head.experiment, found)
    experiment = known.experiment if known else settings.text("experiment") or _script_name()
    if not experiment.strip():
        raise UsageError("the experiment's name is empty")
    run_id = wished or new_id()
    name = known.name if known else settings.text("run_name") or name_for(run_id)
    folder = home / "runs" / folder_name(experiment) / run_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomeError(
            f"cannot keep runs in {home}: {error.strerror}; choose another folder with home=… or "
            "RUNBASE_HOME"
        ) from error
    return _Opening(run_id, name, experiment, folder)


def _created(url: str, run_id: str) -> "Record | None":
    """A run that was made in the database, to be started here."""
    with suppress(Exception):  # a database that is away must not stop a run
        found = background.storage_for(url).get_runs([run_id])
        if found:
            return found[0]
    return None


def _check_experiment(settings: Settings, opening: _Opening, *, by_argument: bool) -> None:
    """A run and an experiment that are asked for in one breath and disagree are a mistake.

    A run id from the environment decides over the experiment that a script names: so is a run handed
    to a script that knows nothing of it.
    """
    wanted, run_id = settings.values["experiment"], settings.values["run_id"]
    together = wanted.source == ("argument" if by_argument else run_id.source)
    if (
        (by_argument or run_id.value)
        and together
        and wanted.value not in (None, opening.experiment)
    ):
        raise UsageError(
            f"run {opening.name} ({opening.run_id}) is of experiment {opening.experiment!r}, not of "
            f"{wanted.value!r}"
        )


def _next_step(folder: Path, url: str | None, run_id: str) -> Scalar:
    """One more than the greatest step, from the database where it can be had, else from the files."""
    if url is not None:
        # The files know as well, if slower: a database that is away must not stop a run.
        with suppress(Exception):
            from runbase.ingest import ingest_folder

            storage = background.storage_for(url)
            ingest_folder(storage, folder, f"runs/{folder.parent.name}/{folder.name}")
            query = "select max(last_step) from series where run_id = :run and kind = 'metric'"
            greatest = storage.sql(query, {"run": run_id})[0][0]
            return 0 if greatest is None else greatest + 1
    greatest = -1
    for path in files(folder):
        offset = 0
        while (batch := read(path, offset)).offset > offset:
            offset = batch.offset
            steps = (s for e in batch.events if hasattr(e, "steps") for s in cast("Any", e).steps)
            greatest = max(greatest, max(steps, default=-1))
    return greatest + 1


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


def _announce(settings: Settings, run: Run) -> None:
    where = str(settings.home) if run.store is None else run.store.removeprefix("sqlite:///")
    if settings.flag("quiet") or where in _announced:
        return
    _announced.add(where)
    print(f"runbase: run {run.name} of {run.experiment} → {where}", file=sys.stderr)


def _script_name() -> str:
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(script).stem if script else "default"


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
