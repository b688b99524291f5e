"""Restore the code, the packages and the command line of a run: what `runbase reproduce` does.

The code is a git worktree at the commit of the run with its uncommitted changes applied; the packages go into a virtual
environment of their own. What cannot be restored is listed, never passed over.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from runbase.capture import seeds
from runbase.capture.secrets import HIDDEN
from runbase.errors import StoreError, UsageError
from runbase.model import Run
from runbase.run.start import REPRODUCES
from runbase.store.store import Store

CODE, ENVIRONMENT = "code", "venv"
"""The folders of a reproduction: the worktree and the packages."""
_OWN = (
    "RUNBASE_",
    "SLURM_",
    "PBS_",
    "LSB_",
    "SGE_",
    "OMPI_",
    "PMI_",
    "CONDA_",
    "VIRTUAL_",
    "RAY_",
    "HYDRA_",
    "MASTER_",
)
_RANKS = {
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
    "LOCAL_WORLD_SIZE",
    "NODE_RANK",
    "GROUP_RANK",
    "ACCELERATE_PROCESS_ID",
}
_INSTALLERS = {"pip", "setuptools", "wheel", "uv"}


class Reproduction(Struct):
    """What a run needs to run again, and what is missing.

    Attributes:
        run: the original.
        folder: where everything goes.
        root: the repository on this machine, or None.
        remote: where the repository is cloned from, if it is not on this machine.
        commit: the commit; None: the run has none.
        diff: the file with the uncommitted changes, or None.
        seeds: the file with the states of random number generators, or None.
        python: the version of Python, such as `3.11.7`.
        packages: name → version.
        editable: the package that is installed from the repository itself, or None.
        argv: the command line, for the restored folders.
        cwd: its working folder.
        env: the environment variables of the original that matter.
        missing: what cannot be restored, one sentence each.
    """

    run: Run
    folder: Path
    root: Path | None = None
    remote: str | None = None
    commit: str | None = None
    diff: Path | None = None
    seeds: Path | None = None
    python: str = ""
    packages: dict[str, str] = {}
    editable: str | None = None
    argv: list[str] = []
    cwd: Path = field(default_factory=Path.cwd)
    env: dict[str, str] = {}
    missing: list[str] = []

    @property
    def code(self) -> Path:
        """The worktree."""
        return self.folder / CODE

    @property
    def interpreter(self) -> Path:
        """The Python of the environment; before it is made, that of this process."""
        place = self.folder / ENVIRONMENT / "bin" / "python"
        return place if place.exists() else Path(sys.executable)

    def as_json(self) -> dict[str, Any]:
        """Return the facts as plain objects."""
        return {
            "run": self.run.id,
            "folder": str(self.folder),
            "commit": self.commit,
            "diff": None if self.diff is None else str(self.diff),
            "seeds": None if self.seeds is None else str(self.seeds),
            "python": self.python,
            "packages": len(self.packages),
            "argv": self.argv,
            "cwd": str(self.cwd),
            "env": self.env,
            "missing": self.missing,
        }


def plan(store: Store, run: Run, folder: Path) -> Reproduction:
    """Return what a reproduction of a run will restore, and what it cannot.

    Args:
        store: the store of the run.
        run: the run.
        folder: the folder for the code and the packages.

    Raises:
        UsageError: the run did not capture its command line.
    """
    argv: list[str] = list(run.args.get("argv") or [])
    if not argv:
        raise UsageError(
            f"run {run.name} did not capture its command line, so it cannot be run again"
        )
    made = Reproduction(run, folder.absolute(), argv=argv, missing=[], packages={}, env={})
    _plan_code(made, store.folder(run))
    _plan_packages(made)
    _plan_command(made)
    return made


def _plan_code(made: Reproduction, kept: Path | None) -> None:
    git: Mapping[str, Any] = made.run.git
    made.commit = git.get("commit")
    if made.commit is None:
        made.missing.append(
            "code: the script was not in a git repository with a commit; its present version is used"
        )
    else:
        root = Path(str(git.get("root") or ""))
        here = root if (root / ".git").exists() else None
        made.root, made.remote = here, git.get("remote")
        if here is None and made.remote is None:
            made.missing.append(
                f"code: the repository {root} is not on this machine, and it had no remote"
            )
            made.commit = None
    if git.get("dirty") and made.commit is not None:
        diff = None if kept is None else kept / "git.diff"
        if diff is not None and diff.is_file():
            made.diff = diff
        else:
            made.missing.append(
                "code: the run had uncommitted changes, and git.diff is not on this machine"
            )
        if git.get("diff_truncated"):
            made.missing.append(
                "code: the uncommitted changes were larger than what is kept of them"
            )
        if git.get("diff_masked"):
            made.missing.append("code: secrets in the uncommitted changes were replaced by stars")
    if number := git.get("untracked_files"):
        names = ", ".join(git.get("untracked", [])[:5])
        made.missing.append(
            f"code: {number} untracked files are not in git: {names}{' …' if number > 5 else ''}"
        )
    states = None if kept is None else kept / seeds.NAME
    if states is not None and states.is_file():
        made.seeds = states
        made.missing += [
            f"seeds: {name}'s generator was made after the start of the run; import it before start_run"
            for name in seeds.not_captured(states)
        ]
    else:
        made.missing.append(
            "seeds: the states of the random number generators were not captured, or are not here"
        )


def _plan_packages(made: Reproduction) -> None:
    system: Mapping[str, Any] = made.run.system
    made.python = str(system.get("python") or "")
    found: Mapping[str, str] = system.get("packages") or {}
    made.packages = {
        name: version for name, version in found.items() if name.lower() not in _INSTALLERS
    }
    if not found:
        made.missing.append("packages: they were not captured")
    own = _project(made.root)
    if own is not None:
        made.editable = next((name for name in made.packages if _plain(name) == _plain(own)), None)
    if gpus := system.get("gpus"):
        names = ", ".join(str(gpu) for gpu in gpus)
        made.missing.append(f"machine: it ran with {len(gpus)} GPUs ({names})")


def _project(root: Path | None) -> str | None:
    """Return the name of the package that a repository is."""
    try:
        told = tomllib.loads(((root or Path()) / "pyproject.toml").read_text()) if root else {}
    except (OSError, ValueError):
        return None
    name = told.get("project", {}).get("name")
    return name if isinstance(name, str) else None


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _plan_command(made: Reproduction) -> None:
    args, root = made.run.args, made.run.git.get("root")
    if any(HIDDEN in argument for argument in made.argv):
        made.missing.append(
            "command: secrets in it were replaced by stars; put them in before you run it"
        )
    program = Path(made.argv[0])
    if "ipykernel" in " ".join(made.argv) or made.argv[-1:] == ["-i"]:
        made.missing.append(
            "command: the run was started in a notebook, whose cells were not captured"
        )
    if (script := args.get("script")) and made.commit is None and not Path(str(script)).exists():
        made.missing.append(f"code: the script {script} is not on this machine")
    made.argv = [_moved(argument, made, root, program.parent) for argument in made.argv[1:]]
    cwd = Path(_moved(str(args.get("cwd") or "."), made, root, program.parent))
    if made.commit is None and not cwd.is_dir():
        made.missing.append(
            f"command: its working folder {cwd} is not on this machine; this one is used"
        )
        cwd = Path.cwd()
    made.cwd = cwd
    made.env = {
        name: value
        for name, value in made.run.env.items()
        if not name.startswith(_OWN) and name not in _RANKS and HIDDEN not in value
    }


def _moved(text: str, made: Reproduction, root: Any, programs: Path) -> str:
    """Return a path of the original in the restored folders; other texts as they are."""
    path = Path(text)
    if not path.is_absolute():
        return text
    if made.commit is not None and root and path.is_relative_to(str(root)):
        if programs.is_relative_to(str(root)) and path.is_relative_to(programs):
            return str(made.folder / ENVIRONMENT / "bin" / path.name)
        return str(made.code / path.relative_to(str(root)))
    if path.parent == programs:
        return str(made.folder / ENVIRONMENT / "bin" / path.name)
    return text


def restore_code(made: Reproduction) -> None:
    """Make the worktree, and apply the uncommitted changes.

    Raises:
        StoreError: git fails.
        UsageError: the folder exists already.
    """
    if made.code.exists():
        raise UsageError(
            f"{made.code} exists already; remove it, or choose another folder with --into"
        )
    made.folder.mkdir(parents=True, exist_ok=True)
    if made.commit is None:
        return
    if made.root is not None:
        if _git(made.root, "cat-file", "-e", f"{made.commit}^{{commit}}", check=False):
            _git(made.root, "fetch", "--quiet", "origin", made.commit, check=False)
        _git(made.root, "worktree", "add", "--detach", "--quiet", str(made.code), made.commit)
    else:
        _git(
            made.folder, "clone", "--quiet", "--no-checkout", "--", str(made.remote), str(made.code)
        )
        _git(made.code, "checkout", "--quiet", "--detach", made.commit)
    if made.diff is not None:
        _git(made.code, "apply", "--whitespace=nowarn", str(made.diff.absolute()))


def _git(folder: Path, *arguments: str, check: bool = True) -> int:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise StoreError(f"git could not be started: {error}") from error
    if check and done.returncode:
        raise StoreError(f"git {arguments[0]} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.returncode


def install(made: Reproduction, progress: Callable[[int, int], None] | None = None) -> None:
    """Make the environment, and install the packages that the run had, with uv if it is there.

    Packages that cannot be installed are added to `missing`.

    Args:
        made: the reproduction, whose code is restored.
        progress: called with (packages done, all packages), if they are installed one by one.

    Raises:
        StoreError: the environment cannot be made.
    """
    place = made.folder / ENVIRONMENT
    uv = shutil.which("uv")
    _make_environment(made, place, uv)
    python = str(place / "bin" / "python")
    base = [uv, "pip", "install", "--quiet", "--python", python] if uv else [
        python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
    ]  # fmt: skip
    wanted = [
        f"{name}=={version}" for name, version in made.packages.items() if name != made.editable
    ]
    (made.folder / "requirements.txt").write_text("\n".join([*wanted, ""]))
    failed = _install(
        [*base, "--no-deps"], wanted, progress or (lambda done, total: None), len(wanted)
    )
    for requirement in failed:
        bare = requirement.partition("+")[0]  # a local version, as torch==2.3+cpu, is on no index
        if bare != requirement and _run([*base, "--no-deps", bare]):
            made.missing.append(f"packages: {bare} is installed instead of {requirement}")
        elif requirement.startswith("runbase=="):
            _use_own_runbase(place)
            made.missing.append(f"packages: runbase is the one of this machine, not {requirement}")
        else:
            made.missing.append(f"packages: {requirement} could not be installed")
    if made.editable is not None and not _run([*base, "--no-deps", "-e", str(made.code)]):
        made.missing.append(f"packages: {made.editable} could not be installed from the code")


def _install(
    command: list[str], wanted: list[str], progress: Callable[[int, int], None], total: int
) -> list[str]:
    """Install packages, and return those that cannot be: after a failure each half is tried by itself."""
    if not wanted or _run([*command, *wanted]):
        progress(len(wanted), total)
        return []
    if len(wanted) == 1:
        return wanted
    half = len(wanted) // 2
    first = _install(command, wanted[:half], progress, total)
    return first + _install(
        command, wanted[half:], lambda done, all_: progress(half + done, all_), total
    )


def _use_own_runbase(place: Path) -> None:
    """Make the runbase of this process importable in an environment."""
    source = Path(__file__).parents[2]
    for folder in place.glob("lib/python*/site-packages"):
        (folder / "runbase.pth").write_text(f"{source}\n")


def _make_environment(made: Reproduction, place: Path, uv: str | None) -> None:
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    theirs = ".".join(made.python.split(".")[:2]) or ours
    if uv and _run([uv, "venv", "--quiet", "--python", made.python or ours, str(place)]):
        return
    python = shutil.which(f"python{theirs}") or sys.executable
    if not _run([python, "-m", "venv", str(place)]):
        raise StoreError(f"no environment could be made in {place}")
    told = subprocess.run(
        [str(place / "bin" / "python"), "-c", "import platform; print(platform.python_version())"],
        capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    if made.python and told != made.python:
        made.missing.append(f"packages: Python is {told}, not {made.python}")


def _run(command: Sequence[str]) -> bool:
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def environment(made: Reproduction, store: Store) -> dict[str, str]:
    """Return the environment variables for the command: those of this process, of the original, and of the store."""
    environ = {**os.environ, **made.env, REPRODUCES: made.run.id}
    environ["PATH"] = f"{made.folder / ENVIRONMENT / 'bin'}{os.pathsep}{environ.get('PATH', '')}"
    if made.seeds is not None:
        environ[seeds.STATE] = str(made.seeds.absolute())
    if store.home is not None:
        environ["RUNBASE_HOME"] = str(store.home)
    environ["RUNBASE_STORE"] = store.address
    return environ


def run_again(made: Reproduction, store: Store) -> int:
    """Run the command to its end, with its output on this terminal, and return its exit code."""
    cwd = made.cwd if made.cwd.is_dir() else Path.cwd()
    command = [str(made.interpreter), *made.argv]
    return subprocess.run(command, cwd=cwd, env=environment(made, store), check=False).returncode


def newest_child(store: Store, run: Run) -> Run | None:
    """Return the newest run that reproduces a run."""
    literal = run.id.replace("'", "''")
    found = store.runs(f"tags.reproduces = '{literal}'", order_by="created_at desc", limit=1)
    return found[0] if found else None


class Difference(Struct, frozen=True):
    """A metric of the original and of its reproduction: the last values, and whether they agree."""

    metric: str
    original: float | None
    again: float | None
    equal: bool


def compare(original: Run, again: Run, tolerance: float) -> list[Difference]:
    """Return the last value of each metric of both runs, by name.

    Args:
        original: the original.
        again: its reproduction.
        tolerance: the relative difference up to which values agree.
    """
    found: list[Difference] = []
    for key in sorted({*original.metrics, *again.metrics}):
        first, second = (
            run.metrics[key].last if key in run.metrics else None for run in (original, again)
        )
        found.append(Difference(key, first, second, _agree(first, second, tolerance)))
    return found


def _agree(first: float | None, second: float | None, tolerance: float) -> bool:
    if first is None or second is None:
        return first is second
    if first == second or (first != first and second != second):
        return True
    return abs(first - second) <= tolerance * max(abs(first), abs(second))
