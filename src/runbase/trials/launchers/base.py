"""What a launcher is, what it is asked for, and what it knows of its workers."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct, structs

from runbase.capture.secrets import mask_argv, mask_text
from runbase.errors import RunbaseError
from runbase.run.resolve import ATTEMPT, RUNNER
from runbase.run.start import LAUNCH
from runbase.trials.launchers.record import LaunchRecord
from runbase.trials.launchers.resources import Resources
from runbase.typing import JsonObject

_OF_ONE_RUN = ("RUNBASE_RUN_ID", "RUNBASE_PARAMS", ATTEMPT, RUNNER)
"""Variables of the process that launches, if it is itself started by a worker."""
_OF_SLURM = ("SLURM_CONF", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT")
"""Variables of Slurm's commands; others describe the job that launches, if it is one."""


class Plan(Struct, frozen=True, kw_only=True):
    """What a launch starts.

    Attributes:
        id: the id of the launch.
        experiment: the name of the experiment.
        experiment_id: its id.
        command: the command of the trials.
        address: the URL of the store, perhaps with a password.
        home: the folder for runs.
        cwd: the working folder of the workers.
        workers: their number.
        max_parallel: how many run at once; None: all.
        resources: what each is given.
        wait: seconds without a trial after which a worker ends.
        lease: seconds after which the claim of a lost worker expires; None: the default.
        options: further options of the scheduler.
        image: the image of the containers.
        trial: the id of the only trial of a launch without a queue.
    """

    id: str
    experiment: str
    experiment_id: str
    command: Sequence[str]
    address: str
    home: Path
    cwd: Path
    workers: int = 1
    max_parallel: int | None = None
    resources: Resources = Resources()
    wait: float = 0
    lease: float | None = None
    options: Sequence[str] = ()
    image: str | None = None
    trial: str | None = None

    def __repr__(self) -> str:
        return f"<Plan of {self.workers} workers for launch {self.id} of {self.experiment}>"

    @property
    def folder(self) -> Path:
        """The folder with scripts and output of the launch."""
        return self.home / "launches" / self.id

    @property
    def at_once(self) -> int:
        """The number of workers that run at once."""
        return min(self.workers, self.max_parallel or self.workers)

    def worker(self, *, stop_after: int | None = None) -> list[str]:
        """Return the arguments of `runbase` for a worker.

        Args:
            stop_after: seconds after which the worker stops itself, where no scheduler stops it.
        """
        arguments = ["worker", _argument(self.experiment, self.experiment_id)]
        if self.trial is None:
            arguments += ["--wait", f"{self.wait:g}"]
        else:
            arguments += ["--trial", self.trial]
        if self.lease is not None:
            arguments += ["--lease", f"{self.lease:g}"]
        if stop_after is not None:
            arguments += ["--stop-after", f"{stop_after}s"]
        return [*arguments, "--", *self.command]

    def variables(self) -> dict[str, str]:
        """Return the variables that workers need. The URL of the store may contain a password."""
        return {
            "RUNBASE_STORE": self.address,
            "RUNBASE_HOME": str(self.home),
            "RUNBASE_QUIET": "1",
            LAUNCH: self.id,
        }

    def environment(self) -> dict[str, str]:
        """Return the environment of workers on machines that share this one's files."""
        inside_a_job = "SLURM_JOB_ID" in os.environ
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in _OF_ONE_RUN
            and not name.startswith("RUNBASE_PARAM_")
            and not (inside_a_job and name.startswith("SLURM_") and name not in _OF_SLURM)
        }
        return {**inherited, **self.variables()}

    def shown(self) -> "Plan":
        """Return the plan with secrets in its command and options replaced, to be printed."""
        return structs.replace(
            self, command=mask_argv(self.command), options=mask_argv(self.options)
        )


class Workers(Struct, frozen=True, kw_only=True):
    """How many workers of a launch are in which state, as the scheduler tells it.

    Attributes:
        pending: not started yet.
        running: running.
        ended: ended, or stopped when their time was over or the launch was cancelled.
        failed: ended in any other way: the process was killed, or could not start.
        unknown: the scheduler no longer knows them.
        note: why states are unknown.
    """

    pending: int = 0
    running: int = 0
    ended: int = 0
    failed: int = 0
    unknown: int = 0
    note: str | None = None

    @property
    def over(self) -> bool:
        """Whether no worker waits or runs."""
        return not (self.pending or self.running)


class Launcher(Protocol):
    """Starts workers in one way, and asks about them."""

    def check(self, plan: Plan) -> None:
        """Raise UsageError if the plan cannot be started here; start nothing."""
        ...

    def preview(self, plan: Plan) -> str:
        """Return what `submit` would start, without secrets."""
        ...

    def submit(self, plan: Plan) -> JsonObject:
        """Start the workers; return what `LaunchRecord.job` keeps."""
        ...

    def status(self, record: LaunchRecord) -> Workers:
        """Return how many workers are in which state."""
        ...

    def cancel(self, record: LaunchRecord) -> None:
        """Stop all workers; each gives its trial back."""
        ...

    def logs(self, record: LaunchRecord) -> dict[str, str]:
        """Return what the workers printed, by the name of the worker."""
        ...


def _argument(name: str, key: str) -> str:
    """Return the name of an experiment, or its id where the name would be read as an option."""
    return key if name.startswith("-") else name


def make_folder(folder: Path) -> Path:
    """Create the folder of a launch, which only the user can read."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def output_files(record: LaunchRecord) -> dict[str, str]:
    """Return the output of workers that write to files in the folder of the launch."""
    if record.folder is None or not Path(record.folder).is_dir():
        return {}
    paths = [path for path in Path(record.folder).glob("*.log") if path.stem.isdigit()]
    return {
        path.stem: path.read_text("utf-8", errors="replace")
        for path in sorted(paths, key=lambda path: int(path.stem))
    }


def ask(
    *command: str, stdin: str | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Run a command of a scheduler and return its output.

    Args:
        command: the program and its arguments.
        stdin: what it reads.
        environment: its environment. Default: that of this process.

    Raises:
        RunbaseError: the program is missing, or failed.
    """
    program = command[0]
    if shutil.which(program) is None:
        raise RunbaseError(
            f"{program} is not installed here; run this on a machine with the commands of the scheduler"
        )
    done = subprocess.run(
        command,
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        env=environment,
    )
    if done.returncode:
        why = mask_text(
            done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}"
        )
        raise RunbaseError(f"{program} failed: {why}")
    return done.stdout
