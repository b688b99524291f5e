"""Which run a process begins or goes on with: by what it asks for, what the environment hands it, what is there."""

import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from runbase.errors import HomeError, NotFound, UsageError, suggestion
from runbase.events import Opened, Scalar
from runbase.ids import folder_name, name_for, new_id
from runbase.ingest.liveness import has_begun, is_led, this_process
from runbase.journal import VERSION, files, last_time, opened, read
from runbase.run import background, slurm_requeue
from runbase.run.context import is_active
from runbase.run.lease import Held
from runbase.settings import Settings

if TYPE_CHECKING:
    from runbase.model import Run as Record

_RANKS = ("RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
ATTEMPT = "RUNBASE_ATTEMPT"
"""Of a trial whose id is in RUNBASE_RUN_ID: which attempt at it. `runbase worker` sets both."""
_TICK = 1e-6
"""Seconds: what the database tells two times apart by."""
_MOST_AHEAD = 86400.0
"""Seconds by which another machine's clock may be ahead; a later time than that was made up."""
_RUN_ID = re.compile(r"[A-Za-z0-9][\w\-]{0,255}")


class Opening:
    """Whose journal is about to be opened, and where."""

    def __init__(self, run_id: str, name: str, experiment: str, folder: Path) -> None:
        self.run_id, self.name, self.experiment, self.folder = run_id, name, experiment, folder
        self.attempt = 0
        self.attached = False
        """Whether this is a further process of a run that another one leads."""
        self.resumed = False
        """Whether it goes on with a run that had begun."""
        self.earlier = 0.0
        """Of a resumed run: when its earlier processes wrote last, by their clocks."""
        self.known: Record | None = None
        """The run as it was made in the database, to be started here."""
        self.job: Path | None = None
        """Where a Slurm job notes that this is its run."""

    def starts_at(self) -> float:
        """Now; of a resumed run, later than what earlier processes wrote, where their clocks were ahead."""
        now = time.time()
        return max(now, self.earlier + _TICK) if self.earlier < now + _MOST_AHEAD else now

    def first_line(self) -> Opened:
        """What its journal begins with."""
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


def open_run(
    settings: Settings,
    home: Path,
    url: str | None,
    *,
    resume: str | None,
    run_id: str | None,
    held: Held | None,
) -> Opening:
    """The run that begins or goes on in a home, with its folder made.

    `resume` names one to go on with, `run_id` is asked for in the call, `held` is a claim on it. Raises HomeError,
    NotFound, and UsageError for an experiment that is not the run's.
    """
    _prepare(home)
    wished = settings.text("run_id")
    if wished is not None and run_id is None and is_active(wished):
        wished = None  # the environment's id is for one run, and this is a second one beside it
    job = None
    if wished is None and resume is None and held is None and not rank():
        job = slurm_requeue.mark(home, settings.text("experiment") or script_name())
        wished = slurm_requeue.earlier(job)
    found = _find(home, resume, wished)
    attached = held is None and wished is not None and (rank() > 0 or _led(found))
    attempt = int(os.environ.get(ATTEMPT, "0")) if held is None else held.attempt
    told = found is not None and bool(files(found))  # by its own journals
    ask = attempt > 0 or not told
    known = None if wished is None or url is None or not ask else _created(url, wished)
    opening = _open_folder(home, settings, found, wished, known)
    opening.attempt = attempt if wished is not None else 0
    opening.attached, opening.known, opening.job = attached, known, job
    opening.resumed = found is not None and not attached and has_begun(found)
    if opening.resumed and found is not None:
        opening.earlier = max(map(last_time, files(found)), default=0.0)
    _check_experiment(settings, opening, by_argument=resume is not None)
    return opening


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


def _led(found: Path | None) -> bool:
    """Whether a living process beside this one leads the run."""
    return found is not None and is_led(found)


def rank() -> int:
    """Which of several processes of one job this is, from 0."""
    said = (os.environ.get(name, "") for name in _RANKS)
    return max((int(rank) for rank in said if rank.isdigit()), default=0)


def _open_folder(
    home: Path,
    settings: Settings,
    found: Path | None,
    wished: str | None,
    known: "Record | None",
) -> Opening:
    if found is not None:
        for path in files(found):
            if (head := opened(path)) is not None:
                return Opening(head.run, head.name, head.experiment, found)
    experiment = known.experiment if known else settings.text("experiment") or script_name()
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
    return Opening(run_id, name, experiment, folder)


def _created(url: str, run_id: str) -> "Record | None":
    """A run that was made in the database, to be started here."""
    with suppress(Exception):  # a database that is away must not stop a run
        found = background.storage_for(url).get_runs([run_id])
        if found:
            return found[0]
    return None


def _check_experiment(settings: Settings, opening: Opening, *, by_argument: bool) -> None:
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


def next_step(folder: Path, url: str | None, run_id: str) -> Scalar:
    """One more than the greatest step, from the database where it can be had, else from the files."""
    if url is not None:
        # The files know as well, if slower: a database that is away must not stop a run.
        with suppress(Exception):
            from runbase.ingest.journals import ingest_folder

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


def nowhere() -> Path:
    """A folder that goes with the run."""
    import tempfile

    return Path(tempfile.mkdtemp(prefix="runbase-"))


def script_name() -> str:
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(script).stem if script else "default"
