"""Workers as the tasks of one array of Slurm. Slurm keeps their state; nothing of runbase waits for them."""

import math
import shlex
import sys
from collections import Counter
from contextlib import suppress

from runbase.errors import RunbaseError, UsageError
from runbase.status import Phase, Status
from runbase.trials.launchers.base import Plan, Workers, ask, make_folder, output_files
from runbase.trials.launchers.hosts import check_reachable, is_this_machine
from runbase.trials.launchers.record import LaunchRecord
from runbase.typing import JsonObject

BEFORE_THE_END = 60
"""Seconds before its time limit at which a worker gets SIGTERM, and gives its trial back."""
_SCRIPT = "worker.sh"
_GENTLE = (Status.COMPLETED, Status.CANCELLED, Status.TIMEOUT, Status.PREEMPTED)
"""Final states of workers that ended by themselves or were asked to."""
_TERMINATED = ("143", str(143 << 8))
"""The exit code of a worker that was asked to stop, by the signal before the time limit; `squeue` prints it shifted."""


class Slurm:
    """Submits an array by `sbatch`, and asks `squeue` and `sacct` about it."""

    def check(self, plan: Plan) -> None:
        """Raise UsageError if the nodes are other machines and the store is on this one."""
        cpus = plan.resources.cpus
        if cpus is not None and cpus != int(cpus):
            raise UsageError(f"Slurm gives whole CPUs, and cpus is {cpus:g}")
        if plan.image:
            raise UsageError("--image is for --on kubernetes")
        check_reachable(plan.address, "the nodes of Slurm are", _other_nodes(plan))

    def preview(self, plan: Plan) -> str:
        """Return the command of sbatch and the batch script."""
        shown = plan.shown()
        script = str(plan.folder / _SCRIPT)
        return f"{shlex.join(_sbatch(shown, script))}\n\n# {script}\n{_script(shown)}"

    def submit(self, plan: Plan) -> JsonObject:
        """Submit the array. The URL of the store goes by the environment, which only the user and Slurm read."""
        folder = make_folder(plan.folder)
        script = folder / _SCRIPT
        script.touch(mode=0o600)
        script.write_text(_script(plan), "utf-8")
        answer = ask(*_sbatch(plan, str(script)), environment=plan.environment())
        job, _, cluster = answer.strip().partition(";")
        return {"array": job, **({"cluster": cluster} if cluster else {})}

    def status(self, record: LaunchRecord) -> Workers:
        """Count the states of the tasks; the controller forgets tasks some minutes after their end."""
        states = _states_of_squeue(record)
        if len(states) < record.workers:
            states = _states_of_sacct(record) | states
        counts = Counter(_kind(*state) for state in states.values())
        unknown = max(record.workers - len(states), 0)
        why = (
            "the controller forgets tasks after their end (MinJobAge), and sacct does not know them"
        )
        return Workers(
            pending=counts["pending"],
            running=counts["running"],
            ended=counts["ended"],
            failed=counts["failed"],
            unknown=unknown,
            note=why if unknown else None,
        )

    def cancel(self, record: LaunchRecord) -> None:
        """Cancel the array: running workers get SIGTERM, and give their trials back."""
        ask("scancel", *_cluster(record), str(record.job["array"]))

    def logs(self, record: LaunchRecord) -> dict[str, str]:
        """Return the output of each task."""
        return output_files(record)


def _sbatch(plan: Plan, script: str) -> list[str]:
    """Return the command that submits the array."""
    resources = plan.resources
    limit = f"%{plan.at_once}" if plan.at_once < plan.workers else ""
    output = str(plan.folder).replace("%", "%%")
    command = [
        "sbatch",
        "--parsable",
        f"--array=0-{plan.workers - 1}{limit}",
        "--requeue",
        f"--signal=B:TERM@{BEFORE_THE_END}",
        "--export=ALL",
        f"--job-name=runbase-{plan.experiment}",
        f"--chdir={plan.cwd}",
        f"--output={output}/%a.log",
        "--open-mode=append",
    ]
    if resources.seconds is not None:
        command.append(f"--time={_time(resources.seconds)}")
    if resources.cpus is not None:
        command.append(f"--cpus-per-task={int(resources.cpus)}")
    if resources.gpus is not None:
        command.append(f"--gpus={resources.gpus}")
    if resources.memory is not None:
        command.append(f"--mem={math.ceil(resources.memory / 2**20)}M")
    return [*command, *plan.options, script]


def _script(plan: Plan) -> str:
    """Return the batch script. The shell is replaced by the worker, which gets the signals of the job."""
    command = [sys.executable, "-m", "runbase", *plan.worker()]
    return f"#!/bin/sh\nexec {shlex.join(command)}\n"


def _time(seconds: int) -> str:
    """Return a time limit in Slurm's form."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days}-{hours:02d}:{minutes:02d}:{rest:02d}"


def _other_nodes(plan: Plan) -> set[str] | None:
    """Return the nodes that are not this machine; None if Slurm does not name its nodes."""
    partition = [
        option for option in plan.options if option.startswith(("--partition=", "--clusters="))
    ]
    nodes = ask("sinfo", "--noheader", "--Node", "--format=%n", *partition).split()
    return {node for node in nodes if not is_this_machine(node)} if nodes else None


def _cluster(record: LaunchRecord) -> list[str]:
    cluster = record.job.get("cluster")
    return [f"--clusters={cluster}"] if cluster else []


def _states_of_squeue(record: LaunchRecord) -> dict[str, tuple[str, str]]:
    """Return the state and the exit code of each task that the controller knows, by its number."""
    text = ""
    with suppress(RunbaseError):  # an array that it has forgotten is an error
        text = ask(
            "squeue",
            *_cluster(record),
            f"--jobs={record.job['array']}",
            "--array",
            "--states=all",
            "--noheader",
            "--Format=ArrayTaskID:|,State:|,exit_code:|",
        )
    return _parsed(text)


def _states_of_sacct(record: LaunchRecord) -> dict[str, tuple[str, str]]:
    """Return the same from the accounting, if there is one."""
    text = ""
    with suppress(RunbaseError):
        text = ask(
            "sacct",
            *_cluster(record),
            f"--jobs={record.job['array']}",
            "--array",
            "--allocations",
            "--noheader",
            "--parsable2",
            "--format=JobID,State,ExitCode",
        )
    return _parsed(text.replace(f"{record.job['array']}_", ""))


def _parsed(text: str) -> dict[str, tuple[str, str]]:
    states: dict[str, tuple[str, str]] = {}
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) >= 3 and fields[0].isdecimal():
            states[fields[0]] = (fields[1].split(" ")[0], fields[2].split(":")[0])
    return states


def _kind(word: str, code: str) -> str:
    """Return what a state of Slurm means for a worker."""
    try:
        status = Status(word)
    except ValueError:  # one of a newer Slurm
        return "running"
    if status.phase is Phase.WAITING:
        return "pending"
    if status.phase is Phase.ACTIVE:
        return "running"
    return "ended" if status in _GENTLE or code in _TERMINATED else "failed"
