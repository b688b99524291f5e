"""Decide which run a process starts or resumes, from its arguments, the environment and existing folders."""

import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from runbase.errors import HomeError, NotFound, UsageError, suggestion, warn
from runbase.events import Opened, Scalar
from runbase.ids import folder_name, name_for, new_id
from runbase.ingest.liveness import has_begun, is_led, this_process
from runbase.journal import VERSION, files, last_time, opened, read
from runbase.run import background, ranks, slurm_requeue
from runbase.run.context import is_active
from runbase.run.lease import Held
from runbase.settings import Settings

if TYPE_CHECKING:
    from runbase.model import Run as Record

ATTEMPT = "RUNBASE_ATTEMPT"
"""The attempt number of the trial whose id is in RUNBASE_RUN_ID. `runbase worker` sets both."""
RUNNER = "RUNBASE_RUNNER"
"""The name of the worker that claimed this trial."""
_TICK = 1e-6
"""Seconds: the resolution of times in the database."""
_MOST_AHEAD = 86400.0
"""Seconds by which the clock of another machine can plausibly be ahead; later times are ignored."""
_RUN_ID = re.compile(r"[A-Za-z0-9][\w\-]{0,255}")


class Opening:
    """The run whose journal is about to be opened, and its folder."""

    def __init__(self, run_id: str, name: str, experiment: str, folder: Path) -> None:
        self.run_id, self.name, self.experiment, self.folder = run_id, name, experiment, folder
        self.attempt = 0
        self.attached = False
        """Whether another process leads the run, and this is an additional one."""
        self.resumed = False
        """Whether the run was started before."""
        self.earlier = 0.0
        """For a resumed run: the last time that its earlier processes wrote, by their clocks."""
        self.known: Record | None = None
        """The run as created in the database, to be started here."""
        self.marker: Path | None = None
        """The marker file of a Slurm job for this run."""
        self.job: ranks.Job | None = None
        """The distributed job whose processes log into this run by themselves."""

    def starts_at(self) -> float:
        """Return the start time: now, but for a resumed run later than all times of earlier processes."""
        now = time.time()
        return max(now, self.earlier + _TICK) if self.earlier < now + _MOST_AHEAD else now

    def first_line(self) -> Opened:
        """Return the first event of its journal."""
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
    """Return the run to start or resume in a home, and create its folder.

    Args:
        settings: the settings, including experiment, name and run id.
        home: the folder for runs.
        url: the database, or None.
        resume: the id, id prefix or name of a run to resume.
        run_id: the id passed in the call; the environment can set one as well.
        held: the claim, if the run is a claimed trial.

    Raises:
        HomeError: the home cannot be written.
        NotFound: the run to resume does not exist.
        UsageError: the run is of another experiment.
    """
    _prepare(home)
    requested = settings.text("run_id")
    if requested is not None and run_id is None and is_active(requested):
        requested = None  # the id in the environment is for one run, and that one is already active
    marker, job, joined = None, None, None
    if requested is None and resume is None and held is None:
        experiment = settings.text("experiment") or script_name()
        job, joined = _join(settings, experiment)
        if job is not None or not ranks.rank():
            marker = slurm_requeue.mark(home, experiment, of_job=job is not None)
            requested = slurm_requeue.earlier(marker) or joined
    elif requested is not None and held is None and settings.flag("join_ranks"):
        job = ranks.job()
    given = job is not None and joined is None
    folder = _find(home, resume, requested)
    if (
        not given
        and job is not None
        and not job.rank
        and folder is not None
        and slurm_requeue.completed(folder)
    ):
        requested, folder, job = None, None, None  # another job with the same environment
    attached = held is None and requested is not None and (ranks.rank() > 0 or _led(folder))
    attempt = int(os.environ.get(ATTEMPT, "0")) if held is None else held.attempt
    has_journals = folder is not None and bool(files(folder))
    ask_database = attempt > 0 or not has_journals
    known = (
        None if requested is None or url is None or not ask_database else _created(url, requested)
    )
    opening = _open_folder(home, settings, folder, requested, known)
    opening.attempt = attempt if requested is not None else 0
    opening.attached, opening.known = attached, known
    opening.marker, opening.job = marker, job
    opening.resumed = folder is not None and not attached and has_begun(folder)
    if opening.resumed and folder is not None:
        opening.earlier = max(map(last_time, files(folder)), default=0.0)
    _check_experiment(settings, opening, by_argument=resume is not None)
    return opening


