"""The parts of capture, each of which can be switched on or off.

| part       | what it records                                                        |
| ---------- | ---------------------------------------------------------------------- |
| `git`      | repository, commit, branch, remote, dirty flag; the diff as `git.diff` |
| `command`  | script, command line, its parsed options                               |
| `packages` | Python, and every installed package with its version                   |
| `host`     | system, CPU, memory, GPUs                                              |
| `slurm`    | job, array, step, node, end; array jobs are tagged `sweep:<id>`        |
| `env`      | environment variables of an allow-list, without secrets                |
| `output`   | standard output and error, as `output.log`                             |
| `seeds`    | states of `random`, NumPy and PyTorch at the start, as `seeds.json`     |
| `system`   | use of CPU, memory, disk, network and GPUs, every 15 seconds           |
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from runbase.capture import environment, git, machine, secrets, slurm
from runbase.errors import UsageError, suggestion

PARTS = ("git", "command", "packages", "host", "slurm", "env", "output", "seeds", "system")


def parts(capture: bool | Iterable[str]) -> tuple[str, ...]:
    """Return the parts that a `capture=` argument names.

    Raises:
        UsageError: a part does not exist.
    """
    if isinstance(capture, bool):
        return PARTS if capture else ()
    names = (capture,) if isinstance(capture, str) else tuple(capture)
    for name in names:
        if name not in PARTS:
            raise UsageError(f"capture has no part {name!r}{suggestion(name, PARTS)}")
    return names


def quick(wanted: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return facts that are available at once: command line, environment, Slurm."""
    names = set(wanted)
    facts: dict[str, dict[str, Any]] = {}
    if "command" in names:
        facts["args"] = environment.command()
    if "env" in names:
        facts["env"] = secrets.allowed()
    if "slurm" in names and (job := slurm.job()):
        facts["system"] = {"slurm": job}
    return facts


def capture(wanted: Iterable[str], script_folder: Path, folder: Path) -> dict[str, dict[str, Any]]:
    """Return facts that take time: repository, packages, hardware, the time limit of a Slurm job.

    Writes the diff into `folder`.
    """
    names = set(wanted)
    facts: dict[str, dict[str, Any]] = {}
    if "git" in names and (repository := git.recent(script_folder)):
        diff = repository.pop("diff", None)
        if diff:
            (folder / "git.diff").write_text(diff, "utf-8", "backslashreplace", "")
        facts["git"] = repository
    system: dict[str, Any] = {}
    if "host" in names:
        system |= machine.hardware()
    if "packages" in names:
        system |= machine.python()
    if "slurm" in names and (job := slurm.details()):
        system["slurm"] = job
    if system:
        facts["system"] = system
    return facts