def _join(settings: Settings, experiment: str) -> tuple[ranks.Job | None, str | None]:
    """Return the distributed job of this process and the id of the run that its processes share."""
    job = ranks.job()
    if job is None or not settings.flag("join_ranks"):
        return None, None
    joined = None if job.identity is None else ranks.run_id(job.identity, experiment)
    if joined is not None:
        return job, joined
    if job.identity is None and job.rank:
        warn(
            f"rank {job.rank} of {job.size} starts a run of its own: nothing in the environment tells its job from "
            "others; to log into one run, set RUNBASE_RUN_ID to the same new id for all processes of the job"
        )
    return None, None


def _prepare(home: Path) -> None:
    try:
        home.mkdir(parents=True, exist_ok=True)
        ignore = home / ".gitignore"
        if not ignore.exists():
            ignore.write_text("# Created by runbase: runs are not code.\n*\n")
    except OSError as error:
        raise HomeError(
            f"cannot write runs to {home}: {error.strerror}; choose another folder with home=… or "
            "RUNBASE_HOME"
        ) from error


def _find(home: Path, resume: str | None, run_id: str | None) -> Path | None:
    """Return the folder of the run to resume, or None for a new run."""
    if resume is None:
        if run_id is None:
            return None
        if not _RUN_ID.fullmatch(run_id):
            raise UsageError(f"{run_id!r} is not a run id; use letters, digits, - and _ only")
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
        "matches several runs; pass more of the id"
        if by_id
        else f"not found{suggestion(resume, names)}"
    )
    raise NotFound(f"cannot resume: run {resume!r} in {home} {what}")


def _led(folder: Path | None) -> bool:
    """Return whether another process that is alive leads the run."""
    return folder is not None and is_led(folder)


def _open_folder(
    home: Path,
    settings: Settings,
    existing: Path | None,
    requested: str | None,
    known: "Record | None",
) -> Opening:
    if existing is not None:
        for path in files(existing):
            if (head := opened(path)) is not None:
                return Opening(head.run, head.name, head.experiment, existing)
    experiment = known.experiment if known else settings.text("experiment") or script_name()
    if not experiment.strip():
        raise UsageError("the name of the experiment is empty; pass a name")
    run_id = requested or new_id()
    name = known.name if known else settings.text("run_name") or name_for(run_id)
    folder = home / "runs" / folder_name(experiment) / run_id
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomeError(
            f"cannot write runs to {home}: {error.strerror}; choose another folder with home=… or "
            "RUNBASE_HOME"
        ) from error
    return Opening(run_id, name, experiment, folder)


def _created(url: str, run_id: str) -> "Record | None":
    """Return a run that was created in the database to be started here, or None."""
    with suppress(Exception):  # a database that is offline must not stop a run
        records = background.storage_for(url).get_runs([run_id])
        if records:
            return records[0]
    return None


def _check_experiment(settings: Settings, opening: Opening, *, by_argument: bool) -> None:
    """Raise UsageError if the run and the experiment come from the same source and disagree.

    A run id from the environment takes precedence over the experiment named in a script, so that a
    run can be passed to a script that does not expect it.
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
    """Return the greatest step plus one, from the database if it is available, else from the files."""
    if url is not None:
        # The files contain the same, but are slower: a database that is offline must not stop a run.
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
    """Create a temporary folder for a disabled run."""
    import tempfile

    return Path(tempfile.mkdtemp(prefix="runbase-"))


def script_name() -> str:
    """Return the name of the main script without its suffix, or `default`."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    return Path(script).stem if script else "default"
